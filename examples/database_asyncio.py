"""The rows of a query, streamed as the database gives them: SQLAlchemy, uvicorn on asyncio.

Run ``pip install "sqlalchemy[asyncio]" aiosqlite`` and ``python examples/database_asyncio.py``,
then ``curl -N http://127.0.0.1:8000/``, and end curl with Ctrl-C at any time: the server prints
why the stream ended, and that the connection to the database is back in its pool. The ids are
those of the rows: ``curl -N -H "Last-Event-ID: 19990" http://127.0.0.1:8000/`` goes on after one.

The session is the producer's own: what the endpoint opens is closed before the first row is sent.
The query is open for as long as its client takes; ``database_trio.py`` asks for page after page
instead, and keeps nothing open. ``PORT=8001`` before the command for another port.
"""

import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from tempfile import TemporaryDirectory

import anyio
import uvicorn
from anyio.streams.memory import MemoryObjectSendStream
from sqlalchemy import Column, Float, Integer, MetaData, Table, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from trio_sse import CloseReason, EventSourceResponse, JSONServerSentEvent, last_event_id

SendChannel = MemoryObjectSendStream[JSONServerSentEvent]

table = Table(
    "readings", MetaData(), Column("id", Integer, primary_key=True), Column("celsius", Float)
)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncGenerator[dict[str, AsyncEngine]]:
    with TemporaryDirectory() as directory:
        engine = create_async_engine(f"sqlite+aiosqlite:///{directory}/readings.db")
        async with engine.begin() as connection:
            await connection.run_sync(table.create)
            rows = [{"celsius": 20 + n % 50 / 10} for n in range(20_000)]
            await connection.execute(insert(table), rows)
        print(f"database: {engine.url.database}", flush=True)
        yield {"engine": engine}
        await engine.dispose()


async def readings(send: SendChannel, engine: AsyncEngine, after: int) -> None:
    query = select(table).where(table.c.id > after).order_by(table.c.id)
    session, opened = AsyncSession(engine), AsyncExitStack()
    opened.push_async_callback(session.close)
    try:
        rows = await session.stream(query.execution_options(yield_per=100))
        opened.push_async_callback(rows.close)  # or the database stays locked for some time
        async for row in rows:
            await send.send(JSONServerSentEvent({"celsius": row.celsius}, id=row.id))
    finally:
        with anyio.move_on_after(5, shield=True):  # also when the client has left
            await opened.aclose()
    await send.send(JSONServerSentEvent(None, event="end"))


def report(engine: AsyncEngine, reason: CloseReason) -> None:
    print(f"{reason.value}: {engine.pool.status()}", flush=True)


async def stream(request: Request) -> EventSourceResponse:
    engine: AsyncEngine = request.state.engine
    last_id = last_event_id(request) or ""
    content = partial(readings, engine=engine, after=int(last_id) if last_id.isdecimal() else 0)
    return EventSourceResponse(content, on_close=partial(report, engine))


app = Starlette(lifespan=lifespan, routes=[Route("/", stream)])

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")))
