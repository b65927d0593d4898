"""Where the service is and whose key asks it: from the environment, or from a file that only its owner can read.

A key is never taken from the command line, where every user of the machine could read it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from detector.review.errors import NotAllowed, Usage

URL = "http://127.0.0.1:8080"
LOCAL = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Access:
    """A way to the service. The key stays out of every printed form."""

    url: str
    key: str = field(repr=False)

    @property
    def open_to_readers(self) -> bool:
        """True where the key would travel in the clear beyond this machine."""
        parts = urlsplit(self.url)
        return parts.scheme == "http" and parts.hostname not in LOCAL

    @property
    def local(self) -> bool:
        return urlsplit(self.url).hostname in LOCAL


def read(environ: Mapping[str, str]) -> Access:
    """The access that the environment gives. Raises Usage for an address, NotAllowed for a key that will not do."""
    url = environ.get("LOCKGATE_URL", "").strip().rstrip("/") or URL
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Usage(f"LOCKGATE_URL is {url!r}: write it as http://host:port or https://host")
    if parts.username is not None:
        raise Usage("LOCKGATE_URL holds a user name: take it out, the key alone says who asks")
    key = environ.get("LOCKGATE_KEY", "").strip() or kept(key_file(environ))
    if not key.isascii() or not key.isprintable() or " " in key:
        raise NotAllowed("the key holds a space, a line break or a character beyond ASCII: copy it again, whole")
    return Access(url, key)


def key_file(environ: Mapping[str, str]) -> Path:
    chosen = environ.get("LOCKGATE_KEY_FILE", "").strip()
    if chosen:
        return Path(chosen).expanduser()
    home = environ.get("XDG_CONFIG_HOME", "").strip() or "~/.config"
    return Path(home).expanduser() / "lockgate" / "key"


def kept(file: Path) -> str:
    """The key in a file that its owner alone may read; like ssh, any wider mode is refused."""
    try:
        with file.open(encoding="utf-8") as opened:
            found = os.fstat(opened.fileno())
            mode = stat.S_IMODE(found.st_mode)
            if mode & 0o077 or found.st_uid != os.getuid():
                raise NotAllowed(
                    f"{file} has mode {mode:04o} and belongs to user {found.st_uid}: it must be yours alone "
                    f"(chmod 600 {file}), and its key may have been read, so have it revoked"
                )
            key = opened.read(1_000).strip()
    except (FileNotFoundError, NotADirectoryError):
        raise NotAllowed(
            f"no key: set LOCKGATE_KEY, or write it to {file} with mode 600; "
            "'lockgate keys create --role analyst --name YOU' issues one"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise NotAllowed(f"{file} cannot be read: {error}") from error
    if not key:
        raise NotAllowed(f"{file} is empty: write your key to it")
    return key
