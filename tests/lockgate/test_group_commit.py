"""Group commit: who travels together, what a failure does to whom, and what is tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import asyncpg
import pytest

from detector.errors import PolicyMoved
from lockgate.group_commit import BACKLOG, TRIES, GroupCommit, Unavailable


class Commits:
    """A commit that can be held back, and that remembers which batches travelled."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.faults: list[Exception] = []
        self.poison: int | None = None

    async def __call__(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        await self.open.wait()
        if self.faults:
            raise self.faults.pop(0)
        if self.poison in items:
            raise asyncpg.DataError(f"{self.poison} does not fit")
        return [item * 10 for item in items]


async def test_a_lone_request_leaves_at_once() -> None:
    commits = Commits()
    assert await GroupCommit(commits).submit(7) == 70
    assert commits.batches == [[7]]


async def test_those_who_wait_travel_together_in_order() -> None:
    commits = Commits()
    group = GroupCommit(commits)
    commits.open.clear()
    first = group.submit(0)
    await asyncio.sleep(0)
    rest = [group.submit(number) for number in range(1, BACKLOG)]
    await asyncio.sleep(0)
    assert commits.batches == [[0]]
    commits.open.set()
    assert await asyncio.gather(first, *rest) == [number * 10 for number in range(BACKLOG)]
    assert commits.batches == [[0], list(range(1, BACKLOG))]


async def test_a_long_backlog_gets_a_second_batch_in_flight_and_no_third() -> None:
    commits = Commits()
    group = GroupCommit(commits, depth=2, most=BACKLOG)
    commits.open.clear()
    answers = [group.submit(0)]
    await asyncio.sleep(0)
    answers += [group.submit(number) for number in range(1, 3 * BACKLOG)]
    for _ in range(3):
        await asyncio.sleep(0)
    assert commits.batches == [[0], list(range(1, BACKLOG + 1))]
    commits.open.set()
    assert len(await asyncio.gather(*answers)) == 3 * BACKLOG


async def test_a_failing_request_never_fails_its_neighbours() -> None:
    commits = Commits()
    commits.poison = 2
    group = GroupCommit(commits)
    answers = await asyncio.gather(*[group.submit(number) for number in range(4)], return_exceptions=True)
    assert [answers[0], answers[1], answers[3]] == [0, 10, 30]
    assert isinstance(answers[2], asyncpg.DataError)
    assert commits.batches == [[0, 1, 2, 3], [0], [1], [2], [3]]


@pytest.mark.parametrize(
    "fault",
    [
        PolicyMoved("generation 2 judges now"),
        asyncpg.DeadlockDetectedError("deadlock"),
        asyncpg.ConnectionDoesNotExistError("gone in the middle of commit"),
        ConnectionRefusedError("not there yet"),
    ],
    ids=lambda fault: type(fault).__name__,
)
async def test_a_passing_fault_is_tried_again_with_the_same_batch(fault: Exception) -> None:
    commits = Commits()
    commits.faults = [fault]
    group = GroupCommit(commits)
    assert await asyncio.gather(group.submit(1), group.submit(2)) == [10, 20]
    assert commits.batches == [[1, 2], [1, 2]]


async def test_a_fault_that_does_not_pass_ends_in_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(seconds: float) -> None:
        pass

    commits = Commits()
    commits.faults = [ConnectionRefusedError("down")] * TRIES
    monkeypatch.setattr("lockgate.group_commit.asyncio.sleep", at_once)
    with pytest.raises(Unavailable, match=f"{TRIES} tries"):
        await GroupCommit(commits).submit(1)
    assert commits.batches == [[1]] * TRIES


async def test_who_gave_up_waiting_does_not_disturb_the_others() -> None:
    commits = Commits()
    group = GroupCommit(commits)
    commits.open.clear()
    gone, stays = group.submit(1), group.submit(2)
    await asyncio.sleep(0)
    gone.cancel()
    commits.open.set()
    assert await stays == 20


async def test_those_who_came_together_are_answered_together_in_order() -> None:
    commits = Commits()
    group = GroupCommit(commits, most=2)
    alone, together = group.submit(0), group.submit_all([1, 2, 3])
    assert await together == [10, 20, 30]
    assert await alone == 0
    assert commits.batches == [[0, 1], [2, 3]]


async def test_a_fault_of_one_is_told_once_all_who_came_with_it_are_answered() -> None:
    commits = Commits()
    commits.poison = 2
    group = GroupCommit(commits)
    with pytest.raises(asyncpg.DataError, match="2 does not fit"):
        await group.submit_all([1, 2, 3])
    assert commits.batches == [[1, 2, 3], [1], [2], [3]]


async def test_who_gave_up_waiting_for_several_does_not_disturb_the_others() -> None:
    commits = Commits()
    group = GroupCommit(commits)
    commits.open.clear()
    gone, stays = group.submit_all([1, 2]), group.submit(3)
    await asyncio.sleep(0)
    gone.cancel()
    commits.open.set()
    assert await stays == 30


class Hasty:
    """Somebody who is told at once, and who fails at what is said."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def done(self) -> bool:
        return False

    def set_result(self, answer: int) -> None:
        self.told.append(answer)
        raise RuntimeError("the line is cut")

    def set_exception(self, fault: Exception) -> None:
        self.told.append(fault)
        raise RuntimeError("the line is cut")


async def test_who_fails_at_an_answer_is_told_once_and_does_not_disturb_the_others() -> None:
    commits = Commits()
    group = GroupCommit(commits)
    hasty = Hasty()
    group.put(1, hasty)
    assert await group.submit(2) == 20
    assert hasty.told == [10] and commits.batches == [[1, 2]]


async def test_who_fails_at_a_fault_is_told_once_and_does_not_disturb_the_others() -> None:
    commits = Commits()
    commits.poison = 1
    group = GroupCommit(commits)
    hasty = Hasty()
    group.put(1, hasty)
    assert await group.submit(2) == 20
    assert [str(told) for told in hasty.told] == ["1 does not fit"] and commits.batches == [[1, 2], [1], [2]]
