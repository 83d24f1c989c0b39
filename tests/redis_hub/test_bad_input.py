"""What RedisEngine refuses, when, and in which words."""

import ssl
from contextlib import suppress

import anyio
import pytest
import trustme

from redis_server import RedisServer, free_port
from trio_sse import ServerSentEvent, open_hub
from trio_sse.redis import RedisEngine

from .kit import EVENTS, STATE, TIMEOUT, TOPICS, key, opened, publish, read_all, until

pytestmark = pytest.mark.anyio


class Ignoring:
    """A sink."""

    def begin(self, position, kept=()):
        pass

    def deliver(self, record):
        pass

    def lost(self, position):
        pass


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"url": 5}, "url"),
        ({"url": None}, "url"),
        ({"url": b"redis://localhost"}, "url"),
        ({"name": 5}, "name"),
        ({"name": None}, "name"),
        ({"max_events": 1.0}, "max_events"),
        ({"max_events": True}, "max_events"),
        ({"max_topics": "1"}, "max_topics"),
        ({"max_age": "1"}, "max_age"),
        ({"max_age": True}, "max_age"),
        ({"publish_timeout": None}, "publish_timeout"),
        ({"response_timeout": "1"}, "response_timeout"),
        ({"heartbeat": [1]}, "heartbeat"),
        ({"unheard_of": 1}, "unheard_of"),
        ({"kwargs": 1}, "kwargs"),
        ({"max_connections": 1}, "max_connections"),
        ({"connection_class": object}, "connection_class"),
        ({"decode_responses": True}, "decode_responses"),
        ({"decode_responses": False}, "decode_responses"),
        ({"encoding": "latin-1"}, "encoding"),
        ({"noreply": True}, "noreply"),
    ],
)
def test_what_is_of_the_wrong_type_or_unknown_is_a_type_error(options, named):
    with pytest.raises(TypeError, match=named):
        RedisEngine(**{"url": "redis://localhost", **options})


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"url": ""}, "url must begin with"),
        ({"url": "localhost"}, "url must begin with"),
        ({"url": "localhost:6379"}, "url must begin with"),
        ({"url": "http://localhost"}, "url must begin with"),
        ({"url": " redis//localhost"}, "url must begin with"),
        ({"url": "redis://"}, "url"),
        ({"url": "redis:"}, "url"),
        ({"url": "unix://"}, "url"),
        ({"url": "redis://localhost/x"}, "url"),
        ({"url": "redis://localhost/0/1"}, "url"),
        ({"url": "redis://localhost:x"}, "Port"),
        ({"url": "redis://localhost:99999"}, "Port"),
        ({"url": "redis://[::1"}, "IPv6"),
        ({"name": ""}, "name"),
        ({"name": "a{b"}, "name"),
        ({"name": "a}b"}, "name"),
        ({"name": "{a}"}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "a\rb"}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": "a\ud800"}, "name"),
        ({"max_events": 0}, "max_events"),
        ({"max_events": -1}, "max_events"),
        ({"max_events": 10**30}, "max_events"),
        ({"max_topics": 0}, "max_topics"),
        ({"max_age": 0}, "max_age"),
        ({"max_age": -1.0}, "max_age"),
        ({"max_age": float("inf")}, "max_age"),
        ({"publish_timeout": 0}, "publish_timeout"),
        ({"publish_timeout": float("nan")}, "publish_timeout"),
        ({"response_timeout": 0}, "response_timeout"),
        ({"response_timeout": -1}, "response_timeout"),
        ({"heartbeat": 0}, "heartbeat"),
        ({"heartbeat": float("inf")}, "heartbeat"),
        ({"heartbeat": 1e300}, "heartbeat"),
    ],
)
def test_what_is_out_of_range_is_a_value_error(options, named):
    with pytest.raises(ValueError, match=named):
        RedisEngine(**{"url": "redis://localhost", **options})


@pytest.mark.parametrize("option", ["decode_responses=1", "noreply=1", "encoding=latin-1"])
def test_what_is_refused_is_refused_in_the_url_too(option):
    with pytest.raises((TypeError, ValueError), match=option.partition("=")[0]):
        RedisEngine(f"redis://localhost?{option}")


@pytest.mark.parametrize(
    "options",
    [
        {"url": "redis://localhost"},
        {"url": "redis://user:secret@[::1]:6380/5"},
        {"url": "rediss://localhost"},
        {"url": "rediss://localhost", "ssl_context": ssl.create_default_context()},
        {"url": "unix:///run/redis.sock"},
        {"name": "a name: of \N{SNOWMAN}"},
        {"max_events": 1, "max_age": 0.5, "max_topics": 1},
        {"publish_timeout": 0.1, "response_timeout": 1, "heartbeat": 0.1},
        {"client_name": "us", "username": "user", "password": "secret", "db": 3},
        {"socket_keepalive": True, "connect_timeout": 1},
    ],
)
def test_what_is_right_connects_to_nothing_yet(options):
    engine = RedisEngine(**{"url": "redis://localhost", **options})
    assert engine.connected is False
    assert engine.publish_timeout == options.get("publish_timeout", 10)


