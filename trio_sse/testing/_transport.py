"""An HTTP client of an app in-process whose responses stream."""

import sys
from typing import TYPE_CHECKING, Any, Self

import anyio
import anyio.abc

from ._client import ASGIApp, StreamClient

# The base classes of the libraries do nothing, so they are there for type checkers alone. One
# that is not installed is anything to them.
if TYPE_CHECKING:
    import httpx
    import httpx2

    class _Transport(httpx.AsyncBaseTransport, httpx2.AsyncBaseTransport): ...  # type: ignore[misc]
else:
    _Transport = object


class StreamingASGITransport(_Transport):
    """A transport for ``httpx.AsyncClient``, or httpx2's, that calls an ASGI app.

    Their own collects the whole body before there is a response, so with a stream that does
    not end by itself there never is one. This one hands out what has come as it comes, with the
    backpressure of `StreamClient`. It is entered and left by the client.

    Args:
        app: The app.

    Example::

        transport = StreamingASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            async with client.stream("GET", "/events") as response:
                async for line in response.aiter_lines():
                    ...
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._entered = 0
        self._group: anyio.abc.TaskGroup | None = None

    async def __aenter__(self) -> Self:
        """Open the nursery that the calls of the app run in.

        A client that has it in several places enters it several times.
        """
        self._entered += 1
        if self._group is None:
            self._group = await anyio.create_task_group().__aenter__()
        return self

    async def __aexit__(self, *raised: object) -> None:
        """End what is still running."""
        self._entered -= 1
        if self._entered == 0 and self._group is not None:
            group, self._group = self._group, None
            group.cancel_scope.cancel()
            await group.__aexit__(None, None, None)  # or it would put what was raised into a group

    async def aclose(self) -> None:
        """Do nothing: the end is `__aexit__`."""

    async def handle_async_request(self, request: Any) -> Any:
        """Call the app, and return its response when its headers have come.

        Raises:
            RuntimeError: if the client was not entered.
            Exception: what the app raises before that.
        """
        if self._group is None:
            raise RuntimeError("enter the client first: async with httpx.AsyncClient(...)")
        library = sys.modules[type(request).__module__.partition(".")[0]]
        client = await _client_of(request)
        self._group.start_soon(client.run, self._app)
        try:
            await client.started()
        except BaseException:
            client.disconnect()  # nobody waits for the response any more
            raise
        if client.status is None:
            raise client.error or RuntimeError("the app has returned without a response")
        body_type = type("Body", (_Body, library.AsyncByteStream), {})
        return library.Response(
            client.status,
            headers=client.messages[0].get("headers", []),
            stream=body_type(client),
            request=request,
        )


class _Body:
    """The body of a response, as the libraries read it; no generator, which would need closing."""

    def __init__(self, client: StreamClient) -> None:
        self._client = client

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if chunk := await self._client.receive_bytes():
            return chunk
        self._raise_error()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self._client.disconnect()
        await self._client.ended.wait()
        self._raise_error()

    def _raise_error(self) -> None:
        error, self._client.error = self._client.error, None
        if error is not None:
            raise error


async def _client_of(request: Any) -> StreamClient:
    url = request.url
    return StreamClient(
        url.raw_path.decode("ascii"),
        method=request.method,
        body=await request.aread(),
        http_version="1.1",
        scope={
            "scheme": url.scheme,
            "path": url.path,
            "raw_path": url.raw_path.partition(b"?")[0],
            "server": (url.host, url.port),
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
        },
    )
