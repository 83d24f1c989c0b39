"""The response inside of apps: middleware, mounts, several loops at once."""

import threading
from collections import Counter
from contextvars import ContextVar
from typing import Annotated

import anyio
import anyio.lowlevel
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Mount, Route

from fakes import FakeClient, Recorder
from trio_sse import CloseReason, EventSourceResponse, drain, is_draining

pytestmark = pytest.mark.anyio


class PassOn(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        request.state.seen = "by the middleware"
        return await call_next(request)


def make_app(endpoint, *middleware, methods=("GET",)):
    return Starlette(
        routes=[Route("/", endpoint, methods=list(methods))], middleware=list(middleware)
    )


async def serve(client, app):
    await app(client.scope, client.asgi_receive, client.asgi_send)


def session_middleware():
    sessions = pytest.importorskip("starlette.middleware.sessions", exc_type=ImportError)
    return Middleware(sessions.SessionMiddleware, secret_key="secret")


MIDDLEWARE = {
    "none": list,
    "gzip": lambda: [Middleware(GZipMiddleware, minimum_size=1)],
    "base": lambda: [Middleware(PassOn)],
    "base twice": lambda: [Middleware(PassOn), Middleware(PassOn)],
    "cors": lambda: [Middleware(CORSMiddleware, allow_origins=["*"])],
    "session": lambda: [session_middleware()],
    "all": lambda: [
        session_middleware(),
        Middleware(CORSMiddleware, allow_origins=["*"]),
        Middleware(PassOn),
        Middleware(GZipMiddleware, minimum_size=1),
    ],
}


@pytest.mark.parametrize("kind", MIDDLEWARE)
async def test_events_pass_a_middleware_one_by_one_and_unchanged(kind):
    gate = anyio.Event()

    async def produce(send):
        await send.send("a" * 1000)
        await gate.wait()
        await send.send("b")

    async def endpoint(request):
        return EventSourceResponse(produce, ping=0)

    client = FakeClient()
    client.scope["headers"] = [(b"accept-encoding", b"gzip"), (b"origin", b"http://other")]
    async with anyio.create_task_group() as group:
        group.start_soon(serve, client, make_app(endpoint, *MIDDLEWARE[kind]()))
        await client.wait_for_body(b"data: " + b"a" * 1000 + b"\r\n\r\n")
        gate.set()
        await client.wait_for(lambda client: client.complete)
        client.disconnect()
    assert client.data == ["a" * 1000, "b"]
    assert "content-encoding" not in client.headers
    assert ("access-control-allow-origin" in client.headers) == (kind in ("cors", "all"))


@pytest.mark.parametrize("kind", MIDDLEWARE)
async def test_headers_pass_a_middleware_before_there_is_an_event(kind):
    async def produce(send):
        await anyio.sleep_forever()

    async def endpoint(request):
        return EventSourceResponse(produce, ping=0)

    client = FakeClient()
    client.scope["headers"] = [(b"accept-encoding", b"gzip")]
    async with anyio.create_task_group() as group:
        group.start_soon(serve, client, make_app(endpoint, *MIDDLEWARE[kind]()))
        await client.wait_for(lambda client: bool(client.messages))
        client.disconnect()


@pytest.mark.parametrize("kind", MIDDLEWARE)
async def test_a_disconnect_passes_a_middleware(kind):
    closed = Recorder()

    async def produce(send):
        await send.send("a")
        await anyio.sleep_forever()

    async def endpoint(request):
        return EventSourceResponse(produce, ping=0, on_close=closed)

    client = FakeClient()
    async with anyio.create_task_group() as group:
        group.start_soon(serve, client, make_app(endpoint, *MIDDLEWARE[kind]()))
        await client.wait_for_body(b"a")
        client.disconnect()
    assert closed.reasons == [CloseReason.CLIENT_DISCONNECTED]


async def test_a_stream_is_drained_behind_a_base_http_middleware():
    async def produce(send):
        await send.send("a")
        await anyio.sleep_forever()

    async def endpoint(request):
        return EventSourceResponse(produce, ping=0)

    client = FakeClient()
    async with anyio.create_task_group() as group:
        group.start_soon(serve, client, make_app(endpoint, Middleware(PassOn)))
        await client.wait_for_body(b"a")
        await drain()
    assert client.complete


user: ContextVar[str] = ContextVar("user")


class SetUser:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        user.set("from the middleware")
        await self.app(scope, receive, send)


class SetUserAndPassOn(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        user.set("from the middleware")
        return await call_next(request)


@pytest.mark.parametrize("middleware", [SetUser, SetUserAndPassOn])
async def test_context_variables_of_a_middleware_are_seen_by_the_producer(middleware):
    async def produce(send):
        await send.send(user.get())

    async def endpoint(request):
        return EventSourceResponse(produce, ping=0)

    client = FakeClient()
    await serve(client, make_app(endpoint, Middleware(middleware)))
    assert client.data == ["from the middleware"]


async def test_a_stream_in_a_mounted_app():
    async def endpoint(request):
        return EventSourceResponse(two, ping=0)

    app = Starlette(routes=[Mount("/inner", app=make_app(endpoint))])
    client = FakeClient()
    client.scope["path"] = "/inner/"
    await serve(client, app)
    assert client.data == ["a", "b"]


async def two(send):
    await send.send("a")
    await send.send("b")


async def test_an_http_exception_in_a_preflight_is_a_real_404():
    async def produce(send, *, task_status):
        raise HTTPException(404, "no such stream")

    async def endpoint(request):
        return EventSourceResponse(produce, preflight=True)

    client = FakeClient()
    await serve(client, make_app(endpoint))
    assert client.status == 404
    assert client.body == b"no such stream"


async def test_a_post_whose_body_was_read_streams_as_a_get_does():
    bodies = []

    async def endpoint(request):
        bodies.append(await request.body())
        return EventSourceResponse(two, ping=0)

    client = FakeClient(method="POST")
    client.incoming = [
        {"type": "http.request", "body": b"some ", "more_body": True},
        {"type": "http.request", "body": b"body", "more_body": False},
    ]
    await serve(client, make_app(endpoint, methods=("POST",)))
    assert bodies == [b"some body"]
    assert client.data == ["a", "b"]
    assert client.complete


async def test_a_sync_endpoint_may_return_the_response():
    def endpoint(request):
        return EventSourceResponse(two, ping=0)

    client = FakeClient()
    await serve(client, make_app(endpoint))
    assert client.data == ["a", "b"]


def test_one_app_runs_in_two_threads_with_two_event_loops_at_once():
    together, results = threading.Barrier(4), Counter()

    async def produce(send):
        await send.send("a")
        await anyio.to_thread.run_sync(together.wait)  # all four streams are live
        await send.send("b")
        await anyio.sleep_forever()

    async def endpoint(request):
        return EventSourceResponse(produce, ping=0)

    app = make_app(endpoint)

    async def main():
        clients = [FakeClient(), FakeClient()]
        async with anyio.create_task_group() as group:
            for client in clients:
                group.start_soon(serve, client, app)
            for client in clients:
                await client.wait_for_body(b"b")
            if threading.current_thread().name == "drains":
                await drain()
                assert is_draining()
            else:
                drained.wait(10)
                assert not is_draining()
                for client in clients:
                    assert not client.complete
                    client.disconnect()
        results.update(client.complete for client in clients)

    drained = threading.Event()

    def run(backend, then=lambda: None):
        anyio.run(main, backend=backend)
        then()

    threads = [
        threading.Thread(target=run, args=("trio", drained.set), name="drains"),
        threading.Thread(target=run, args=("asyncio",)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {True: 2, False: 2}


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_one_app_runs_in_consecutive_event_loops(backend):
    async def endpoint(request):
        return EventSourceResponse(two, ping=0)

    app = make_app(endpoint)

    async def main():
        assert not is_draining()
        client = FakeClient()
        await serve(client, app)
        await drain()
        return client.data

    for _ in range(3):
        assert anyio.run(main, backend=backend) == ["a", "b"]


# FastAPI


@pytest.fixture
def fastapi():
    return pytest.importorskip("fastapi")


@pytest.mark.parametrize("scope", ["request", "function"])
async def test_a_yield_dependency_of_fastapi_spans_the_stream_or_the_endpoint(fastapi, scope):
    order = []

    async def session():
        order.append("open")
        yield "session"
        order.append("closed")

    app = fastapi.FastAPI()

    @app.get("/")
    async def endpoint(session: Annotated[str, fastapi.Depends(session, scope=scope)]):
        async def produce(send):
            await anyio.sleep(1)
            order.append("streaming")
            await send.send(session)

        return EventSourceResponse(produce, ping=0)

    client = FakeClient()
    client.scope.update(query_string=b"", client=("test", 1), server=("test", 80))
    await serve(client, app)
    assert client.data == ["session"]
    assert order == (
        ["open", "streaming", "closed"] if scope == "request" else ["open", "closed", "streaming"]
    )


async def test_background_tasks_of_fastapi_run_after_the_stream(fastapi):
    order = []
    app = fastapi.FastAPI()

    async def in_background():
        order.append("background")

    @app.get("/")
    async def endpoint(tasks: fastapi.BackgroundTasks):
        tasks.add_task(in_background)
        return EventSourceResponse(two, on_close=order.append)

    client = FakeClient()
    client.scope.update(query_string=b"", client=("test", 1), server=("test", 80))
    await serve(client, app)
    assert order == [CloseReason.COMPLETED, "background"]
