"""The ASGI application: one process's works, what they do by themselves, and their routes."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from lockgate import connections
from lockgate.config import Settings
from lockgate.front import MOST_BODY, Front
from lockgate.group_commit import DEPTH
from lockgate.loops import ended, loops
from lockgate.problems import add_problems
from lockgate.routes import add_routes, short_way
from lockgate.works import Works

CONNECTIONS = 8  # of a process, beside its gate's own


def create() -> Front:
    """The application for the settings in the environment; DATABASE_URL must name a migrated database."""
    return build(Settings.from_env(os.environ))


def build(settings: Settings) -> Front:
    """An application whose works start and stop with it, and whose routes are made of them."""

    @asynccontextmanager
    async def lifespan(app: Front) -> AsyncIterator[dict[str, Any]]:
        if settings.database_url is None:
            raise RuntimeError("DATABASE_URL is not set; start with 'lockgate serve', which sets it for its workers")
        pool = await connections.pool(settings.database_url, size=CONNECTIONS)
        gates = connections.Kept(settings.database_url)
        if settings.only is None:  # else no gift is judged in this process
            await gates.open(DEPTH)
        works = Works.build(pool, settings, gates)
        await works.apart.start(works.detector)
        add_routes(app, works, settings)
        # Activity is many small, long-lived, acyclic objects: walking them again and again finds nothing.
        gc.freeze()
        gc.set_threshold(200_000, 20, 100)
        tasks = [asyncio.create_task(loop) for loop in loops(works, settings)]
        try:
            yield {} if settings.only == "detector" else {"short_way": short_way(app, works)}
        finally:
            await ended(tasks)
            works.apart.close()
            await gates.close()
            await pool.close()

    app = Front(title="Lockgate", version="1", lifespan=lifespan, redirect_slashes=False, max_body_size=MOST_BODY)
    add_problems(app)
    return app
