"""What can go wrong at the desk, as one tree; each ends a plain command with an exit status of its own.

ReviewError          1  a fault that is nobody's wish
├── Unreachable      1  the service does not answer, or not as it should
├── Usage            2  the question is not one that can be asked
├── Conflict         3  somebody else was faster, or the moment has passed; the detail says who did what when
├── NotAllowed       5  the key is missing, unknown, or may not do this
└── NotThere         6  there is no such case, gift or ruling
"""

from __future__ import annotations

# A ruling that now waits for a second person is no fault: it is done as far as one person can do it.
PROPOSED = 4
# The code of a service that was never reached: what was asked was surely not done.
REFUSED = "refused"


class ReviewError(Exception):
    """`status` is the exit status; `code` names the fault for programs, `detail` tells it to people."""

    status = 1
    code = "fault"

    def __init__(self, detail: str, code: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.code


class Unreachable(ReviewError):
    """No answer from the service, or one that is not its own. Trying again may help."""

    code = "unreachable"


class Usage(ReviewError):
    status = 2
    code = "usage"


class Conflict(ReviewError):
    status = 3
    code = "conflict"


class NotAllowed(ReviewError):
    status = 5
    code = "not_allowed"


class NotThere(ReviewError):
    status = 6
    code = "not_found"


def of_status(status: int, detail: str, code: str | None) -> ReviewError:
    """The fault that an HTTP answer tells of."""
    kinds = {401: NotAllowed, 403: NotAllowed, 404: NotThere, 409: Conflict, 400: Usage, 413: Usage, 422: Usage}
    kind = kinds.get(status, Unreachable if status >= 500 or status == 429 else ReviewError)
    return kind(detail, code)
