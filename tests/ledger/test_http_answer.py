"""Reading an HTTP answer: the same in whatever pieces it comes, never beyond the bound, whole only where it says so."""

from __future__ import annotations

import asyncio
import socket

import pytest

from ledger.http_answer import Garbled, HttpAnswer

HEAD = b"HTTP/1.1 200 OK\r\n"
OK = HEAD + b"Content-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
INTERIM = b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n"
UPGRADE = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"


async def fill(answer: HttpAnswer, said: bytes, *, most: int = 10_000, piece: int = 10_000, ends: bool = True) -> None:
    """Read what is said, each piece by itself; then the other side hangs up, or keeps the connection open."""
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    reading = asyncio.create_task(answer.read(reader, most))
    try:
        while said and not reading.done():
            theirs.sendall(said[:piece])
            until, said = answer.length + len(said[:piece]), said[piece:]
            while answer.length < until and not reading.done():
                await asyncio.sleep(0)
        if ends:
            theirs.close()
        await reading
    finally:
        theirs.close()
        writer.close()


async def heard(said: bytes, *, most: int = 10_000, piece: int = 10_000, ends: bool = True) -> HttpAnswer:
    answer = HttpAnswer()
    await fill(answer, said, most=most, piece=piece, ends=ends)
    return answer


WHOLE: dict[str, tuple[bytes, int, bytes, bool]] = {
    "a length": (OK, 200, b"ok", True),
    "chunks": (CHUNKED, 503, b"hello world", True),
    "no body": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
    "not kept": (OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), 200, b"ok", False),
    "the older HTTP": (OK.replace(b"1.1", b"1.0"), 200, b"ok", False),
    "the older HTTP, kept": (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", 200, b"", True),
    "after an interim one": (INTERIM + OK, 200, b"ok", True),
    "after two": (INTERIM + INTERIM + CHUNKED, 503, b"hello world", True),
}


@pytest.mark.parametrize("piece", [1, 7, 10_000])
@pytest.mark.parametrize(("said", "status", "body", "keeps"), WHOLE.values(), ids=list(WHOLE))
async def test_a_whole_answer_ends_by_itself(said: bytes, status: int, body: bytes, keeps: bool, piece: int) -> None:
    told = await heard(said, piece=piece, ends=False)
    assert (told.whole, told.status, told.body, told.keeps) == (True, status, body, keeps)
    assert told.length == len(said) and "link" not in told.headers
    assert told.messages == 1 + said.count(INTERIM)


CUT: dict[str, tuple[bytes, int, bytes]] = {
    "nothing": (b"", 0, b""),
    "in its first line": (b"HTTP/1.1 20", 0, b""),
    "in its head": (HEAD + b"Content-Length: 2\r\n", 0, b""),
    "before its body": (HEAD + b"Content-Length: 2\r\n\r\n", 200, b""),
    "in its body": (HEAD + b"Content-Length: 9\r\n\r\nok", 200, b"ok"),
    "in a chunk": (CHUNKED[:-11], 503, b"hello w"),
    "before the last chunk": (CHUNKED[:-5], 503, b"hello world"),
    "no length": (HEAD + b"\r\nhello", 200, b"hello"),
    "an interim one alone": (INTERIM, 0, b""),
    "in what follows an interim one": (INTERIM + OK[:20], 0, b""),
}


@pytest.mark.parametrize("piece", [1, 7, 10_000])
@pytest.mark.parametrize(("said", "status", "body"), CUT.values(), ids=list(CUT))
async def test_what_ends_with_the_connection_is_not_whole(said: bytes, status: int, body: bytes, piece: int) -> None:
    told = await heard(said, piece=piece)
    assert (told.whole, told.status, told.body, told.length) == (False, status, body, len(said))


async def test_a_body_without_a_length_keeps_no_connection() -> None:
    assert not (await heard(HEAD + b"\r\nhello")).keeps


@pytest.mark.parametrize(
    ("said", "status"),
    [(HEAD + b"X: " + b"x" * 5_000, 0), (HEAD + b"X: x\r\n" * 900, 0), (INTERIM * 200, 0),
     (HEAD + b"Content-Length: 5000\r\n\r\n" + b"x" * 5_000, 200), (HEAD + b"\r\n" + b"x" * 5_000, 200)],
    ids=["one field", "many fields", "interim answers", "a length", "no length"],
)  # fmt: skip
async def test_what_never_ends_is_read_up_to_the_bound(said: bytes, status: int) -> None:
    for piece in (7, 10_000):
        told = await heard(said, most=1_000, piece=piece, ends=False)
        assert (told.whole, told.status, told.length) == (False, status, 1_000)


async def test_the_bound_is_the_last_byte_that_is_read() -> None:
    assert (await heard(OK, most=len(OK), ends=False)).whole
    told = await heard(OK, most=len(OK) - 1, ends=False)
    assert (told.whole, told.body) == (False, b"o")


@pytest.mark.parametrize(
    ("said", "status"),
    [(b"220 smtp\r\n", 0), (b"\x16\x03\x01" * 9, 0), (UPGRADE, 0), (INTERIM + UPGRADE, 0), (OK + b"220 smtp\r\n", 200),
     (HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", 0), (HEAD + b"Content-Length: two\r\n\r\n", 0),
     (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 200)],
    ids=["another protocol", "noise", "an upgrade", "an upgrade after all", "another after it", "two lengths",
         "a length in words", "no chunk"],
)  # fmt: skip
async def test_what_is_no_http_is_a_fault_and_what_was_read_before_stays(said: bytes, status: int) -> None:
    answer = HttpAnswer()
    with pytest.raises(Garbled, match="no HTTP that was asked for: "):
        await fill(answer, said)
    assert answer.status == status


async def test_answers_that_nobody_asked_for_are_counted() -> None:
    assert [(await heard(OK * times)).messages for times in (0, 1, 2, 3)] == [0, 1, 2, 3]
    assert (await heard(OK + OK[:5])).messages == 2


async def test_the_names_of_fields_are_read_in_small_letters() -> None:
    told = await heard(OK.replace(b"\r\n\r\n", b"\r\nRETRY-After: 7\r\nX-Name: \xe9\r\n\r\n"))
    assert told.headers == {"content-length": "2", "retry-after": "7", "x-name": "é"}
