"""The rows of a table, a page at a time, read in worker threads: sqlite3, hypercorn on trio.

Run ``python examples/database_trio.py``, then ``curl -N http://127.0.0.1:8000/``. The ids are
those of the rows: ``curl -N -H "Last-Event-ID: 19990" http://127.0.0.1:8000/`` goes on after one.

A driver that blocks is called in a thread, so that everyone else is served meanwhile, and opened
and closed there, for each page. Between two pages nothing is open, however long the client takes:
``sqlite3 <the database that it names> "insert into readings (celsius) values (30)"`` adds a row
that a client who is not yet there will see. ``PORT=8001`` before the command for another port.
"""

import os
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import hypercorn
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from trio_sse import EventSourceResponse, JSONServerSentEvent, last_event_id
from trio_sse.hypercorn import serve

ROWS = [(20 + n % 50 / 10,) for n in range(20_000)]
PAGE = "SELECT id, celsius FROM readings WHERE id > ? ORDER BY id LIMIT 500"


def create(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE readings (id INTEGER PRIMARY KEY, celsius REAL)")
        connection.executemany("INSERT INTO readings (celsius) VALUES (?)", ROWS)


def read_page(database: Path, after: int) -> list[tuple[int, float]]:
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        return connection.execute(PAGE, (after,)).fetchall()


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncGenerator[dict[str, Path]]:
    with TemporaryDirectory() as directory:
        database = Path(directory) / "readings.db"
        await trio.to_thread.run_sync(create, database)
        print(f"database: {database}", flush=True)
        yield {"database": database}


async def readings(
    send: trio.MemorySendChannel[JSONServerSentEvent], database: Path, after: int
) -> None:
    while page := await trio.to_thread.run_sync(read_page, database, after):
        for after, celsius in page:
            await send.send(JSONServerSentEvent({"celsius": celsius}, id=after))
    await send.send(JSONServerSentEvent(None, event="end"))


async def stream(request: Request) -> EventSourceResponse:
    database: Path = request.state.database
    last_id = last_event_id(request) or ""
    after = int(last_id) if last_id.isdecimal() else 0
    return EventSourceResponse(partial(readings, database=database, after=after))


app = Starlette(lifespan=lifespan, routes=[Route("/", stream)])

if __name__ == "__main__":
    config = hypercorn.Config.from_mapping(bind=f"127.0.0.1:{os.environ.get('PORT', '8000')}")
    trio.run(serve, app, config)
