"""The ASGI application: one process's gate, scoring and settlement, wired to one pool."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import asyncpg
import msgspec
from fastapi import FastAPI, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

import detector.api
import detector.case_api
import detector.explain_api
import detector.list_api
import ledger.api
import ledger.identity_api
import ledger.platform
import ledger.trace_api
from detector import cases
from detector.case_work import Person
from detector.contract import Judged
from detector.errors import DetectorError, PolicyMoved
from detector.explaining import Explainer
from detector.judge import Detector
from detector.scoring import Question, Scoring
from ledger import answers, funding, settlement, transfers
from ledger.access import ROLES, Access
from ledger.errors import LedgerError
from ledger.funding import Terms
from ledger.gate import Gate
from ledger.news import News
from ledger.relook import Relook
from ledger.rulings import Rulings
from ledger.transfers import Answer
from lockgate import postgres
from lockgate.config import Settings
from lockgate.front import MOST_BODY, Front
from lockgate.group_commit import PASSING, GroupCommit, Unavailable
from lockgate.wire import ShortWay

log = logging.getLogger(__name__)
CONNECTIONS = 10
MOST_FAILED = 20
UNSETTLED_S = 0.05  # how soon it is asked again whether all who do not know of news have ended; then twice as late
YOUNG_S = (1, 1, 2, 4, 8, 16, 32)
GROWING = (
    "ledger.orgs", "ledger.grants", "ledger.transfers", "ledger.entries", "ledger.answers",
    "ledger.relooks",
    "detector.keys", "detector.decisions", "detector.cases", "detector.case_gifts", "detector.case_keys",
)  # fmt: skip
ALONE = "judges by limits and rules alone: the active generation names no model"
JUDGES = "judges by limits, rules and the model's score"


@dataclass(slots=True)
class Works:
    """What runs in one process: built once, used by the routes, the settlement loop and the replay alike."""

    pool: asyncpg.Pool
    detector: Detector
    gate: GroupCommit[transfers.Request, Answer]
    scoring: GroupCommit[Question, Judged | None]
    settlement: settlement.Settlement
    relook: Relook
    access: Access
    running: set[tuple[str, str]]

    @classmethod
    def build(cls, pool: asyncpg.Pool, settings: Settings) -> Works:
        judge = Detector(settings.trusted_key)
        gate = Gate(pool, judge, settings.lock_s, settings.hold_s)
        return cls(
            pool,
            judge,
            GroupCommit(gate.commit),
            GroupCommit(Scoring(pool, judge).commit),
            settlement.Settlement(pool, judge, settings.hold_s),
            Relook(pool, judge, settings.hold_s),
            Access(pool),
            set(),
        )

    def send(self, request: transfers.Request) -> asyncio.Future[Answer]:
        """Pass the gate; 409 while the same key is still running in this process. A future costs no task."""
        key = (request.sender, request.key)
        if key in self.running:
            answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            detail = f"Idempotency-Key {request.key!r} is still running; retry soon"
            answer.set_result(answers.problem(409, "still_running", detail))
            return answer
        self.running.add(key)
        answer = self.gate.submit(request)
        answer.add_done_callback(lambda _: self.running.discard(key))
        return answer

    async def settle_for_ever(self, every_s: float) -> None:
        """Settle what is due and write off what expired; a fault is logged and tried again, never fatal."""
        while True:
            try:
                busy = await funding.expire_due(self.pool) + await self.settlement.settle_due()
            except PASSING as error:
                log.warning("settlement: %s: %s; trying again", type(error).__name__, error)
                busy = 0
            except Exception as error:  # whatever it is, the next transfers must not wait for it
                log.warning("settlement: %s: %s; one at a time now", type(error).__name__, error)
                busy = await self.settle_singly()
            if not busy:
                await asyncio.sleep(every_s)

    async def settle_singly(self) -> int:
        """A transfer that cannot be settled never holds up its neighbours: pass over it, and say so."""
        done = failed = 0
        while done + failed < settlement.BATCH:
            try:
                if not await self.settlement.settle_due(most=1, skip=failed):
                    break
                done += 1
            except PASSING:
                break
            except Exception:
                failed += 1
                log.exception("a due transfer failed and was passed over (%d so far)", failed)
                if failed > MOST_FAILED:
                    break
        return done

    async def look_again_for_ever(self, every_s: float) -> None:
        """Judge again what news touches; a fault is logged and tried again, and holds up nothing else."""
        news, failed, wait_s = News(self.relook), False, UNSETTLED_S
        while True:
            pause_s = every_s
            try:
                if failed:
                    await news.set_aside()
                    failed = False
                waits = await news.hear()
                wait_s = min(2 * wait_s, every_s) if waits else UNSETTLED_S
                pause_s = 0 if await news.work() else wait_s if waits else every_s
            except PolicyMoved:
                pause_s = 0
            except PASSING as error:
                log.warning("looking again: %s: %s; trying again", type(error).__name__, error)
            except Exception:
                log.exception("gifts could not be judged again; one at a time now")
                failed = True
            await asyncio.sleep(pause_s)

    async def tidy_for_ever(self, every_s: float) -> None:
        """Let claims and proposals lapse when their time has passed; a fault is logged and tried again."""
        while True:
            try:
                await cases.tidy(self.pool)
            except (*PASSING, asyncpg.PostgresError) as error:
                log.warning("lapsing claims: %s: %s; trying again", type(error).__name__, error)
            await asyncio.sleep(every_s)

    async def learn_sizes(self) -> None:
        """Have PostgreSQL look at the growing tables a few times in a young process.

        A plan is kept until a table's statistics change; one made while the tables were empty would read them whole
        once they are not, and autovacuum looks only every minute. Later growth is autovacuum's.
        """
        for wait_s in YOUNG_S:
            await asyncio.sleep(wait_s)
            try:
                await self.pool.execute(f"analyze {', '.join(GROWING)}")
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
                log.warning("analyze: %s: %s", type(error).__name__, error)

    async def health(self) -> Response:
        try:
            async with self.pool.acquire(timeout=2) as conn:
                await asyncio.wait_for(self.detector.refresh(conn), 2)
        except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            body: dict[str, Any] = {"status": "unavailable", "database": type(error).__name__}
            return Response(msgspec.json.encode(body), 503, media_type="application/json")
        return Response(msgspec.json.encode(standing(self.detector)), media_type="application/json")


def standing(judge: Detector) -> dict[str, Any]:
    """By what a process judges, and what keeps it from doing so."""
    body: dict[str, Any] = {"status": "ok", "generation": judge.generation, "model": None, "note": ALONE}
    if judge.generation is None:
        return body | {"status": "degraded", "note": "no active policy: every gift is held"}
    if judge.wanted:
        body |= {"model": judge.serving.name if judge.serving else None, "note": JUDGES}
    fault = judge.fault()
    if fault:
        body |= {"status": "degraded", "reason": fault[0], "note": f"every gift is held: {fault[1]}"}
    return body


def create() -> Front:
    """The application for the settings in the environment; DATABASE_URL must name a migrated database."""
    return build(Settings.from_env(os.environ))


def build(settings: Settings) -> Front:
    """An application whose works start and stop with it, and whose routes are made of them."""

    @asynccontextmanager
    async def lifespan(app: Front) -> AsyncIterator[dict[str, Any]]:
        if settings.database_url is None:
            raise RuntimeError("DATABASE_URL is not set; start with 'lockgate serve', which sets it for its workers")
        pool = await postgres.pool(settings.database_url, size=CONNECTIONS)
        works = Works.build(pool, settings)
        async with pool.acquire() as conn:
            await works.detector.refresh(conn)
        add_routes(app, works, settings)
        # Activity is many small, long-lived, acyclic objects: walking them again and again finds nothing.
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        every_s = settings.settle_every_s
        loops = [
            works.settle_for_ever(every_s), works.look_again_for_ever(every_s), works.tidy_for_ever(every_s),
            works.learn_sizes(), works.access.watch(),
        ]  # fmt: skip
        tasks = [asyncio.create_task(loop) for loop in loops]
        try:
            yield {"short_way": short_way(app, works)}
        finally:
            await ended(tasks)
            await pool.close()

    app = Front(title="Lockgate", version="1", lifespan=lifespan, redirect_slashes=False, max_body_size=MOST_BODY)
    add_problems(app)
    return app


def short_way(app: Front, works: Works) -> ShortWay:
    """How a gift that is sent alone passes the framework by, where the protocol knows of it (`lockgate.wire`)."""
    path = f"{ledger.api.PREFIX}/transfer"
    asked = Request({"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": []})

    async def translate(error: Exception) -> Answer:
        response = await app.translate(asked, error)
        return Answer(response.status_code, bytes(response.body))

    return ShortWay(path.encode(), ledger.api.short_way(works.access, works.send), translate)


async def ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel tasks until they are over: what a cancelled one still tidies up may fail, and its loop takes that failure
    for a passing one and goes on."""
    while running := [one for one in tasks if not one.done()]:
        for one in running:
            one.cancel()
        await asyncio.wait(running, timeout=1)
    await asyncio.gather(*tasks, return_exceptions=True)


