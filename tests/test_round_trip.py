"""What is sent is what arrives: `ServerSentEvent.encode` against `EventStreamDecoder`.

The two share no code but the names of the line endings, so that each is a check
of the other. The decoder is itself held to the standard in ``test_decoder.py``.
"""

from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from trio_sse import EventStreamDecoder, JSONServerSentEvent, MessageEvent, ServerSentEvent
from trio_sse._event import encode_item

SEPARATORS = ["\r\n", "\r", "\n"]
CONTROLS = "".join(map(chr, [*range(0x20), 0x7F]))

# What looks like the grammar, or like a line break, within the text of a field.
PIECES = ["\r\n", "\r", "\n", "\u2028", "\x85", "\v", "\0", "\ufeff", " ", ":", "data: ", "é€😀"]

texts = st.text() | st.lists(st.sampled_from(PIECES) | st.text(max_size=3)).map("".join)
one_line = texts.map(lambda text: text.replace("\r", "").replace("\n", ""))
id_characters = st.characters(codec="utf-8", exclude_characters=CONTROLS)
ids = st.text(id_characters).map(str.strip) | st.integers()
fields = st.fixed_dictionaries(
    {},
    optional={
        "data": texts,
        "event": one_line,
        "id": ids,
        "retry": st.integers(0, 10**20),
        "comment": texts,
    },
).filter(bool)
separators = st.sampled_from(SEPARATORS)
places = st.lists(st.integers(0, 400), max_size=8)
# How long an example takes is the machine's affair.
untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
quickly = settings(untimed, max_examples=200)


class Client:
    """A client that is at the other end of a stream of events."""

    def __init__(self) -> None:
        self.events: list[MessageEvent] = []
        self.comments: list[str] = []
        self.decoder = EventStreamDecoder(on_comment=self.comments.append)

    def read(self, stream: bytes, places: list[int]) -> None:
        ends = sorted(place % (len(stream) + 1) for place in places)
        for start, end in zip([0, *ends], [*ends, len(stream)], strict=True):
            self.events += self.decoder.receive_data(stream[start:end])


def event_or_refusal(**fields: Any) -> ServerSentEvent | str:
    try:
        return ServerSentEvent(**fields)
    except ValueError as error:
        return str(error)


def lines(text: str) -> list[str]:
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


@quickly
@given(fields, separators, places)
@example({"data": "\ufeff", "event": " e ", "id": 0, "comment": " c"}, "\r", [])
def test_an_event_comes_back_as_it_was_sent(fields: dict[str, Any], sep: str, places: list[int]):
    sent, client = ServerSentEvent(**fields), Client()
    client.read(sent.encode(sep), places)
    if sent.data is None and sent.event is None:
        assert client.events == []
    else:
        data = "\n".join(lines(sent.data or ""))
        assert client.events == [MessageEvent(sent.event or "message", data, sent.id or "")]
    assert client.comments == ([] if sent.comment is None else lines(sent.comment))
    assert client.decoder.last_event_id == (sent.id or "")
    assert client.decoder.reconnection_time == sent.retry


@quickly
@given(st.lists(st.tuples(fields, separators), max_size=6), places)
def test_events_that_follow_each_other_do_not_run_into_each_other(
    sent: list[tuple[dict[str, Any], str]], places: list[int]
):
    events = [(ServerSentEvent(**fields), sep) for fields, sep in sent]
    together, apart = Client(), Client()
    together.read(b"".join(event.encode(sep) for event, sep in events), places)
    for event, sep in events:
        apart.read(event.encode(sep), [])
    assert together.events == apart.events
    assert together.comments == apart.comments
    assert together.decoder.last_event_id == apart.decoder.last_event_id
    assert together.decoder.reconnection_time == apart.decoder.reconnection_time


@pytest.mark.parametrize("field", ["data", "event", "id", "comment"])
@pytest.mark.parametrize("sep", SEPARATORS)
def test_text_of_any_kind_is_refused_or_arrives_in_its_own_field_alone(field: str, sep: str):
    any_text = st.text(st.characters(exclude_categories=())) | texts

    @settings(untimed, max_examples=50)
    @given(any_text)
    @example("1\r\ndata: injected\r\n\r\n")
    @example("1\n\nevent: injected")
    @example("1\rretry: 1")
    def try_to_inject(text: str) -> None:
        client = Client()
        sent = event_or_refusal(**{"data": "d", field: text})
        if isinstance(sent, str):
            assert sent.startswith(f"{field} ")
            return
        client.read(sent.encode(sep), [])
        data = "\n".join(lines(text)) if field == "data" else "d"
        kind = (text or "message") if field == "event" else "message"
        last_event_id = text if field == "id" else ""
        assert client.events == [MessageEvent(kind, data, last_event_id)]
        assert client.decoder.reconnection_time is None
        assert client.comments == (lines(text) if field == "comment" else [])

    try_to_inject()


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda values: st.lists(values, max_size=4) | st.dictionaries(texts, values, max_size=4),
    max_leaves=8,
)


@quickly
@given(json_values, separators, places)
def test_a_json_value_comes_back_as_it_was_sent(value: object, sep: str, places: list[int]):
    client = Client()
    client.read(JSONServerSentEvent(value).encode(sep), places)
    assert [event.json() for event in client.events] == [value]


@quickly
@given(json_values.filter(lambda value: not isinstance(value, dict)), separators)
def test_an_item_that_is_no_event_comes_back_as_its_text(item: object, sep: str):
    client = Client()
    client.read(encode_item(item, sep), [])
    assert client.events == [MessageEvent("message", "\n".join(lines(str(item))), "")]


@quickly
@given(fields, separators)
def test_a_dict_of_keywords_is_sent_as_the_event_it_describes(fields: dict[str, Any], sep: str):
    assert encode_item(fields, sep) == ServerSentEvent(**fields).encode(sep)


def test_the_last_event_id_that_a_client_has_is_the_one_last_sent():
    client = Client()
    for event in (ServerSentEvent("a", id=1), ServerSentEvent("b"), ServerSentEvent(id=2)):
        client.read(event.encode(), [])
    assert [event.last_event_id for event in client.events] == ["1", "1"]
    assert client.decoder.last_event_id == "2"
    client.read(ServerSentEvent("c", id="").encode(), [])
    assert client.events[-1] == MessageEvent("message", "c", "")


@untimed
@given(texts, separators)
def test_text_is_encoded_as_the_event_that_it_is_the_data_of(text, sep):
    assert encode_item(text, sep) == ServerSentEvent(text).encode(sep)
