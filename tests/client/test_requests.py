"""What the client sends, and to whom: headers, redirects, bodies."""

import sys

import anyio
import pytest

from trio_sse.client import EventSourceError, open_event_source

from .scripted import FOREVER, LIMIT, URL, Answer, Server, opened, read, redirect

pytestmark = pytest.mark.anyio

A = b"data: a\n\n"
PERMANENT, TEMPORARY = (301, 308), (302, 303, 307)
OWN_HEADERS = {
    b"accept": [b"text/event-stream"],
    b"cache-control": [b"no-cache"],
    b"accept-encoding": [b"identity"],
}


def sent(server, *names):
    """The values of headers in the last request."""
    return {name: server.headers(name)[-1] for name in names}


# Headers


async def test_it_asks_for_an_event_stream_that_is_not_stored_or_compressed(library):
    server = Server(library)
    await read(server)
    assert (server.methods, server.urls) == (["GET"], [URL])
    assert sent(server, *OWN_HEADERS) == OWN_HEADERS


@pytest.mark.parametrize(
    "headers",
    [
        {"ACCEPT": "text/event-stream, */*", "X-Name": "\xfc"},
        [("Accept", "text/event-stream, */*"), (b"x-name", b"\xfc")],
    ],
)
async def test_headers_are_added_or_replace_its_own(library, headers):
    server = Server(library)
    await read(server, headers=headers)
    assert sent(server, *OWN_HEADERS, b"x-name") == {
        **OWN_HEADERS,
        b"accept": [b"text/event-stream, */*"],
        b"x-name": [b"\xfc"],
    }


async def test_a_header_may_be_there_twice(library):
    server = Server(library)
    await read(server, headers=[("x-name", "1"), ("x-name", "2")])
    assert server.headers(b"x-name") == [[b"1", b"2"]]


async def test_headers_cookies_and_credentials_of_the_client_are_sent_too(library):
    server = Server(library)
    options = {"headers": {"x-default": "1"}, "cookies": {"a": "b"}, "auth": ("me", "secret")}
    async with server.client(**options) as client, open_event_source(URL, client=client) as source:
        assert [event async for event in source] == []
    assert sent(server, b"x-default", b"cookie") == {b"x-default": [b"1"], b"cookie": [b"a=b"]}
    assert server.headers(b"authorization")[0][0].startswith(b"Basic ")


async def test_the_timeouts_of_the_client_hold_but_for_reading(library):
    server = Server(library)
    timeout = library.Timeout(7, pool=8)
    async with server.client(timeout=timeout) as client:
        async with open_event_source(URL, client=client) as source:
            assert [event async for event in source] == []
    expected = {"connect": 7, "write": 7, "read": None, "pool": 8}
    assert server.requests[0].extensions["timeout"] == expected


# Redirects


@pytest.mark.parametrize("status", [*PERMANENT, *TEMPORARY])
async def test_a_redirect_is_followed(library, status):
    server = Server(library, redirect(status, "/there?a=b"), Answer(A))
    assert await read(server, "http://server/sub/here") == ["a"]
    assert server.urls[:2] == ["http://server/sub/here", "http://server/there?a=b"]
    assert server.times[:2] == [0, 0]
    assert server.open == 0


@pytest.mark.parametrize("location", ["there", "../sub/there", "//server/sub/there"])
async def test_where_a_redirect_leads_may_be_relative(library, location):
    server = Server(library, redirect(307, location), Answer(A))
    await read(server, "http://server/sub/here")
    assert server.urls[1] == "http://server/sub/there"


@pytest.mark.parametrize(
    ("statuses", "kept"),
    [
        ([301], "1"),
        ([308], "1"),
        ([301, 308], "2"),
        ([301, 302], "1"),
        ([301, 307, 308], "1"),
        ([302], "0"),
        ([303], "0"),
        ([307], "0"),
        ([302, 301], "0"),
    ],
)
async def test_a_redirect_that_is_permanent_is_remembered(library, statuses, kept):
    redirects = [redirect(status, f"/{n}") for n, status in enumerate(statuses, 1)]
    server = Server(library, *redirects, Answer(A))
    async with opened(server, "http://server/0") as source:
        assert [event.data async for event in source] == ["a"]
        assert source.url == f"http://server/{kept}"
    asked = [*range(len(statuses) + 1), kept]
    assert server.urls == [f"http://server/{n}" for n in asked]


