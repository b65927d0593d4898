"""The client of the case API, against the real service."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from detector.review.access import Access
from detector.review.desk import Desk
from detector.review.errors import Conflict, NotAllowed, NotThere, ReviewError, Unreachable, Usage
from detector.review.filters import Filters
from tests.detector.review.conftest import HUGE, LARGE, Office


async def aside(ask: Callable[..., Any], *words: Any) -> Any:
    return await asyncio.to_thread(ask, *words)


async def test_a_case_is_read_claimed_noted_and_ruled_on(office: Office) -> None:
    alice, case = office.desk("alice"), await office.held(gifts=2)
    me = await aside(alice.me)
    assert (me.name, me.role) == ("alice", "analyst") and me.may("cases:write") and not me.may("cases:assign")
    file = await aside(alice.claim, case.id, case.version)
    assert (file.case.claimed_by, file.case.status) == ("alice", "claimed")
    file = await aside(alice.note, case.id, "asked the customer")
    assert [(note.author, note.text) for note in file.notes] == [("alice", "asked the customer")]
    one, other = (gift.id for gift in file.gifts)
    file = await aside(alice.rule, case.id, "release", "known", [one])
    assert [gift.standing for gift in file.gifts if gift.id == one] == ["released"]
    file = await aside(alice.rule, case.id, "block", "stolen", [other])
    assert file.case.status == "ended"
    with pytest.raises(Conflict, match="alice ruled block"):
        await aside(alice.rule, case.id, "block", "again", [other])


async def test_every_filter_narrows_the_queue(office: Office) -> None:
    lena, case, large = office.desk("lena"), await office.held(), await office.held(LARGE)

    async def found(**wanted: Any) -> set[str]:
        pages = await aside(lambda: list(lena.every_case(Filters(**wanted))))
        return {one.id for page in pages for one in page.cases} & {case.id, large.id}

    assert await found() == {case.id, large.id}
    assert await found(sender=case.senders[0]) == {case.id}
    assert await found(recipient=large.recipients[0]) == {large.id}
    assert await found(rule="large") == {large.id}
    assert await found(min_amount=LARGE) == {large.id}
    assert await found(older_than=3_600) == set()
    assert await found(kind="sample") == set()
    assert await found(q=case.senders[0]) >= {case.id}
    await aside(lena.claim, case.id, case.version)
    assert await found(claimed_by="lena") == {case.id} == await found(status="claimed")
    assert await found(status="open") == {large.id}


async def test_pages_follow_one_another_to_the_end(office: Office) -> None:
    cases = [await office.held() for _ in range(3)]
    lena = office.desk("lena")
    first = await aside(lena.cases, Filters(), 2)
    assert len(first.cases) == 2 and first.next
    told, cursor = [one.id for one in first.cases], first.next
    while cursor:
        page = await aside(lena.cases, Filters(), 2, cursor)
        told += [one.id for one in page.cases]
        cursor = page.next
    assert len(told) == len({*told}) and {one.id for one in cases} <= {*told}
    (only,) = await aside(lambda: list(lena.every_case(Filters(), 2)))
    assert len(only.cases) == 2


async def test_who_proposed_never_confirms(office: Office) -> None:
    alice, bob, case = office.desk("alice"), office.desk("bob"), await office.held(HUGE)
    await aside(alice.claim, case.id, case.version)
    (ruling,) = (await aside(alice.rule, case.id, "release", "known", None)).rulings
    assert (ruling.status, ruling.by) == ("proposed", "alice")
    with pytest.raises(NotAllowed, match="another person"):
        await aside(alice.confirm, case.id, ruling.id)
    file = await aside(bob.refuse, case.id, ruling.id, "not known to me")
    assert [one.status for one in file.rulings] == ["refused"]
    again = await aside(alice.rule, case.id, "release", "known, see note", None)
    ruling = next(one for one in again.rulings if one.status == "proposed")
    file = await aside(bob.confirm, case.id, ruling.id)
    assert file.case.status == "ended" and file.gifts[0].standing == "released"


async def test_each_fault_is_of_its_kind(office: Office) -> None:
    alice, otto, case = office.desk("alice"), office.desk("otto"), await office.held()
    with pytest.raises(NotThere, match="no case 'nowhere'"):
        await aside(alice.case, "nowhere")
    with pytest.raises(NotThere):
        await aside(alice.case, "../../v1/whoami")
    with pytest.raises(NotAllowed, match="cases:write"):
        await aside(otto.claim, case.id, case.version)
    with pytest.raises(NotAllowed, match="LOCKGATE_KEY"):
        await aside(Desk(Access(office.url, "lg_analyst_unknown")).me)
    with pytest.raises(Usage):
        await aside(alice.note, case.id, "")
    with pytest.raises(Conflict, match="claim case"):
        await aside(alice.rule, case.id, "release", "why", None)


async def test_silence_and_strangers_are_told_apart() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Unreachable, match="connection refused"):
            await aside(Desk(Access(url, "k")).me)
        taken.listen()
        with pytest.raises(Unreachable, match=r"nothing for 0\.2 s"):
            await aside(Desk(Access(url, "k"), 0.2).me)


async def test_a_redirect_is_not_followed_with_the_key() -> None:
    """A real server of a few lines: it sends everybody elsewhere, and must not see the key again."""
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ReviewError, match="answered 302, not as Lockgate does"):
            await aside(Desk(Access(f"http://127.0.0.1:{port}", "k")).me)
    assert len(asked) == 1
