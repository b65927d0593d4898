"""The case API as one analyst's key may use it.

Every call is one HTTP request on a connection of its own, so a lost one is never sent twice by itself. Blocking: the
terminal calls it in threads.
"""

from __future__ import annotations

import http.client
import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from detector.case_shapes import CaseFile, CasePage
from detector.explain_shapes import Explanation
from detector.review.access import Access
from detector.review.errors import REFUSED, NotAllowed, ReviewError, Unreachable, of_status
from detector.review.filters import Filters
from detector.shapes import Act

T = TypeVar("T")
MOST_PAGE = 500
PATIENCE_S = 10.0
# A whole case with 500 gifts and its audit is below a megabyte.
MOST_ANSWER = 32_000_000


class Me(msgspec.Struct):
    """Whose key this is."""

    name: str
    role: str
    scopes: list[str]

    def may(self, scope: str) -> bool:
        return scope in self.scopes


class Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: it would carry the key to whoever is named there."""

    def redirect_request(self, *told: Any, **more: Any) -> None:
        return None


class Desk:
    """Asks and acts with one key. Each call gives shapes of the contract, or raises a ReviewError."""

    def __init__(self, access: Access, patience_s: float = PATIENCE_S) -> None:
        self.access = access
        self.patience_s = patience_s
        # The machine's proxy has no way to this machine's own services.
        proxies = urllib.request.ProxyHandler({} if access.local else None)
        self.opener = urllib.request.build_opener(proxies, Stay)

    # --- reading ---

    def me(self) -> Me:
        return self.get("/v1/whoami", Me)

    def cases(self, filters: Filters, limit: int = MOST_PAGE, cursor: str | None = None) -> CasePage:
        more = {"limit": str(limit)} | ({"cursor": cursor} if cursor else {})
        return self.get("/v1/cases", CasePage, {**filters.query(), **more})

    def every_case(self, filters: Filters, most: int | None = None) -> Iterator[CasePage]:
        """Page after page, until there is none or `most` cases were told."""
        cursor, told = None, 0
        while True:
            limit = MOST_PAGE if most is None else min(MOST_PAGE, most - told)
            page = self.cases(filters, limit, cursor)
            yield page
            told += len(page.cases)
            cursor = page.next
            if cursor is None or not page.cases or (most is not None and told >= most):
                return

    def case(self, case: str) -> CaseFile:
        return self.get(f"/v1/cases/{quote(case, safe='')}", CaseFile)

    def explanation(self, case: str, gift: str) -> Explanation:
        return self.get(f"/v1/cases/{quote(case, safe='')}/explanation", Explanation, {"gift": gift})

    # --- acting: each answers with the case as it then is ---

    def claim(self, case: str, version: int) -> CaseFile:
        return self.act(case, "claim", {"version": version})

    def unclaim(self, case: str) -> CaseFile:
        return self.act(case, "unclaim")

    def assign(self, case: str, to: str) -> CaseFile:
        return self.act(case, "assign", {"to": to})

    def escalate(self, case: str, why: str) -> CaseFile:
        return self.act(case, "escalate", {"text": why})

    def note(self, case: str, text: str) -> CaseFile:
        return self.act(case, "notes", {"text": text})

    def rule(
        self, case: str, act: Act, why: str, gifts: Sequence[str] | None = None, orgs: Sequence[str] | None = None
    ) -> CaseFile:
        body: dict[str, Any] = {"act": act, "why": why}
        if gifts is not None:
            body["gifts"] = list(gifts)
        if orgs is not None:
            body["orgs"] = list(orgs)
        return self.act(case, "rulings", body)

    def confirm(self, case: str, ruling: str) -> CaseFile:
        return self.act(case, f"rulings/{quote(ruling, safe='')}/confirm")

    def refuse(self, case: str, ruling: str, why: str) -> CaseFile:
        return self.act(case, f"rulings/{quote(ruling, safe='')}/refuse", {"text": why})

    # --- one request ---

    def act(self, case: str, what: str, body: Any = None) -> CaseFile:
        return self.ask("POST", f"/v1/cases/{quote(case, safe='')}/{what}", CaseFile, body)

    def get(self, path: str, shape: type[T], query: dict[str, str] | None = None) -> T:
        return self.ask("GET", f"{path}?{urlencode(query)}" if query else path, shape)

    def ask(self, method: str, path: str, shape: type[T], body: Any = None) -> T:
        headers = {"Authorization": f"Bearer {self.access.key}", "Accept": "application/json"}
        sent = None
        if method == "POST":
            headers["Content-Type"] = "application/json"
            sent = msgspec.json.encode({} if body is None else body)
        request = urllib.request.Request(self.access.url + path, sent, headers, method=method)
        try:
            with self.opener.open(request, timeout=self.patience_s) as answer:
                told = answer.read(MOST_ANSWER)
        except urllib.error.HTTPError as error:
            with error:
                raise refused(error.code, error.read(MOST_ANSWER), f"{method} {path.partition('?')[0]}") from None
        except (OSError, http.client.HTTPException) as error:
            never = isinstance(getattr(error, "reason", error), ConnectionRefusedError | socket.gaierror)
            told_of = f"{self.access.url} does not answer: {reason(error, self.patience_s)}"
            raise Unreachable(told_of, REFUSED if never else None) from None
        return read(told, shape, path)


def read(told: bytes, shape: type[T], path: str) -> T:
    try:
        return msgspec.json.decode(told, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unreachable(
            f"{path.partition('?')[0]} answered in a shape that this version does not know: {error}"
        ) from error


def refused(status: int, told: bytes, asked: str) -> ReviewError:
    """The problem document's own words, or what can be said without one."""
    try:
        problem = json.loads(told)
        detail, code = str(problem["detail"]), str(problem["code"])
    except (ValueError, KeyError, TypeError):
        detail, code = f"{asked} answered {status}, not as Lockgate does: check LOCKGATE_URL", None
    error = of_status(status, detail, code)
    return NotAllowed(f"{detail} (check LOCKGATE_KEY)", code) if status == 401 else error


def reason(error: BaseException, patience_s: float) -> str:
    cause = getattr(error, "reason", error)
    if isinstance(cause, TimeoutError):
        return f"nothing for {patience_s:g} s"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror.lower()
    return str(cause) or type(cause).__name__
