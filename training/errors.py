"""What can go wrong offline. Every message names the value and, when possible, the cure.

TrainingError
├── HistoryRefused    a history file that cannot be read as a whole
└── Unjudged          there is too little to judge a model by, or it is not for a night to judge
"""


class TrainingError(Exception):
    """Any fault of this package."""


class HistoryRefused(TrainingError):
    """A history cannot be read at all. One bad row is no fault: it is counted in `History.bad`."""


class Unjudged(TrainingError):
    """No ruling can be made, for want of what judges: no fault of the model."""
