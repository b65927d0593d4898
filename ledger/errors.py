"""The ledger's faults, one tree. Each knows its HTTP status and stable code; the front door translates them once."""

from __future__ import annotations


class LedgerError(Exception):
    """Something the caller can understand and, when possible, mend."""

    status = 400
    code = "bad_request"

    def __init__(self, detail: str, **extra: object) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra = extra


class Unauthenticated(LedgerError):
    status = 401
    code = "unauthenticated"


class SignatureWrong(Unauthenticated):
    code = "signature_wrong"


class SignatureStale(Unauthenticated):
    code = "signature_stale"


class Forbidden(LedgerError):
    status = 403
    code = "forbidden"


class NotFound(LedgerError):
    status = 404
    code = "not_found"


class Conflict(LedgerError):
    status = 409
    code = "conflict"


class Invalid(LedgerError):
    status = 422
    code = "invalid"


class TargetRefused(Invalid):
    """A URL, or an address behind it, that no webhook is sent to."""

    code = "target_refused"


class InsufficientCredits(LedgerError):
    status = 402
    code = "insufficient_credits"
