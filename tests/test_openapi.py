"""Event streams in OpenAPI documents."""

from typing import Any, Literal

import pytest

from trio_sse import EventSourceResponse, open_hub
from trio_sse._fields import check_one_line
from trio_sse.openapi import HUB_EVENTS, event_stream

MEDIA_TYPE = "text/event-stream"


def item_schema(events: Any) -> dict[str, Any]:
    schema: dict[str, Any] = event_stream(events)["content"][MEDIA_TYPE]["itemSchema"]
    return schema


def data_schema(data: object) -> Any:
    [event] = item_schema({"a": data})["oneOf"]
    return event["properties"]["data"]


def test_a_stream_is_described_by_its_events():
    assert event_stream({"message": str, "done": None}) == {
        "description": "A stream of events",
        "content": {
            "text/event-stream": {
                "schema": {"type": "array"},
                "itemSchema": {
                    "type": "object",
                    "properties": {
                        "data": {"type": "string"},
                        "event": {"type": "string"},
                        "id": {"type": "string"},
                        "retry": {"type": "integer", "minimum": 0},
                    },
                    "oneOf": [
                        {
                            "properties": {
                                "event": {"const": "message"},
                                "data": {"type": "string"},
                            },
                            "required": ["data"],
                        },
                        {
                            "properties": {"event": {"const": "done"}, "data": {"const": ""}},
                            "required": ["data", "event"],
                        },
                    ],
                },
            }
        },
    }


def test_older_documents_have_the_schema_of_one_event():
    events = {"a": str}
    described = event_stream(events, item_schema=False)
    assert described["content"][MEDIA_TYPE] == {"schema": item_schema(events)}


def test_the_description_is_given():
    assert event_stream({"a": str}, description="Prices")["description"] == "Prices"


def test_a_json_schema_is_that_of_the_data():
    schema = {"type": "integer", "minimum": 5}
    assert data_schema(schema) == {
        "type": "string",
        "contentMediaType": "application/json",
        "contentSchema": schema,
    }


def test_two_descriptions_share_nothing_that_could_be_changed():
    first, second = (event_stream({"a": str, **HUB_EVENTS}) for _ in range(2))
    change(first)
    assert second == event_stream({"a": str, **HUB_EVENTS})


def change(value: Any) -> None:
    if isinstance(value, dict):
        for part in value.values():
            change(part)
        value["changed"] = True
    elif isinstance(value, list):
        for part in value:
            change(part)


@pytest.mark.parametrize(
    ("events", "error", "said"),
    [
        ([("a", str)], TypeError, "events must be Mapping, not list"),
        ({}, ValueError, "events must name at least one type of event"),
        ({1: str}, TypeError, "a key of events must be str, not int"),
        ({"a\nb": str}, ValueError, "a key of events must not hold CR or LF"),
        ({"a": 5}, TypeError, "events: 'a' must be a pydantic model, .* not 5"),
        ({"a": int}, TypeError, "events: 'a' must be .* a TypeAdapter"),
    ],
)
def test_what_describes_no_events_is_refused(events: Any, error: Any, said: str):
    with pytest.raises(error, match=said):
        event_stream(events)


def test_a_description_that_is_no_text_is_refused():
    with pytest.raises(TypeError, match="description must be str, not int"):
        event_stream({"a": str}, description=5)  # type: ignore[arg-type]


@pytest.mark.anyio
async def test_the_events_of_a_hub_are_those_that_it_sends():
    import json

    said = {}
    async with open_hub() as hub:
        async with hub.subscribe("a", key=1) as subscription:
            await subscription.receive()
            hub.revoke(key=1)
            said["revoked"] = await subscription.receive()
        for name, last_event_id in (("ready", None), ("reset", "?")):
            async with hub.subscribe("a", last_event_id=last_event_id) as subscription:
                said[name] = await subscription.receive()
    assert {*said} == {*HUB_EVENTS}
    for name, event in said.items():
        assert event.event == name
        assert [*json.loads(str(event.data))] == HUB_EVENTS[name]["required"]
        assert {*HUB_EVENTS[name]["properties"]} == {*HUB_EVENTS[name]["required"]}
        check_one_line("event", name)


# --- models of pydantic -------------------------------------------------------------------

pydantic = pytest.importorskip("pydantic")


class Currency(pydantic.BaseModel):
    code: str


class Price(pydantic.BaseModel):
    amount: float
    currency: Currency


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]
    discriminator: str
    currency: Currency


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]


class Pet(pydantic.BaseModel):
    pet: Cat | Dog = pydantic.Field(discriminator="kind")


class Tree(pydantic.BaseModel):
    branches: list["Tree"]


def content_schema(data: object) -> Any:
    return data_schema(data)["contentSchema"]


def has_references(schema: Any) -> bool:
    return "$ref" in repr(schema) or "$defs" in repr(schema)


def test_a_model_is_written_out_with_the_models_in_it():
    schema = content_schema(Price)
    assert schema["title"] == "Price"
    assert schema["properties"]["currency"]["properties"]["code"]["type"] == "string"
    assert not has_references(schema)


def test_a_type_is_described_by_its_adapter():
    schema = content_schema(pydantic.TypeAdapter(dict[str, list[Price]]))
    items = schema["additionalProperties"]["items"]
    assert items["properties"]["currency"]["title"] == "Currency"
    assert not has_references(schema)


def test_a_choice_of_models_refers_to_none_of_them():
    schema = content_schema(Pet)
    cat, dog = schema["properties"]["pet"]["oneOf"]
    assert (cat["title"], dog["title"]) == ("Cat", "Dog")
    assert "discriminator" in cat["properties"]  # the field of that name
    assert "mapping" not in repr(schema)
    assert not has_references(schema)


def test_what_is_said_beside_a_reference_is_kept():
    class Described(pydantic.BaseModel):
        price: Currency = pydantic.Field(description="what it costs")

    schema = content_schema(Described)["properties"]["price"]
    assert (schema["description"], schema["title"]) == ("what it costs", "Currency")


def test_a_reference_that_leads_out_of_a_model_is_kept():
    reference = {"$ref": "https://example.org/other.json"}

    class Referring(pydantic.BaseModel):
        other: int = pydantic.Field(json_schema_extra=reference)

    assert content_schema(Referring)["properties"]["other"]["$ref"] == reference["$ref"]


def test_a_model_that_contains_itself_is_refused():
    with pytest.raises(ValueError, match=r"a model contains itself \(#/\$defs/Tree\)"):
        event_stream({"a": Tree})


# --- FastAPI ------------------------------------------------------------------------------


def document(**options: Any) -> dict[str, Any]:
    """What FastAPI writes of an endpoint."""
    fastapi = pytest.importorskip("fastapi")
    app = fastapi.FastAPI()

    @app.get("/", response_class=EventSourceResponse, **options)
    async def endpoint() -> EventSourceResponse:
        raise NotImplementedError

    responses: dict[str, Any] = app.openapi()["paths"]["/"]["get"]["responses"]
    return responses


def test_fastapi_documents_the_media_type():
    assert document()["200"]["content"] == {MEDIA_TYPE: {"schema": {"type": "string"}}}


@pytest.mark.parametrize("item_schema", [True, False])
def test_fastapi_writes_the_description_as_it_is(item_schema: bool):
    described = event_stream({"price": Price, **HUB_EVENTS}, item_schema=item_schema)
    responses = document(responses={200: described, 429: {"description": "Too many"}})
    assert responses["200"] == described
    assert {*responses} == {"200", "429"}
