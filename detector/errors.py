"""What can go wrong in the detector, as one tree.

DetectorError
├── PolicyRefused           a policy that cannot be loaded
│   └── ExpressionRefused   a rule or derived feature that cannot be read
├── PolicyMoved             another generation was activated: start the transaction again
├── Malformed               a question that cannot be read
├── GiftConflict            a gift id that was judged with other fields
├── GiftUnknown             a gift that was never judged here
├── LabelConflict           a gift that is known as the opposite
├── DecisionUnknown         a decision that was never taken
├── CursorAhead             a place beyond the log's end
├── SubjectUnknown          what no event of the log is of
├── ProofRefused            a checkpoint or a proof that does not hold, or cannot be made
├── EntryUnknown            a list entry that does not exist
├── EntryConflict           an entry that stands already, or was taken off before
├── CaseUnknown             a case, or a ruling in it, that does not exist
├── CaseConflict            somebody else did something with the case, or a gift of it, before
└── NotYours                what a lead has to do
    └── TwoPeople           what another person has to do (law 13)
"""


class DetectorError(Exception):
    """A fault of the detector: `status` for HTTP, `code` for programs, `detail` for people."""

    status = 500
    code = "detector_error"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class PolicyRefused(DetectorError):
    """The policy is not fit to be activated; `faults` name every offending piece and its cure."""

    status = 422
    code = "policy_refused"

    def __init__(self, *faults: str) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


class ExpressionRefused(PolicyRefused):
    """The expression `text` is not one that Lockgate evaluates, for the `reason` given."""

    def __init__(self, text: str, reason: str) -> None:
        # A hostile text may be huge: the message quotes its beginning only.
        super().__init__(f"{reason} (in: {text if len(text) <= 200 else text[:200] + '…'})")
        self.text = text
        self.reason = reason


class PolicyMoved(DetectorError):
    """Another generation judges from now on; it is loaded, and the caller's batch can be run again."""

    status = 503
    code = "policy_moved"


class Malformed(DetectorError):
    """The question's body is not in the shape asked for."""

    status = 422
    code = "invalid"


class GiftConflict(DetectorError):
    """The gift id was judged before, with other fields."""

    status = 422
    code = "gift_conflict"


class GiftUnknown(DetectorError):
    """There is no such gift."""

    status = 404
    code = "not_found"


class LabelConflict(DetectorError):
    """The gift was labelled before, the other way."""

    status = 409
    code = "label_conflict"


class DecisionUnknown(DetectorError):
    """There is no such decision."""

    status = 404
    code = "not_found"


class CursorAhead(DetectorError):
    """The log does not reach so far: it is another one, or an older state of it."""

    status = 409
    code = "cursor_ahead"


class SubjectUnknown(DetectorError):
    """The log tells of no such thing."""

    status = 404
    code = "not_found"


class ProofRefused(DetectorError):
    """A checkpoint or a proof does not hold, or cannot be made, for the reason given."""

    status = 422
    code = "proof_refused"


class EntryUnknown(DetectorError):
    """There is no such list entry."""

    status = 404
    code = "not_found"


class EntryConflict(DetectorError):
    """Somebody listed the same before, or took the entry off."""

    status = 409
    code = "list_conflict"


class CaseUnknown(DetectorError):
    """There is no such case, or no such ruling in it."""

    status = 404
    code = "not_found"


class CaseConflict(DetectorError):
    """Somebody was there before: who did what, and when."""

    status = 409
    code = "case_conflict"


class NotYours(DetectorError):
    """A lead has to do this."""

    status = 403
    code = "forbidden"


class TwoPeople(NotYours):
    """Who proposed a ruling never answers it, whatever the role."""

    code = "two_people"
