"""Checks of arguments, made where a mistake was made: when a response is, a hub, a client."""

from collections.abc import Iterable, Mapping
from inspect import iscoroutinefunction
from math import inf
from typing import Any, cast

# tchar, RFC 9110 section 5.6.2.
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")
_BODYLESS = (204, 205, 304)


def check_seconds(name: str, value: object, *, positive: bool = False) -> None:
    """Refuse what is not a finite number of seconds, 0 or more (or more than 0)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number of seconds, not {type(value).__name__}")
    if not -inf < value < inf or value < 0 or (positive and value == 0):
        raise ValueError(
            f"{name} must be a finite number of seconds, "
            f"{'greater than 0' if positive else '0 or more'}, not {value}"
        )


def check_count(name: str, value: object) -> None:
    """Refuse what is not an int of 1 or more."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be int, not {type(value).__name__}")
    if value < 1:
        raise ValueError(f"{name} must be 1 or more, not {value}")


def check_callable(name: str, value: object) -> None:
    """Refuse what is given and cannot be called."""
    if value is not None and not callable(value):
        raise TypeError(f"{name} must be callable, not {type(value).__name__}")


def check_plain_function(name: str, value: object) -> None:
    """Refuse what is given and cannot be called, or would have to be awaited."""
    check_callable(name, value)
    if iscoroutinefunction(value):
        raise TypeError(f"{name} must be a plain function: it is not awaited")


def check_limiter(name: str, value: object) -> None:
    """Refuse what is given and no capacity limiter, of trio or of anyio."""
    if value is not None and not hasattr(value, "acquire_on_behalf_of"):
        raise TypeError(f"{name} must be a CapacityLimiter, not {type(value).__name__}")


def check_instance(name: str, value: object, kind: type) -> None:
    """Refuse what is not of the type."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {kind.__name__}, not {type(value).__name__}")


def check_key(name: str, value: object) -> None:
    """Refuse what cannot be looked up."""
    try:
        hash(value)
    except TypeError as error:
        raise TypeError(f"{name} must be hashable: {error}") from None


def check_thresholds(name: str, thresholds: object) -> None:
    """Refuse what ``gc.set_threshold`` could not be given, or would take for "never"."""
    values: list[Any] = [*cast("Any", thresholds)] if isinstance(thresholds, tuple) else []
    if len(values) != 3 or not all(type(value) is int for value in values):
        raise TypeError(f"{name} must be a tuple of three int, not {thresholds!r}")
    if min(values) <= 0:
        raise ValueError(f"{name} must be three positive numbers, not {thresholds!r}")


def check_media_type(media_type: object) -> None:
    """Refuse what cannot be the value of a content-type header."""
    check_instance("media_type", media_type, str)
    if not (str(media_type).isascii() and str(media_type).isprintable()):
        raise ValueError(f"media_type must be printable ASCII, not {media_type!r}")


def check_status(status_code: object) -> None:
    """Refuse a status that cannot carry a stream."""
    if isinstance(status_code, bool) or not isinstance(status_code, int):
        raise TypeError(f"status_code must be int, not {type(status_code).__name__}")
    if not 200 <= status_code <= 599 or status_code in _BODYLESS:
        raise ValueError(
            f"status_code must be one whose response has a body, not {status_code}; "
            "to tell a client not to reconnect, return Response(status_code=204)"
        )


def check_method(method: object) -> None:
    """Refuse what is no method of HTTP: RFC 9110, section 9.1."""
    check_instance("method", method, str)
    if not method or not _TOKEN.issuperset(str(method).lower()):
        raise ValueError(f"method must be the name of one, GET for example, not {method!r}")


def check_buffer_size(value: object) -> None:
    """Refuse what no memory channel can have as its size."""
    if isinstance(value, bool) or not (isinstance(value, int) or value == inf):
        raise TypeError(f"max_buffer_size must be int or math.inf, not {value!r}")
    if isinstance(value, int) and value < 0:
        raise ValueError(f"max_buffer_size must be 0 or more items, not {value!r}")


def header_pairs(headers: object, *, of_request: bool = False) -> list[tuple[bytes, bytes]]:
    """Return headers given as a mapping or as pairs, str or bytes, as ASGI has them.

    Raises:
        TypeError: if they are anything else.
        ValueError: if a name is no token, or a value would end its line.
    """
    if headers is None:
        return []
    if isinstance(headers, str | bytes) or not isinstance(headers, Iterable):
        raise TypeError(f"headers must be a mapping or pairs, not {type(headers).__name__}")
    pairs: Any = cast("Any", headers)
    if isinstance(headers, Mapping):
        pairs = pairs.items()
    return [_header_pair(pair, of_request) for pair in pairs]


def _header_pair(pair: Any, of_request: bool) -> tuple[bytes, bytes]:
    parts: tuple[Any, ...] = tuple(cast("Any", pair)) if isinstance(pair, tuple | list) else ()
    if len(parts) != 2:
        raise TypeError(f"headers must hold pairs of a name and a value, not {pair!r}")
    name, value = _header_text(parts[0]), _header_text(parts[1])
    if not name or not _TOKEN.issuperset(name.lower()):
        raise ValueError(f"headers: {name!r} is not a header name")
    if not {"\r", "\n", "\0"}.isdisjoint(value):
        raise ValueError(f"headers: the value of {name!r} must not hold CR, LF or NUL")
    if name.lower() == "content-length" and not of_request:
        raise ValueError("headers: an event stream has no content-length")
    return name.lower().encode("latin-1"), value.encode("latin-1")


def _header_text(part: object) -> str:
    if isinstance(part, bytes):
        return part.decode("latin-1")
    if not isinstance(part, str):
        raise TypeError(f"headers must be str or bytes, not {type(part).__name__}")
    try:
        part.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(f"headers: {part!r} cannot be sent as latin-1") from None
    return part
