"""Where the work of training runs: here, or on a Dask or Ray cluster through joblib's backends.

Law: where it runs changes no bit of what comes out: each task is a whole fit, a whole family of features or a run of
draws that have seeds of their own, and what the tasks give is put together in one order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import joblib
from joblib.parallel import get_active_backend

from training.errors import TrainingError

LOCAL = "local"
ENGINES = r"(?P<kind>dask|ray)://(?P<address>\S+)"
CONNECT_S = 10


@contextmanager
def engine(where: str) -> Iterator[None]:
    """joblib's tasks run there meanwhile. The cluster's machines need the same Lockgate, as its own installs it."""
    if where == LOCAL:
        yield
        return
    found = re.fullmatch(ENGINES, where)
    if not found:
        raise TrainingError(f"--engine is {where!r}: give local, dask://HOST:PORT or ray://HOST:PORT (ray://auto)")
    door = _DOORS[found["kind"]](found["address"])
    with door as options, joblib.parallel_config(backend=found["kind"], n_jobs=-1, **options):
        yield


def at_once(here: int) -> int | None:
    """How many tasks run at once: so many here, and as many as an engine has room for (None: joblib's own word)."""
    return here if get_active_backend()[1] is None else None


@contextmanager
def _dask(address: str) -> Iterator[dict[str, Any]]:
    distributed = _needed("distributed", "dask")
    try:
        client = distributed.Client(f"tcp://{address}", timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"no Dask scheduler answers at {address}: {error}; start one (dask scheduler) and name its HOST:PORT"
        ) from error
    with client:
        if not client.scheduler_info()["workers"]:
            raise TrainingError(f"the Dask scheduler at {address} has no worker: start one (dask worker {address})")
        yield {"client": client}


@contextmanager
def _ray(address: str) -> Iterator[dict[str, Any]]:
    ray = _needed("ray", "ray")
    try:
        ray.init(address="auto" if address == "auto" else f"ray://{address}", ignore_reinit_error=True)
    except (ConnectionError, ValueError) as error:
        raise TrainingError(f"no Ray cluster answers at {address}: {error}; start one (ray start --head)") from error
    try:
        _needed("ray.util.joblib", "ray").register_ray()
        yield {}
    finally:
        ray.shutdown()


_DOORS = {"dask": _dask, "ray": _ray}


def _needed(module: str, extra: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise TrainingError(f"{module} is not installed: pip install 'lockgate[{extra}]'") from error
