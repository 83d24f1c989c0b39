"""What a type checker makes of the events and of the decoder.

Checked by mypy and pyright, never run. A line marked to be ignored is one that
must be an error: mypy reports the mark itself once it is not.
"""

from typing import Any, assert_type

from trio_sse import EventStreamDecoder, JSONServerSentEvent, MessageEvent, ServerSentEvent


class Price:
    """Anything at all is data."""


def check_what_makes_an_event() -> None:
    assert_type(ServerSentEvent("text"), ServerSentEvent)
    assert_type(ServerSentEvent(b"bytes", event="e", id="i", retry=5, comment="c"), ServerSentEvent)
    ServerSentEvent(id=1)
    ServerSentEvent(None, event=None, id=None, retry=None, comment=None)
    for data in (1, 1.5, {"a": 1}, Price(), bytearray(), memoryview(b"")):
        ServerSentEvent(data)

    ServerSentEvent("text", "e")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    ServerSentEvent("text", event=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ServerSentEvent("text", event=b"e")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ServerSentEvent("text", id=1.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ServerSentEvent("text", retry=1.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ServerSentEvent("text", retry="5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ServerSentEvent("text", comment=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ServerSentEvent("text", name="e")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def check_what_an_event_tells(event: ServerSentEvent) -> None:
    assert_type(event.data, str | None)
    assert_type(event.event, str | None)
    assert_type(event.id, str | None)
    assert_type(event.retry, int | None)
    assert_type(event.comment, str | None)
    assert_type(event.encode(), bytes)
    assert_type(event.encode("\n"), bytes)
    assert_type(event.encode(sep="\r"), bytes)
    assert_type(hash(event), int)
    assert_type(event == event, bool)
    assert_type({event}, set[ServerSentEvent])

    event.encode(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    event.encode(b"\n")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def check_that_an_event_is_immutable(event: ServerSentEvent) -> None:
    event.data = "new"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    event.event = "new"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    event.id = "new"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    event.retry = 5  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    event.comment = "new"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    event.new = "new"  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


def check_json_events() -> None:
    def to_text(value: Any) -> str:
        return str(value)

    def to_bytes(value: Price) -> bytes:
        return repr(value).encode()

    def to_nothing(value: Any) -> None:
        return None

    event = JSONServerSentEvent({"a": 1}, event="e", id=1, retry=5, comment="c")
    assert_type(event, JSONServerSentEvent)
    assert_type(event.data, str | None)
    assert_type(event.encode(), bytes)
    base: ServerSentEvent = event
    assert_type(base == event, bool)
    JSONServerSentEvent(None)
    JSONServerSentEvent(Price(), dumps=to_text)
    JSONServerSentEvent(Price(), dumps=to_bytes)
    JSONServerSentEvent(Price(), dumps=None)

    JSONServerSentEvent()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    JSONServerSentEvent(1, dumps=to_nothing)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    JSONServerSentEvent(1, to_text)  # type: ignore[call-arg, arg-type]  # pyright: ignore[reportCallIssue]


def check_the_decoder(comments: list[str], seen: set[int]) -> None:
    def take_nothing() -> None: ...

    def take_bytes(comment: bytes) -> None: ...

    decoder = EventStreamDecoder()
    assert_type(decoder, EventStreamDecoder)
    assert_type(decoder.receive_data(b""), list[MessageEvent])
    assert_type(decoder.last_event_id, str)
    assert_type(decoder.reconnection_time, int | None)
    EventStreamDecoder(max_event_size=1024, on_comment=comments.append)
    EventStreamDecoder(on_comment=print)
    EventStreamDecoder(on_comment=lambda comment: comment.upper())
    EventStreamDecoder(on_comment=None)

    EventStreamDecoder(1024)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    EventStreamDecoder(max_event_size=1.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    EventStreamDecoder(max_event_size=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    EventStreamDecoder(on_comment=take_nothing)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    EventStreamDecoder(on_comment=take_bytes)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    EventStreamDecoder(on_comment=seen.add)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    decoder.receive_data("text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    decoder.anything = 1  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


def check_what_is_dispatched(event: MessageEvent) -> None:
    assert_type(event.type, str)
    assert_type(event.data, str)
    assert_type(event.last_event_id, str)
    assert_type(event.json(), Any)
    assert_type(MessageEvent("message", "data", ""), MessageEvent)
    assert_type(MessageEvent(type="message", data="data", last_event_id=""), MessageEvent)
    match event:
        case MessageEvent(kind, data, last_event_id):
            assert_type((kind, data, last_event_id), tuple[str, str, str])

    MessageEvent("data")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    MessageEvent("message", b"data", "")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    event.data = "new"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    sent: ServerSentEvent = event  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    assert_type(sent, ServerSentEvent)
