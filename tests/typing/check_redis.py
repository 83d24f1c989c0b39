"""The engine on Redis, as users write it."""

import ssl
from typing import assert_type

from trio_sse import Engine, Hub, PublishError, open_hub
from trio_sse.redis import PUBLISH_SCRIPT, RedisEngine


def making(context: ssl.SSLContext) -> None:
    RedisEngine("redis://localhost")
    RedisEngine("redis://localhost", name="news", max_events=1000, max_age=60)
    RedisEngine("redis://localhost", publish_timeout=5, response_timeout=1.5, heartbeat=2)
    RedisEngine("rediss://localhost", ssl_context=context)
    RedisEngine(b"redis://localhost")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    RedisEngine("redis://localhost", "news")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    RedisEngine("redis://localhost", max_events="many")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def using(engine: RedisEngine) -> None:
    as_engine: Engine = engine
    assert_type(engine.connected, bool)
    assert_type(PUBLISH_SCRIPT, str)
    async with open_hub(engine=as_engine, close_timeout=1) as hub:
        assert_type(hub, Hub)
        try:
            assert_type(await hub.publish("news", "hello"), str)
        except PublishError as error:
            if error.outcome == "unknown":
                return
            if error.outcome == "lost":  # type: ignore[comparison-overlap]  # pyright: ignore[reportUnnecessaryComparison]
                return
