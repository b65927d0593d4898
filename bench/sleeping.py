"""The process that shadows, with a challenger that takes as many seconds as it is told for whatever it is asked."""

from __future__ import annotations

import sys
import time
from typing import Any

import detector.shadow
import lockgate.shadow

OPINIONS = detector.shadow.opinions


def slowly(*asked: Any) -> Any:
    time.sleep(float(sys.argv[1]))
    return OPINIONS(*asked)


if __name__ == "__main__":
    detector.shadow.opinions = slowly
    lockgate.shadow.main()