async def test_what_is_asked_of_an_engine_that_is_not_open_is_a_runtime_error(redis, name):
    engine = RedisEngine(redis.url, name=name)

    async def ask_in_vain():
        assert engine.connected is False
        event = ServerSentEvent("x")
        for call in (
            lambda: engine.publish("a", event),
            lambda: engine.publish_all([("a", event)]),
            lambda: engine.reaches(["a"], 0),
            lambda: engine.earliest(),
            lambda: engine.read(["a"], 0, 1),
        ):
            with pytest.raises(RuntimeError, match="serves no hub now"):
                await call()

    with pytest.raises(RuntimeError, match="has served no hub yet"):
        print(engine.epoch)
    await ask_in_vain()
    async with engine.open(Ignoring()):
        assert engine.connected is True
    await ask_in_vain()


async def test_an_engine_serves_one_hub_at_a_time_and_another_after_it(redis, name):
    engine = RedisEngine(redis.url, name=name)
    async with open_hub(engine=engine) as hub:
        with pytest.raises(RuntimeError, match="one hub at a time"):
            async with open_hub(engine=engine):
                pass
        await publish(hub, "a", "1")
    async with open_hub(engine=engine) as hub:
        await publish(hub, "a", "2")
        assert await read_all(hub, "a", last_event_id="earliest") == ["<ready>", "1", "2"]


async def fails_to_open(url, **options):
    """Return what is raised alone, and what it says."""
    with anyio.fail_after(TIMEOUT), pytest.raises(ConnectionError) as caught:
        async with open_hub(engine=RedisEngine(url, **options)):
            pass
    return caught.value


async def test_no_redis_there_is_a_connection_error_that_says_where_and_what_to_do():
    port = free_port()
    error = await fails_to_open(f"redis://user:secret@127.0.0.1:{port}")
    assert f"127.0.0.1:{port}" in str(error)
    assert "redis-server" in str(error)
    chain = []
    while error is not None:
        chain.append(f"{error} {error!r}")
        error = error.__cause__ or error.__context__
    assert "secret" not in "".join(chain)


async def test_no_socket_there_is_a_connection_error_that_names_the_path(tmp_path):
    path = tmp_path / "no.sock"
    assert str(path) in str(await fails_to_open(f"unix://{path}"))


async def test_an_engine_can_be_opened_after_it_could_not(own_redis, name):
    engine = RedisEngine(own_redis.url, name=name)
    own_redis.shutdown("NOSAVE")
    with pytest.raises(ConnectionError):
        async with open_hub(engine=engine):
            pass
    own_redis.start()
    async with open_hub(engine=engine) as hub:
        assert await publish(hub, "a", "1")


async def test_a_server_that_never_answers_is_a_connection_error(own_redis, own_proxy):
    own_proxy.freeze(lambda _: True)
    error = await fails_to_open(own_proxy.url, response_timeout=0.2)
    assert own_proxy.url.removeprefix("redis://") in str(error)


async def test_a_redis_that_is_lost_while_it_is_opened_holds_up_nobody(own_proxy):
    """One connection is made, and lost before the other is made; either may be the first."""
    own_proxy.freeze(lambda passage: passage.number == 1)

    async def lose_the_first():
        await until(lambda: [passage.asked for passage in own_proxy.passages] == [True, True])
        await until(lambda: own_proxy.passages[0].answered)
        own_proxy.refuses = True
        own_proxy.passages[0].cut()
        await until(lambda: own_proxy.refused)
        own_proxy.thaw()

    engine = RedisEngine(own_proxy.url, response_timeout=1)
    with anyio.fail_after(TIMEOUT):
        async with anyio.create_task_group() as group:
            group.start_soon(lose_the_first)
            try:
                async with open_hub(engine=engine):
                    assert engine.connected is False
            except ConnectionError:
                assert engine.connected is False


async def test_a_server_that_is_no_redis_is_a_connection_error():
    async def answer(stream):
        async with stream:
            with suppress(anyio.EndOfStream):  # who only looks whether somebody is there
                await stream.receive()
                await stream.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as group,
    ):
        group.start_soon(listener.serve, answer)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        await fails_to_open(f"redis://127.0.0.1:{port}", response_timeout=1)
        group.cancel_scope.cancel()