@pytest.mark.parametrize(
    ("method", "status", "becomes"),
    [
        ("POST", 301, "GET"),
        ("POST", 302, "GET"),
        ("POST", 303, "GET"),
        ("POST", 307, "POST"),
        ("POST", 308, "POST"),
        ("PUT", 301, "PUT"),
        ("PUT", 302, "PUT"),
        ("PUT", 303, "GET"),
        ("GET", 303, "GET"),
        ("HEAD", 303, "HEAD"),
    ],
)
async def test_a_redirect_may_change_the_method_and_drop_the_body(library, method, status, becomes):
    content = None if method in ("GET", "HEAD") else b"question"
    server = Server(library, redirect(status, "/there"), Answer(A))
    headers = {"Content-Type": "text/plain", "x-name": "1"}
    options = {"method": method, "content": content, "headers": headers}
    assert await read(server, repeat=True, **options) == ["a"]
    kept = becomes == method
    first, second = (method, content or b"", [b"text/plain"]), (becomes, b"", [])
    if kept:
        second = first
    again = second if status in PERMANENT else first
    content_types = server.headers(b"content-type")
    assert [*zip(server.methods, server.bodies, content_types, strict=True)] == [
        first,
        second,
        again,
    ]
    assert server.headers(b"x-name") == [[b"1"]] * 3


async def test_twenty_redirects_are_followed_and_no_more(library):
    server = Server(library, *[redirect(302, f"/{n}") for n in range(20)], Answer(A))
    assert await read(server) == ["a"]
    server = Server(library, *[redirect(302, f"/{n}") for n in range(21)], Answer(A))
    with pytest.raises(EventSourceError, match="too many redirects: 302 from http://server/19"):
        await read(server)
    assert (len(server.requests), server.open) == (21, 0)


async def test_a_redirect_to_nowhere_is_an_error(library):
    server = Server(library, redirect(302, None), Answer(A))
    with pytest.raises(EventSourceError) as caught:
        await read(server)
    assert caught.value.status == 302


async def test_a_redirect_to_what_is_no_url_is_an_error_of_the_library(library):
    server = Server(library, redirect(302, "http://server:x/"), Answer(A))
    with pytest.raises((library.InvalidURL, library.RemoteProtocolError)):
        await read(server, max_attempts=1)
    assert server.open == 0


async def test_an_error_names_the_url_that_answered(library):
    server = Server(library, redirect(302, "/there"), Answer(status=404))
    with pytest.raises(EventSourceError) as caught:
        await read(server)
    assert caught.value.url == "http://server/there"


@pytest.mark.parametrize(
    "elsewhere", ["http://other/", "https://server/", "http://server:81/", "http://sub.server/"]
)
async def test_another_origin_is_sent_no_headers_and_no_credentials(library, elsewhere):
    server = Server(library, redirect(307, elsewhere), redirect(307, URL), Answer(A))
    options = {
        "headers": {"x-default": "1"},
        "cookies": {"a": "b"},
        "auth": ("me", "secret"),
    }
    async with server.client(**options) as client:
        source = open_event_source(
            URL, client=client, headers={"X-Name": "2", "Proxy-Token": "3"}, last_event_id="ï"
        )
        async with source as events:
            assert [event.data async for event in events] == ["a"]
    for name in (b"x-default", b"cookie", b"authorization", b"x-name", b"proxy-token"):
        assert [len(values) for values in server.headers(name)] == [1, 0, 0, 1], (
            name
        )  # nor what that leads back to
    for name, values in {**OWN_HEADERS, b"last-event-id": ["ï".encode()]}.items():
        assert server.headers(name) == [values] * 4


async def test_where_it_is_redirected_to_is_asked_for_as_it_stands(library):
    """The parameters of a client, keys for example, are for its own URLs."""
    there = ["http://other/there?signed=1", "http://server/back?signed=2"]
    server = Server(library, *[redirect(307, url) for url in there], Answer(A))
    async with server.client(params={"key": "secret"}) as client:
        async with open_event_source(URL, client=client, headers={"host": "inner"}) as source:
            assert (await source.receive()).data == "a"
    assert server.urls[:3] == [f"{URL}?key=secret", *there]
    assert server.headers(b"host")[:3] == [[b"inner"], [b"other"], [b"server"]]