def add_routes(app: FastAPI, works: Works, settings: Settings) -> None:
    access = works.access

    async def allow(authorization: str | None, scope: str) -> str:
        return (await access.actor(authorization, scope)).name

    async def own(authorization: str | None) -> bool:
        return (await access.actor(authorization, "labels:write")).role == "platform"

    async def reader(authorization: str | None) -> str | None:
        return await access.reader(authorization, "cases:read", "score:read")

    async def person(authorization: str | None, scope: str) -> Person:
        actor = await access.actor(authorization, scope)
        return Person(actor.name, detector.case_api.ASSIGN in ROLES[actor.role])

    async def whoami(authorization: Annotated[str | None, Header()] = None) -> Response:
        actor = await access.whose(authorization)
        told = {"name": actor.name, "role": actor.role, "org": actor.org_id, "scopes": sorted(ROLES[actor.role])}
        return Response(msgspec.json.encode(told), media_type="application/json")

    app.add_api_route("/v1/whoami", whoami, tags=["keys"], summary="Whose key this is, and what it may do")
    ledger.api.add_sending(app, access, works.send)
    app.include_router(ledger.api.router(works.pool, access, works.detector, settings.lock_s))
    app.include_router(detector.case_api.router(works.pool, person, Rulings()))
    app.include_router(detector.list_api.router(works.pool, allow))
    app.include_router(detector.api.router(works.pool, allow, works.scoring.submit, own))
    app.include_router(detector.explain_api.router(Explainer(works.pool, settings.trusted_key), reader, allow))
    terms = Terms(settings.giftable_origins, settings.clearing_s)
    app.include_router(ledger.platform.router(works.pool, access, terms))
    app.include_router(ledger.trace_api.router(works.pool, access, works.detector))
    app.include_router(ledger.identity_api.router(works.pool, access, settings.identity_secrets))
    app.add_api_route("/healthz", works.health, tags=["health"], summary="Whether this process can judge, and by what")