async def test_a_wrong_password_is_a_connection_error_that_does_not_tell_it(own_redis):
    own_redis.cli("ACL", "SETUSER", "web", "on", ">right", "~*", "+@all")
    location = own_redis.url.removeprefix("redis://")
    error = await fails_to_open(f"redis://web:secret@{location}")
    assert location in str(error)
    assert "secret" not in str(error)
    assert "WRONGPASS" in str(error) or "password" in str(error)
    async with open_hub(engine=RedisEngine(f"redis://web:right@{location}")) as hub:
        assert await publish(hub, "a", "1")


@pytest.mark.parametrize("kind", [EVENTS, STATE, TOPICS])
async def test_a_key_of_another_type_is_a_connection_error(redis, name, kind):
    async with open_hub(engine=RedisEngine(redis.url, name=name)) as hub:
        await publish(hub, "a", "1")
    redis.cli("SET", key(name, kind), "something else")
    if kind != TOPICS:  # which is not looked into to begin with
        assert "wrong" in str(await fails_to_open(redis.url, name=name)).lower()
    redis.cli("DEL", key(name, kind))
    async with open_hub(engine=RedisEngine(redis.url, name=name)) as hub:
        assert await read_all(hub, "a", last_event_id="earliest") == ["<ready>"]


async def test_errors_of_the_block_are_raised_alone(redis, name):
    with pytest.raises(LookupError):
        async with open_hub(engine=RedisEngine(redis.url, name=name)):
            raise LookupError
    with pytest.raises(ExceptionGroup) as caught:
        async with open_hub(engine=RedisEngine(redis.url, name=name)):
            raise ExceptionGroup("of two", [LookupError(), KeyError()])
    assert caught.value.message == "of two"


async def test_a_database_other_than_the_first_shares_nothing_with_it(redis, name):
    async with (
        open_hub(engine=RedisEngine(redis.url, name=name)) as one,
        open_hub(engine=RedisEngine(f"{redis.url}/3", name=name)) as other,
    ):
        await publish(one, "a", "1")
        await publish(other, "a", "2")
        assert await read_all(one, "a", last_event_id="earliest") == ["<ready>", "1"]
        assert await read_all(other, "a", last_event_id="earliest") == ["<ready>", "2"]
        assert redis.cli("-n", "3", "XLEN", key(name, EVENTS)) == "2"


async def test_it_speaks_through_a_unix_socket(tmp_path, name):
    path = tmp_path / "redis.sock"
    with RedisServer(tmp_path, "--unixsocket", str(path)):
        async with open_hub(engine=RedisEngine(f"unix://{path}", name=name)) as hub:
            await publish(hub, "a", "1")
            assert await read_all(hub, "a", last_event_id="earliest") == ["<ready>", "1"]


@pytest.mark.parametrize(
    "option", ["ssl_keyfile", "ssl_cert_reqs", "stream_timeout", "max_idle_time"]
)
def test_what_would_be_misunderstood_is_refused(option):
    with pytest.raises(TypeError, match=option):
        RedisEngine("rediss://localhost", **{option: 1})
    with pytest.raises(ValueError, match=f"url: {option}"):
        RedisEngine(f"redis://localhost?{option}=1")


def test_what_a_url_says_of_tls_is_understood():
    RedisEngine("rediss://localhost?ssl_cert_reqs=none")
    with pytest.raises(ValueError, match="url: ssl_cert_regs"):
        RedisEngine("rediss://localhost?ssl_cert_regs=none")


async def test_with_tls_the_certificate_is_checked(tmp_path, name):
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    for kind, blob in (
        ("cert", certificate.cert_chain_pems[0]),
        ("key", certificate.private_key_pem),
        ("ca-cert", authority.cert_pem),
    ):
        blob.write_to_path(str(tmp_path / f"{kind}.pem"))
    port = str(free_port())
    files = [
        part
        for kind in ("cert", "key", "ca-cert")
        for part in (f"--tls-{kind}-file", str(tmp_path / f"{kind}.pem"))
    ]
    with RedisServer(tmp_path, "--tls-port", port, "--tls-auth-clients", "no", *files):
        url = f"rediss://localhost:{port}"
        context = ssl.create_default_context()
        authority.configure_trust(context)
        async with opened(RedisEngine(url, name=name, ssl_context=context)) as (hub,):
            await publish(hub, "a", "1")
        await fails_to_open(url)
        await fails_to_open(f"rediss://127.0.0.1:{port}", ssl_context=context)
        async with opened(RedisEngine(f"{url}?ssl_cert_reqs=none", name=name)) as (hub,):
            await publish(hub, "a", "1")