async def test_another_origin_is_told_what_it_is_sent_and_what_is_understood(library):
    server = Server(library, redirect(307, "http://other/"), Answer(A))
    told = {"content-type": "text/plain", "accept": "text/event-stream;v=1", "user-agent": "me"}
    await read(server, method="POST", content=b"x", headers=told | {"x-name": "1"})
    for name, value in told.items():
        assert server.headers(name.encode()) == [[value.encode()]] * 2
    assert server.bodies == [b"x"] * 2


async def test_a_url_may_be_relative_to_that_of_the_client(library):
    server = Server(library, redirect(307, "there"), Answer(A), Answer(b"data: b\n\n"))
    async with server.client(base_url="http://base/of/") as client:
        async with open_event_source("events", client=client) as source:
            assert [(await source.receive()).data for _ in "ab"] == ["a", "b"]
    home = "http://base/of/events"
    assert server.urls[:3] == [home, "http://base/of/there", home]


async def test_a_relative_url_needs_a_client_that_knows_what_to(library):
    async with Server(library).client() as client:
        with pytest.raises(ValueError, match="url is 'events', and the client has no base_url"):
            async with open_event_source("events", client=client):
                pass


async def test_an_origin_may_name_its_port(library):
    server = Server(library, redirect(307, "http://SERVER:80/there"), Answer(A))
    await read(server, headers={"x-name": "1"})
    assert server.headers(b"x-name")[1] == [b"1"]


async def test_a_permanent_redirect_to_another_origin_gives_it_no_headers_later(library):
    server = Server(library, redirect(301, "http://other/"), Answer(A))
    await read(server, headers={"x-name": "1"})
    assert server.urls[1:] == ["http://other/"] * 2
    assert server.headers(b"x-name") == [[b"1"], [], []]


async def test_a_client_of_a_kind_of_its_own_is_one_of_its_library(library):
    server = Server(library, Answer(before=["ConnectError"]), Answer(A))
    async with server.client() as client:
        kind = type("AsyncClient", (type(client),), {"__module__": __name__})
        client.__class__ = kind
        async with open_event_source(URL, client=client, reconnection_time=0) as source:
            assert (await source.receive()).data == "a"


async def test_http2_is_refused_for_a_stream_that_is_left_would_not_end(library):
    server = Server(library, Answer(A, FOREVER, extensions={"http_version": b"HTTP/2"}))
    with pytest.raises(ValueError, match=r"client: over HTTP/2 .* without http2=True"):
        await read(server)
    assert server.open == 0


# Methods and bodies


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "get"])
async def test_a_request_that_changes_nothing_is_repeated(library, method):
    server = Server(library, Answer(A))
    await read(server, method=method)
    assert server.methods == [method.upper()] * 2


@pytest.mark.parametrize("method", ["POST", "put", "PATCH", "DELETE", "QUERY"])
async def test_a_request_that_may_change_something_is_not_repeated(library, method):
    server = Server(library, Answer(A), Answer(A))
    assert await read(server, method=method, content=b"question") == ["a"]
    assert (server.methods, server.bodies) == ([method.upper()], [b"question"])


async def test_repeating_can_be_forbidden(library):
    server = Server(library, Answer(A), Answer(A))
    assert await read(server, repeat=False) == ["a"]
    assert len(server.requests) == 1


async def test_repeating_can_be_allowed_and_repeats_the_body(library):
    answers = [Answer(b"id: 1\n" + A), Answer(A, "ReadError"), Answer(status=503)]
    server = Server(library, *answers)
    options = {"method": "POST", "content": b"question", "repeat": True}
    assert await read(server, **options) == ["a", "a"]
    assert (server.methods, server.bodies) == (["POST"] * 4, [b"question"] * 4)
    assert server.headers(b"last-event-id") == [[], *[[b"1"]] * 3]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(before=["ConnectError"]), "ConnectError"),
        (Answer("ReadError"), "ReadError"),
        (Answer(status=503), None),
        (Answer(FOREVER), None),
        (Answer(before=[FOREVER]), None),
    ],
    ids=["connect", "read", "status", "stall", "silence"],
)
async def test_what_goes_wrong_with_what_is_not_repeated_is_raised(library, answer, error):
    expected = getattr(library, error) if error else (EventSourceError, TimeoutError)
    server = Server(library, answer, Answer(A))
    with pytest.raises(expected):
        await read(server, method="POST", stall_timeout=5)
    assert (len(server.requests), server.open) == (1, 0)


