"""The rows of a query, streamed as the database gives them: SQLAlchemy, uvicorn on asyncio.

``pip install "sqlalchemy[asyncio]" aiosqlite`` and ``python examples/database_asyncio.py``, then
``curl -N http://127.0.0.1:8000/``, ended with Ctrl-C: the server prints why the stream ended, and
that its connection is back in the pool. ``curl -N -H "Last-Event-ID: 19990" ...`` goes on after
that row. The query is open for as long as its client takes (in ``database_trio.py`` nothing is).
"""

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from tempfile import TemporaryDirectory

import anyio
import uvicorn
from anyio.abc import ObjectSendStream
from sqlalchemy import Column, Float, Integer, MetaData, Row, Table, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncResult, AsyncSession, create_async_engine
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from trio_sse import CloseReason, EventSourceResponse, JSONServerSentEvent, last_event_id

table = Table(
    "readings", MetaData(), Column("id", Integer, primary_key=True), Column("celsius", Float)
)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncGenerator[dict[str, AsyncEngine]]:
    with TemporaryDirectory() as directory:
        engine = create_async_engine(f"sqlite+aiosqlite:///{directory}/readings.db")
        async with engine.begin() as db:
            await db.run_sync(table.create)
            await db.execute(insert(table), [{"celsius": 20 + n % 50 / 10} for n in range(20_000)])
        print(f"database: {engine.url.database}", flush=True)
        yield {"engine": engine}
        await engine.dispose()


async def fetch(result: AsyncResult[tuple[int, float]]) -> Sequence[Row[tuple[int, float]]]:
    page: Sequence[Row[tuple[int, float]]] = ()
    with anyio.CancelScope(shield=True):  # cancelled in here, the connection would be lost
        page = await result.fetchmany(100)
    return page


async def rows(send: ObjectSendStream[JSONServerSentEvent], db: AsyncEngine, after: int) -> None:
    session, opened = AsyncSession(db), AsyncExitStack()
    opened.push_async_callback(session.close)
    try:
        result = await session.stream(select(table).where(table.c.id > after).order_by(table.c.id))
        opened.push_async_callback(result.close)  # or the database stays locked for some time
        while page := await fetch(result):
            for row in page:
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
    content = partial(rows, db=engine, after=int(last_id) if last_id.isdecimal() else 0)
    return EventSourceResponse(content, on_close=partial(report, engine))


app = Starlette(lifespan=lifespan, routes=[Route("/", stream)])

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")))
