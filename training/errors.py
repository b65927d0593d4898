"""What can go wrong offline. Every message names the value and, when possible, the cure.

TrainingError
└── HistoryRefused    a history file that cannot be read as a whole
"""


class TrainingError(Exception):
    """Any fault of this package."""


class HistoryRefused(TrainingError):
    """A history cannot be read at all. One bad row is no fault: it is counted in `History.bad`."""
