"""The scorer on machines of its own, asked over HTTP with a deadline. Law 5: all but a whole, bound answer is silence.

What is heard of a gift is its decision, or a word for why there is none; that word becomes the reason of a hold.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import msgspec

from detector.contract import CONTRACT, Answers, Asked, Gift, Judged
from ledger.circuit import Circuit
from ledger.http_answer import Garbled
from ledger.way import Way

log = logging.getLogger(__name__)
BATCH = 500
TELL_S = 10.0
# Beyond the deadline: the two commits, on a machine that is busy. Then another process may ask again.
LEASE_S = 5.0
ANSWERS = msgspec.json.Decoder(Answers)
ENCODE = msgspec.json.Encoder().encode
CHECK = msgspec.json.Decoder(Asked)


class Silent(Exception):
    """No answer that counts: `why` names it as decisions do."""

    def __init__(self, why: str, detail: str) -> None:
        super().__init__(detail)
        self.why = why


class Remote:
    """Asks one scorer. Every question ends within `deadline_s`, answered or not."""

    def __init__(self, url: str, key: str, deadline_s: float = 0.25, circuit: Circuit | None = None) -> None:
        self.url = url
        self.way = Way(url, key)
        self.deadline_s = deadline_s
        self.circuit = circuit or Circuit()
        self.last = ""

    @property
    def lease_s(self) -> float:
        """For how long whoever asks about a gift has it to itself."""
        return LEASE_S + self.deadline_s

    async def ask(self, asked: Sequence[Asked]) -> dict[str, Judged | str]:
        """What is heard of each gift, by its id."""
        heard: dict[str, Judged | str] = {}
        for start in range(0, len(asked), BATCH):
            heard |= await self.ask_some(asked[start : start + BATCH])
        return heard

    async def ask_some(self, asked: Sequence[Asked]) -> dict[str, Judged | str]:
        clock = asyncio.get_running_loop().time
        if not self.circuit.admits(clock()):
            return dict.fromkeys((one.id for one in asked), "scorer_circuit_open")
        answered = False
        try:
            heard = await self.answers(asked)
            answered = True
            return heard
        except Silent as silence:
            self.say(silence)
            return dict.fromkeys((one.id for one in asked), silence.why)
        finally:
            if answered:
                self.circuit.succeeded()
                self.say(None)
            else:
                self.circuit.fell_silent(clock())

    async def answers(self, asked: Sequence[Asked]) -> dict[str, Judged | str]:
        """The scorer's answers, each to its own question. Raises Silent."""
        body = ENCODE({"gifts": asked})
        try:
            async with asyncio.timeout(self.deadline_s):
                status, told = await self.way.post("/v1/score/batch", body)
        except TimeoutError as error:
            raise Silent("scorer_timeout", f"no answer within {self.deadline_s * 1000:.0f} ms") from error
        except OSError as error:
            raise Silent("scorer_unreachable", f"{type(error).__name__}: {error}") from error
        except Garbled as error:
            raise Silent("scorer_garbled", str(error)) from error
        if status != 200:
            why = "scorer_denied" if status in (401, 403) else "scorer_failed"
            raise Silent(why, f"status {status}: {told[:200].decode(errors='replace')}")
        return read(told, asked)

    async def tell(self, path: str, body: bytes) -> bool:
        """Tell it something that nobody waits for; whether it took that."""
        try:
            async with asyncio.timeout(TELL_S):
                status, told = await self.way.post(path, body)
        except (OSError, Garbled) as error:  # a TimeoutError is an OSError too
            log.info("%s: %s: %s; told again later", path, type(error).__name__, error)
            return False
        if status != 200:
            log.warning("%s: status %d: %s; told again later", path, status, told[:200].decode(errors="replace"))
        return status == 200

    def say(self, silence: Silent | None) -> None:
        """In the log, once a change."""
        why = silence.why if silence else ""
        if silence and why != self.last:
            log.warning("the scorer is silent (%s): %s; gifts are held until it answers", why, silence)
        elif self.last and not silence:
            log.warning("the scorer answers again")
        self.last = why

    def standing(self) -> dict[str, Any]:
        """For /healthz."""
        state = self.circuit.state(asyncio.get_running_loop().time())
        return {"url": self.url, "circuit": state, "silent": self.last or None}

    def close(self) -> None:
        self.way.close()


def question(gift: Gift, look: int = 1) -> Asked:
    """A gift as it is asked about, with what binds the answer to it."""
    facts = {name: getattr(gift, name) for name in Asked.__struct_fields__ if name not in ("payload_hash", "look")}
    asked = Asked(**facts, payload_hash=gift.payload_hash.hex(), look=look if look > 1 else None)
    try:
        CHECK.decode(ENCODE(asked))
    except msgspec.ValidationError as error:
        # Domains are freer in the ledger than in the contract. What it cannot be told is null to the rules, which hold.
        log.warning("gift %s: asked without its domains: %s", gift.id, error)
        return msgspec.structs.replace(asked, sender_domain=None, recipient_domain=None)
    return asked


def read(told: bytes, asked: Sequence[Asked]) -> dict[str, Judged | str]:
    """Each gift's own answer. Raises Silent where the whole cannot be trusted: another edition, shape or gift."""
    try:
        answers = ANSWERS.decode(told)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Silent("scorer_garbled", f"{error}: {told[:200].decode(errors='replace')}") from error
    if answers.contract != CONTRACT:
        raise Silent("scorer_version", f"it speaks contract {answers.contract}, and this ledger {CONTRACT}")
    if len(answers.results) > len(asked):
        raise Silent("scorer_garbled", f"{len(answers.results)} answers to {len(asked)} questions")
    heard = [read_one(one) for one in answers.results]
    found = {one.gift: one for one in heard if isinstance(one, Judged)}
    refused = {one for one in heard if isinstance(one, str)}
    strange = {*found, *refused}.difference(one.id for one in asked)
    if strange or len(found) + len(refused) != len(heard):
        raise Silent("scorer_mismatched", f"answers twice, or to what was not asked: {sorted(strange)[:3]}")
    return {one.id: heard_of(one, found.get(one.id), one.id in refused) for one in asked}


def read_one(result: Any) -> Judged | str:
    """A decision, or the id of a gift that the scorer would not judge."""
    try:
        if isinstance(result, dict) and "error" in result:
            log.warning("the scorer refused a question: %s", result)
            return str(result.get("gift"))
        return msgspec.convert(result, Judged)
    except msgspec.ValidationError as error:
        raise Silent("scorer_garbled", f"{error}: {str(result)[:200]}") from error


def heard_of(one: Asked, answer: Judged | None, refused: bool) -> Judged | str:
    if refused:
        return "question_refused"
    if answer is None:
        return "scorer_missing"
    if answer.payload_hash != one.payload_hash or answer.id.rpartition(".")[2] != str(one.look or 1):
        raise Silent("scorer_mismatched", f"the answer {answer.id} is not bound to gift {one.id}, look {one.look or 1}")
    return answer