async def test_what_came_before_an_error_is_received_first(library):
    server = Server(library, Answer(A, "ReadError"))
    async with opened(server, method="POST") as source:
        assert (await source.receive()).data == "a"
        with pytest.raises(library.ReadError):
            await source.receive()
        assert [event async for event in source] == []


# A request for a URL


async def test_a_request_is_sent_as_it_was_built(library):
    server = Server(library, Answer(A))
    async with server.client(headers={"x-default": "1"}) as client:
        request = client.build_request("POST", URL, json={"a": 1}, headers={"x-name": "2"})
        async with open_event_source(request, client=client, repeat=True) as source:
            assert [event.data async for event in source] == ["a"]
    assert (server.methods, server.urls) == (["POST"] * 2, [URL] * 2)
    assert server.bodies == [request.content] * 2
    headers = {
        b"x-default": [b"1"],
        b"x-name": [b"2"],
        b"content-type": [b"application/json"],
        b"content-length": [str(len(request.content)).encode()],
        b"host": [b"server"],
    }
    assert sent(server, *OWN_HEADERS, *headers) == {**OWN_HEADERS, **headers}


async def test_a_request_without_a_body_has_none(library):
    server = Server(library, Answer(A))
    async with server.client() as client:
        request = client.build_request("GET", URL, headers={"accept": "text/plain"})
        async with open_event_source(request, client=client) as source:
            assert [event.data async for event in source] == ["a"]
    assert server.bodies == [b"", b""]
    assert sent(server, b"content-length", b"accept") == {
        b"content-length": [],
        b"accept": [b"text/plain"],
    }


async def test_a_request_that_is_redirected_names_the_host_it_goes_to(library):
    server = Server(library, redirect(307, "http://other/"), redirect(303, "/there"), Answer(A))
    async with server.client() as client:
        request = client.build_request("POST", URL, content=b"question")
        async with open_event_source(request, client=client) as source:
            assert [event.data async for event in source] == ["a"]
    assert server.headers(b"host") == [[b"server"], [b"other"], [b"other"]]
    assert server.headers(b"content-length") == [[b"8"], [b"8"], []]


async def test_a_url_may_be_one_of_the_library(library):
    server = Server(library)
    await read(server, library.URL(URL))
    assert server.urls == [URL]


# The client


async def test_a_client_that_is_given_is_left_open(library):
    server = Server(library)
    async with server.client() as client:
        async with open_event_source(URL, client=client):
            pass
        assert not client.is_closed
        assert not server.closed


@pytest.fixture
def by_default(monkeypatch, library):
    """Make clients of one server what the library makes, and hide the library before it."""

    def serve(server):
        client = server.client()
        monkeypatch.setattr(library, "AsyncClient", lambda: client)
        if library.__name__ == "httpx2":
            monkeypatch.setitem(sys.modules, "httpx", None)

    return serve


@pytest.mark.parametrize("way_out", ["end", "error", "leave", "cancel"])
async def test_a_client_of_its_own_is_closed(library, by_default, way_out):
    server = Server(library, Answer(A, FOREVER))
    by_default(server)
    with anyio.CancelScope() as scope, anyio.fail_after(LIMIT):
        try:
            async with open_event_source(URL) as source:
                assert (await source.receive()).data == "a"
                if way_out == "cancel":
                    scope.cancel()
                    await anyio.lowlevel.checkpoint()
                elif way_out == "end":
                    await source.aclose()
                elif way_out == "error":
                    raise LookupError
        except LookupError:
            pass
    assert server.closed
    assert server.open == 0


async def test_without_any_library_it_says_what_to_install(monkeypatch):
    for name in ("httpx", "httpx2"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"needs httpx or httpx2: pip install"):
        async with open_event_source(URL):
            pass