def add_problems(app: FastAPI) -> None:
    """Every fault becomes an RFC 9457 problem, here and nowhere else."""

    def respond(status: int, code: str, detail: str) -> Response:
        body = {
            "type": f"urn:lockgate:{code}",
            "title": answers.title(status),
            "status": status,
            "code": code,
            "detail": detail,
        }
        return Response(msgspec.json.encode(body), status, media_type="application/problem+json")

    async def known(request: Request, error: Any) -> Response:
        return respond(error.status, error.code, error.detail)

    async def invalid(request: Request, error: Any) -> Response:
        faults = [f"{'.'.join(map(str, one['loc'][1:])) or one['loc'][0]}: {one['msg']}" for one in error.errors()]
        return respond(422, "invalid", "; ".join(faults))

    async def http(request: Request, error: Any) -> Response:
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http_error")
        return respond(error.status_code, code, f"{request.method} {request.url.path}: {error.detail}")

    async def unwritable(request: Request, error: Any) -> Response:
        return respond(422, "invalid", "a text holds a zero byte, which PostgreSQL keeps in no text; leave it out")

    async def unavailable(request: Request, error: Any) -> Response:
        log.warning("%s %s: %s: %s", request.method, request.url.path, type(error).__name__, error)
        return respond(503, "unavailable", "the database does not answer; retry, a gift with its same Idempotency-Key")

    async def fault(request: Request, error: Exception) -> Response:
        return respond(500, "fault", "a fault of ours, noted in the log; retry with the same Idempotency-Key")

    handlers: list[tuple[Any, Callable[[Request, Any], Awaitable[Response]]]] = [
        (LedgerError, known),
        (DetectorError, known),
        (RequestValidationError, invalid),
        (HTTPException, http),
        (asyncpg.CharacterNotInRepertoireError, unwritable),
        *((kind, unavailable) for kind in (Unavailable, *PASSING)),
        (Exception, fault),
    ]
    for kind, handler in handlers:
        app.add_exception_handler(kind, handler)
