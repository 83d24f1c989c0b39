"""What the tests of a hub on Redis share: waiting for what is needed, and programs beside it."""

from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import anyio

from hub.kit import seen
from redis_server import RedisServer
from trio_sse import open_hub
from trio_sse.redis import PUBLISH_SCRIPT, RedisEngine

from .proxy import reads

# Seconds for a loaded machine.
TIMEOUT = 20

EVENTS, STATE, TOPICS, OLD = "events", "state", "topics", "topics:old"

# What an engine is given so that it notices soon.
PROMPT = {"heartbeat": 0.1, "response_timeout": 2}


def key(name, kind):
    return f"trio_sse:{{{name}}}:{kind}"


def keys(name):
    return [key(name, kind) for kind in (EVENTS, STATE, TOPICS, OLD)]


def publish_elsewhere(server: RedisServer, name, *arguments):
    """What a program in another language does; the arguments come after the sequence."""
    return server.cli("EVAL", PUBLISH_SCRIPT, "4", *keys(name), "", *arguments).split()


def fill(server, name, topic, count):
    """Add so many events, whose data are numbers, in few steps."""
    for start in range(0, count, 100):
        numbers = range(start, min(start + 100, count))
        publish_elsewhere(
            server, name, *(part for n in numbers for part in (topic, "2", "data", str(n)))
        )


async def fill_slowly(server, name, hub, topic, count):
    """Add so many events, and wait for each hundred until they are delivered."""
    for start in range(0, count, 100):
        published = hub.statistics().published
        numbers = range(start, min(start + 100, count))
        publish_elsewhere(
            server, name, *(part for n in numbers for part in (topic, "2", "data", str(n)))
        )
        wanted = published + len(numbers)
        await until(lambda wanted=wanted: hub.statistics().published == wanted)


def length(server, name):
    return int(server.cli("XLEN", key(name, EVENTS)))


async def until(condition):
    """Wait until something is so that nothing tells of."""
    with anyio.fail_after(TIMEOUT):
        while not condition():  # noqa: ASYNC110
            await anyio.sleep(0.005)


async def freeze_reader(proxy):
    """Forward nothing any more on the connection for what comes, which is waiting for it."""
    await until(lambda: any(map(reads, proxy.passages)))
    proxy.freeze(reads)


async def take(subscription, count):
    """Receive so many events."""
    with anyio.fail_after(TIMEOUT):
        return [seen(await subscription.receive()) for _ in range(count)]


async def take_until(subscription, last):
    """Receive up to an event that is known to come; return what came before it."""
    received = []
    with anyio.fail_after(TIMEOUT):
        while True:
            received += await take(subscription, 1)
            if received[-1] == last:
                return received[:-1]


async def publish(hub, topic, *items):
    with anyio.fail_after(TIMEOUT):
        return [await hub.publish(topic, item) for item in items]


async def read_all(hub, *topics, **options):
    """Subscribe and receive what there is, up to an event that is published for it."""
    async with hub.subscribe(*topics, **options) as subscription:
        await publish(hub, topics[0], "(the end)")
        return await take_until(subscription, "(the end)")


@asynccontextmanager
async def opened(*engines, **options):
    """Hubs, one for each engine, with the same options."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(open_hub(engine=engine, **options))
            for engine in engines
        ]


@asynccontextmanager
async def subscribed(*hubs, topics=("a",), **options):
    """A subscription to each of these hubs, which has begun."""
    async with AsyncExitStack() as stack:
        subscriptions = [
            await stack.enter_async_context(hub.subscribe(*topics, **options)) for hub in hubs
        ]
        for subscription in subscriptions:
            assert await take(subscription, 1) == ["<ready>"]
        yield subscriptions


def engines(url, name, count=2, **options):
    """Engines of several processes that share a hub."""
    return [RedisEngine(url, name=name, **{**PROMPT, **options}) for _ in range(count)]


@contextmanager
def away(server: RedisServer):
    """No Redis for as long as the block runs; it keeps its data."""
    server.shutdown("SAVE")
    yield
    server.start()


def messages(caplog, level):
    """What was logged by this package."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelname == level and record.name.startswith("trio_sse")
    ]
