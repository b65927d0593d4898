"""uvicorn's HTTP protocol, with a short way in and out for a gift that is sent alone (ADR 7).

Law: the short way takes only what goes to the gate. Whatever else there is to say of a request, such as an unknown key
or a wrong field, is said on the framework's way, which it goes as if there were no other; so both answer alike.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from ledger.transfers import Answer
from lockgate.group_commit import Waiter

MOST_BODY = 65_536  # one gift with the longest note, every character escaped, is below 4 KB
Headers = Sequence[tuple[bytes, bytes]]


class ShortWay(NamedTuple):
    """Where the short way is, and what is on it: `take` has the waiter told the answer, never within the call, or says
    False for the framework's way; `translate` makes an answer of a fault."""

    path: bytes
    take: Callable[[Headers, bytes, Waiter[Answer]], bool]
    translate: Callable[[Exception], Awaitable[Answer]]


class Never:
    """The event that uvicorn sets when more of a request came or its client went: here nobody waits for it."""

    def set(self) -> None:
        pass


class Turn:
    """A request on the short way: as uvicorn's books of a connection ask for it, and as who waits for its answer."""

    __slots__ = ("disconnected", "keep_alive", "response_complete", "wire")
    message_event = Never()

    def __init__(self, wire: Wire) -> None:
        self.disconnected = self.response_complete = False
        self.keep_alive = True
        self.wire = wire

    def done(self) -> bool:
        return self.response_complete

    def set_result(self, answer: Answer) -> None:
        self.wire.write(self, answer)

    def set_exception(self, fault: Exception) -> None:
        self.wire.fail(self, fault)


class Wire(HttpToolsProtocol):
    """One connection. The application names its ShortWay in its lifespan's state, under `short_way`."""

    stamped: tuple[list[tuple[bytes, bytes]], bytes] = [], b""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        plain = not self.access_log and self.limit_concurrency is None
        self.short_way: ShortWay | None = self.app_state.get("short_way") if plain else None
        self.body: bytes | None = None  # of a request that may go the short way

    def on_headers_complete(self) -> None:
        way, parser = self.short_way, self.parser
        if (
            way is None
            or self.url != way.path
            or parser.get_method() != b"POST"
            or self.expect_100_continue
            or not (self.cycle is None or self.cycle.response_complete)
            or not parser.should_keep_alive()
            or parser.should_upgrade()
        ):
            return super().on_headers_complete()
        self.body = b""

    def on_body(self, body: bytes) -> None:
        if self.body is None:
            return super().on_body(body)
        self.body += body
        if len(self.body) > MOST_BODY:
            self.go_on()

    def on_message_complete(self) -> None:
        if self.body is not None:
            assert self.short_way is not None, "only a short way keeps a body"
            turn = Turn(self)
            if self.short_way.take(self.headers, self.body, turn):
                self.body, self.cycle = None, turn  # type: ignore[assignment]
                return
            self.go_on()
        super().on_message_complete()

    def go_on(self) -> None:
        """The framework's way from here."""
        body, self.body = self.body, None
        super().on_headers_complete()
        if body:
            super().on_body(body)

    def fail(self, turn: Turn, fault: Exception) -> None:
        task = self.loop.create_task(self.translated(turn, fault))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def translated(self, turn: Turn, fault: Exception) -> None:
        assert self.short_way is not None, "it was on the short way"
        self.write(turn, await self.short_way.translate(fault))

    def write(self, turn: Turn, answer: Answer) -> None:
        """Head and body in one."""
        turn.response_complete = True
        if turn.disconnected:
            return
        self.transport.write(self.head(answer) + answer.body)
        if not turn.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def head(self, answer: Answer) -> bytes:
        """Status and headers, in the order and case in which the framework has them."""
        headers = self.server_state.default_headers  # a new list every second
        if headers is not self.stamped[0]:
            Wire.stamped = headers, b"".join([b"%b: %b\r\n" % pair for pair in headers])
        named = "".join([f"{name.lower()}: {value}\r\n" for name, value in answer.headers.items()])
        kind = "application/json" if answer.status == 201 else "application/problem+json"
        rest = f"{named}content-length: {len(answer.body)}\r\ncontent-type: {kind}\r\n\r\n"
        return STATUS_LINE[answer.status] + self.stamped[1] + rest.encode("latin-1")
