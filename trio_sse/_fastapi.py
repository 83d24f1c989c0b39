"""What FastAPI makes of endpoints, recognised by its shape: nothing of it is imported."""

import inspect
from types import CodeType, FrameType, NoneType
from typing import Any

_ROUTING = "fastapi.routing"
# The generator around that of an endpoint, and what it calls that.
_WRAPPER, _WRAPPED = "_async_stream_raw", "async_gen"
_JSON = frozenset({list, dict, str, int, float, bool, NoneType})


def content_of_endpoint(content: object) -> object:
    """Return what a response is to stream, of what FastAPI, or anybody, has given it.

    Raises:
        TypeError: if FastAPI has made JSON of what an endpoint returned.
    """
    kind = type(content)
    if kind in _JSON and _is_fastapi(_caller()):
        raise TypeError(
            f"content is {kind.__name__!r}, which FastAPI has made of what the endpoint "
            "returned: return EventSourceResponse(content) from it, or let it yield the events"
        )
    return unwrapped(content)


def unwrapped(content: Any) -> object:
    """Return the generator of an endpoint if this is the one that FastAPI wraps it in.

    That would leave the first to the garbage collector when it is closed. It has no part in
    the stream.
    """
    code: CodeType | None = getattr(content, "ag_code", None)
    if code is None or code.co_name != _WRAPPER:
        return content
    frame: FrameType | None = content.ag_frame
    return frame.f_locals.get(_WRAPPED, content) if frame and _is_fastapi(frame) else content


def _caller() -> FrameType | None:
    """Return the frame that makes the response, below the constructors of its classes."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_name != "__init__":
        frame = frame.f_back
    while frame is not None and frame.f_code.co_name == "__init__":
        frame = frame.f_back
    return frame


def _is_fastapi(frame: FrameType | None) -> bool:
    return frame is not None and frame.f_globals.get("__name__") == _ROUTING
