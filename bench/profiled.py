"""Runs the application's server under cProfile: `python -m bench.profiled FILE [what uvicorn takes …]`.

FILE is written when the server ends, by Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import cProfile
import sys

import uvicorn

from lockgate.postgres import exit_on_sigterm


def main() -> None:
    file, *rest = sys.argv[1:]
    # Without it uvicorn, once shut down, would end the process by the signal, before the file is written.
    exit_on_sigterm()
    profile = cProfile.Profile()
    try:
        profile.runcall(uvicorn.main, rest, standalone_mode=False)
    finally:
        profile.dump_stats(file)


if __name__ == "__main__":
    main()
