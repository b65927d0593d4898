"""Where the key comes from: the environment, or a file that its owner alone may read."""

from __future__ import annotations

from pathlib import Path

import pytest

from detector.review.access import key_file, read
from detector.review.errors import NotAllowed, Usage


@pytest.fixture
def kept(tmp_path: Path) -> dict[str, str]:
    """An environment whose key is in a file."""
    file = tmp_path / "lockgate" / "key"
    file.parent.mkdir()
    file.write_text("lg_analyst_x\n")
    file.chmod(0o600)
    return {"XDG_CONFIG_HOME": str(tmp_path)}


def test_the_environment_comes_before_the_file(kept: dict[str, str]) -> None:
    assert read(kept).key == "lg_analyst_x"
    assert read(kept).url == "http://127.0.0.1:8080"
    way = read({**kept, "LOCKGATE_KEY": "k", "LOCKGATE_URL": "https://desk.example/"})
    assert (way.url, way.key) == ("https://desk.example", "k")
    assert "lg_analyst_x" not in repr(read(kept))


def test_a_file_that_others_may_read_is_refused(kept: dict[str, str]) -> None:
    for mode in (0o640, 0o604, 0o620, 0o777):
        key_file(kept).chmod(mode)
        with pytest.raises(NotAllowed, match=f"mode {mode:04o}.*chmod 600"):
            read(kept)
    key_file(kept).chmod(0o400)
    assert read(kept).key == "lg_analyst_x"


def test_a_file_that_holds_no_key_says_so(kept: dict[str, str], tmp_path: Path) -> None:
    key_file(kept).write_text("")
    with pytest.raises(NotAllowed, match="is empty"):
        read(kept)
    key_file(kept).write_bytes(b"\xff\xfe")
    with pytest.raises(NotAllowed, match="cannot be read"):
        read(kept)
    key_file(kept).write_text("lg_analyst_x\nlg_lead_y")
    with pytest.raises(NotAllowed, match="line break"):
        read(kept)
    with pytest.raises(NotAllowed, match="set LOCKGATE_KEY"):
        read({"LOCKGATE_KEY_FILE": str(tmp_path / "none" / "here")})


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://host", "http://", "http://ann:secret@host"])
def test_an_address_that_will_not_do_is_named(url: str) -> None:
    with pytest.raises(Usage, match="LOCKGATE_URL"):
        read({"LOCKGATE_KEY": "k", "LOCKGATE_URL": url})


@pytest.mark.parametrize(
    ("url", "open_to_readers"),
    [("http://127.0.0.1:1", False), ("http://[::1]:1", False), ("http://desk:1", True), ("https://desk", False)],
)
def test_a_key_in_the_clear_is_noticed(url: str, open_to_readers: bool) -> None:
    assert read({"LOCKGATE_KEY": "k", "LOCKGATE_URL": url}).open_to_readers is open_to_readers
