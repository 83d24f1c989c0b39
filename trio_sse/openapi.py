"""Event streams in an OpenAPI document, FastAPI's for one, by the types of their events."""

from collections.abc import Mapping
from copy import deepcopy
from types import MappingProxyType
from typing import Any, cast

from ._arguments import check_instance
from ._fields import check_one_line

__all__ = ["HUB_EVENTS", "event_stream"]

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}

HUB_EVENTS: Mapping[str, Schema] = MappingProxyType(
    {
        "ready": {
            "type": "object",
            "properties": {"resumed": {"type": "boolean"}},
            "required": ["resumed"],
        },
        "reset": {
            "type": "object",
            "properties": {
                "reason": {"type": "string", "examples": ["expired", "restarted", "lagged"]}
            },
            "required": ["reason"],
        },
        "revoked": {
            "type": "object",
            "properties": {"reason": {"const": "revoked"}},
            "required": ["reason"],
        },
    }
)
"""The events that a hub adds to those that are published, for `event_stream`."""


def event_stream(
    events: Mapping[str, object],
    *,
    description: str = "A stream of events",
    item_schema: bool = True,
) -> dict[str, Any]:
    """Return the description of a response that is an event stream: an OpenAPI Response Object.

    The events are told apart by their type, ``event``. Each has its data as text; if that is
    JSON, with the schema of what it stands for.

    Args:
        events: The data of each type of event; ``"message"`` is that of events without one.
            A pydantic model; or its ``TypeAdapter`` for any other type of Python; or a JSON
            Schema, as a dict. ``str`` for text, None for no data.
        description: What it says of the response.
        item_schema: Whether to describe one event by ``itemSchema``, as OpenAPI 3.2 has it, or
            by ``schema``, as tools for older versions take it for event streams.

    Raises:
        TypeError: if ``events`` is no mapping, or the data of one of another kind.
        ValueError: if there are no events, for a type that is no line of text, and for a model
            that contains itself, since models are written out where they are used.

    Example::

        @app.get(
            "/prices",
            response_class=EventSourceResponse,
            responses={200: event_stream({"price": Price, "closed": None})},
        )
        async def prices():
            return EventSourceResponse(produce)
    """
    check_instance("events", events, Mapping)
    check_instance("description", description, str)
    if not events:
        raise ValueError("events must name at least one type of event")
    event: Schema = {
        "type": "object",
        "properties": {
            "data": _TEXT,
            "event": _TEXT,
            "id": _TEXT,
            "retry": {"type": "integer", "minimum": 0},
        },
        "oneOf": [_event(name, data) for name, data in events.items()],
    }
    # FastAPI describes the response as a string, and what is here is laid over that. Complete
    # streams are arrays to OpenAPI 3.2; nobody waits for one.
    content = {"schema": {"type": "array"}, "itemSchema": event}
    if not item_schema:
        content = {"schema": event}
    return deepcopy({"description": description, "content": {"text/event-stream": content}})


def _event(name: object, data: object) -> Schema:
    check_instance("a key of events", name, str)
    check_one_line("a key of events", cast("str", name))
    required = ["data"] if name == "message" else ["data", "event"]
    return {
        "properties": {"event": {"const": name}, "data": _data(cast("str", name), data)},
        "required": required,
    }


def _data(name: str, data: Any) -> Schema:
    if data is str:
        return _TEXT
    if data is None:
        return {"const": ""}
    if isinstance(data, Mapping):
        schema = dict(cast("Mapping[str, Any]", data))
    elif hasattr(data, "model_json_schema"):
        schema = _written_out(data.model_json_schema(mode="serialization"))
    elif hasattr(data, "json_schema"):
        schema = _written_out(data.json_schema(mode="serialization"))
    else:
        raise TypeError(
            f"events: {name!r} must be a pydantic model, a TypeAdapter, a JSON Schema, "
            f"str or None, not {data!r}"
        )
    return {"type": "string", "contentMediaType": "application/json", "contentSchema": schema}


def _written_out(schema: Schema) -> Schema:
    """Put definitions where they are referred to: from here the references would lead nowhere."""
    definitions: dict[str, Schema] = schema.pop("$defs", {})
    by_reference = {f"#/$defs/{key}": value for key, value in definitions.items()}
    return cast("Schema", _write(schema, by_reference))


def _write(part: Any, definitions: Mapping[str, Schema], within: tuple[str, ...] = ()) -> Any:
    if isinstance(part, list):
        return [_write(item, definitions, within) for item in cast("tuple[Any, ...]", part)]
    if not isinstance(part, dict):
        return part
    keywords = cast("Schema", part)
    target = keywords.get("$ref")
    if not isinstance(target, str) or target not in definitions:  # that leads out of the model
        return {
            key: _write(value, definitions, within)
            for key, value in keywords.items()
            if not _is_discriminator(key, value)
        }
    if target in within:
        raise ValueError(f"events: a model contains itself ({target}); give its JSON Schema")
    rest = {key: value for key, value in keywords.items() if key != "$ref"}
    return _write({**definitions[target], **rest}, definitions, (*within, target))


def _is_discriminator(key: str, value: Any) -> bool:
    """Tell whether this maps values to definitions, which have no name any more."""
    return key == "discriminator" and isinstance(value.get("propertyName"), str)
