"""Data and items that are objects: models that write themselves, and events of other libraries."""

import json
from typing import Any

import pytest

from trio_sse import (
    EncodeError,
    EventSourceResponse,
    JSONServerSentEvent,
    MessageEvent,
    ServerSentEvent,
    compat,
    open_hub,
)
from trio_sse.testing import open_stream


class Price:
    """What pydantic's models have, and nothing else of them."""

    def __init__(self, amount: float) -> None:
        self.amount = amount

    def model_dump_json(self) -> str:
        return json.dumps({"amount": self.amount})


PRICE = '{"amount": 1.5}'


class Said:
    """An object that is sent as its text."""

    def __init__(self, data: str, event: str) -> None:
        self.data = data
        self.event = event

    def encode(self) -> bytes:
        return self.data.encode()

    def __str__(self) -> str:
        return f"{self.event}: {self.data}"


async def received(item: object) -> MessageEvent:
    async with open_stream(EventSourceResponse([item])) as stream:
        return await stream.receive()


# --- models -------------------------------------------------------------------------------


def test_a_json_event_of_a_model_has_what_the_model_writes():
    assert JSONServerSentEvent(Price(1.5), event="price").data == PRICE


@pytest.mark.parametrize("data", [[Price(1.5)], {"of": Price(1.5)}, ({"of": [Price(1.5)]},)])
def test_models_inside_of_a_value_are_written_too(data: Any):
    text = JSONServerSentEvent(data).data
    assert text is not None
    assert '{"amount":1.5}' in text  # compact, as the rest


def test_dumps_is_given_a_model_as_it_is():
    assert JSONServerSentEvent(Price(1.5), dumps=lambda price: str(price.amount)).data == "1.5"


def test_an_object_that_is_no_model_is_no_json():
    with pytest.raises(TypeError, match="Object of type Said is not JSON serializable"):
        JSONServerSentEvent([Said("a", "b")])


def test_an_event_refuses_a_model_as_its_text_and_names_what_takes_it():
    with pytest.raises(TypeError, match=r"^data is 'Price', a model: JSONServerSentEvent sends"):
        ServerSentEvent(Price(1.5))


def test_a_class_of_models_is_no_model():
    assert "Price" in str(ServerSentEvent(Price).data)


@pytest.mark.anyio
async def test_a_model_that_is_an_item_is_an_event_with_its_json():
    event = await received(Price(1.5))
    assert (event.type, event.data) == ("message", PRICE)


@pytest.mark.anyio
async def test_a_model_that_is_published_is_an_event_with_its_json():
    async with open_hub() as hub, hub.subscribe("prices") as subscription:
        await hub.publish("prices", Price(1.5))
        await subscription.receive()
        assert (await subscription.receive()).data == PRICE


@pytest.mark.anyio
async def test_a_model_in_a_dict_of_keywords_is_refused_as_in_an_event():
    with pytest.raises(EncodeError, match="data is 'Price', a model"):
        await received({"data": Price(1.5), "event": "price"})


# --- events of other libraries ------------------------------------------------------------


def foreign(name: str, *bases: type, **attributes: object) -> object:
    """An event of a library that is not here."""
    attributes = {"__module__": "another.library", "data": "x", "event": None} | attributes
    return type(name, bases, attributes)()


FOREIGN = {
    "plain": lambda: foreign("ServerSentEvent"),
    "derived": lambda: foreign("JSONServerSentEvent", type(foreign("ServerSentEvent"))),
    "model": lambda: foreign("ServerSentEvent", model_dump_json=lambda self: "{}"),
    "compat": lambda: compat.ServerSentEvent("x"),
    "compat JSON": lambda: compat.JSONServerSentEvent("x"),
    "received": lambda: MessageEvent("message", "x", ""),
}
REMEDY = r"is no trio_sse\.ServerSentEvent: make one of what it holds"


@pytest.mark.anyio
@pytest.mark.parametrize("kind", FOREIGN)
async def test_an_event_of_another_library_is_an_error_that_says_what_to_do(kind: str):
    with pytest.raises(EncodeError, match=REMEDY):
        await received(FOREIGN[kind]())


@pytest.mark.anyio
@pytest.mark.parametrize("kind", FOREIGN)
async def test_an_event_of_another_library_is_not_published(kind: str):
    async with open_hub() as hub:
        with pytest.raises(TypeError, match=REMEDY):
            await hub.publish("a", FOREIGN[kind]())


@pytest.mark.anyio
async def test_the_error_names_the_class_that_is_meant():
    with pytest.raises(EncodeError, match=r"another\.library\.ServerSentEvent is no"):
        await received(FOREIGN["derived"]())


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("item", "data"),
    [
        (Said("x", event="who"), "who: x"),
        (foreign("MessageEvent", __str__=lambda self: "a message"), "a message"),
        (foreign("ServerSentEvents", __str__=lambda self: "several"), "several"),
        (5, "5"),
        (None, "None"),
        (["a"], "['a']"),
        (ValueError("wrong"), "wrong"),
    ],
)
async def test_an_object_that_only_looks_like_an_event_is_sent_as_its_text(item: Any, data: str):
    assert (await received(item)).data == data


@pytest.mark.anyio
async def test_an_event_that_extends_ours_is_ours():
    ours = type("ServerSentEvent", (ServerSentEvent,), {"__slots__": ()})
    assert (await received(ours("x"))).data == "x"
