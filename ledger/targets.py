"""Where a webhook may go. Law: to public addresses alone, unless the operator allows private ones.

The name in a URL proves nothing: what it resolves to is checked when an endpoint is added and at each connection, which
then goes to the address that was checked. A name with one address that is refused is refused whole.
"""

from __future__ import annotations

import asyncio
import re
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from ledger.errors import TargetRefused

LONGEST_URL: Final = 2_000
RESOLVE_S: Final = 5.0
PORTS: Final = {"https": 443, "http": 80}
# Printable, so that no header can be made of it; a backslash is read in two ways by programs.
WRITTEN = re.compile(r"[\x21-\x5b\x5d-\x7e]+")
NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_.])?")
# RFC 6052: an IPv4 address behind a translator.
NAT64: Final = ip_network("64:ff9b::/96")
# Global unicast (RFC 4291), and what of it is no host's own: protocol assignments with Teredo, 6to4, documentation.
UNICAST: Final = ip_network("2000::/3")
NO_HOST_V6: Final = tuple(map(ip_network, ("2001::/23", "2002::/16", "2001:db8::/32", "3fff::/20")))
NO_HOST_V4: Final = tuple(map(ip_network, ("192.0.0.0/24", "192.88.99.0/24")))


class Target(NamedTuple):
    """A URL, read: `host` is a name or an address without brackets, `path` begins with / and holds the query."""

    secure: bool
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The Host header.

        >>> Target(True, "2606:4700::1111", 8443, "/").authority
        '[2606:4700::1111]:8443'
        """
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = PORTS["https" if self.secure else "http"]
        return host if self.port == usual else f"{host}:{self.port}"


def read(url: str, private: bool) -> Target:
    """The target that a URL names. Raises TargetRefused saying what is wrong with it."""
    if len(url) > LONGEST_URL or not WRITTEN.fullmatch(url):
        raise TargetRefused(f"url {url[:80]!r}: give up to {LONGEST_URL} printable ASCII characters, without spaces")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise TargetRefused(f"url {url!r} cannot be read: {error}") from error
    if parts.scheme != "https" and not (private and parts.scheme == "http"):
        raise TargetRefused(f"url {url!r} is not https: what is sent must not be read on its way")
    if "@" in parts.netloc or "#" in url:
        raise TargetRefused(f"url of {host!r} holds a user, a password or a fragment: leave them out")
    if not NAME.fullmatch(host) and not is_address(host):
        raise TargetRefused(f"url {url!r} names no host; write an international name in its xn-- form")
    query = f"?{parts.query}" if parts.query else ""
    return Target(parts.scheme == "https", host, port or PORTS[parts.scheme], (parts.path or "/") + query)


async def addresses(target: Target, private: bool) -> list[str]:
    """The addresses that the target is at now. Raises TargetRefused where there is none, or one may not be used."""
    found = await resolve(target.host, target.port)
    for address in found:
        why = refusal(address, target.secure, private)
        if why:
            raise TargetRefused(f"{target.host} is at {address}, {why}")
    return found


async def resolve(host: str, port: int) -> list[str]:
    """What the system's resolver says, in its order; a number of any notation counts as the address that it means."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_S):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except TimeoutError:
        raise TargetRefused(f"{host} did not resolve in {RESOLVE_S:.0f} s") from None
    except (OSError, UnicodeError) as error:
        raise TargetRefused(f"{host} does not resolve: {error}") from error
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


def refusal(address: str, secure: bool, private: bool) -> str | None:
    """Why no webhook goes to an address; None where it may."""
    if is_never(ip_address(address)):
        return "where no receiver can be: it is link-local, unspecified or many hosts'"
    if not is_public(ip_address(address)):
        return None if private else "which is not public; LOCKGATE_WEBHOOK_PRIVATE=allow would let it be"
    return None if secure else "which is public, and http can be read on its way there: use https"


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether it is the address of one host on the public internet.

    >>> [is_public(ip_address(text)) for text in ("8.8.8.8", "10.0.0.1", "::ffff:8.8.8.8", "64:ff9b::a00:1")]
    [True, False, False, False]
    """
    if isinstance(address, IPv4Address):
        odd = address.is_multicast or address.is_reserved or any(address in one for one in NO_HOST_V4)
        return address.is_global and not odd
    if address in NAT64:
        return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
    return address in UNICAST and address.is_global and not any(address in one for one in NO_HOST_V6)


def is_never(address: IPv4Address | IPv6Address) -> bool:
    """Whether no operator can mean it: cloud metadata (169.254.169.254), 0.0.0.0, multicast."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return is_never(address.ipv4_mapped)
    return address.is_link_local or address.is_unspecified or address.is_multicast


def is_address(text: str) -> bool:
    """Whether it is an address as such, without a zone."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return "%" not in text
