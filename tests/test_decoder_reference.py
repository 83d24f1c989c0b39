"""The decoder against a plain reading of section 9.2.6, after every chunk.

The decoder reads whole events of the usual shapes at once, and all else line by line. Here
streams are made of events that have such a shape, or nearly so: one line after another, with
every ending, NUL, byte order marks and malformed text, and with limits that some events outgrow.
"""

import re

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from trio_sse import EventStreamDecoder, EventTooLargeError, MessageEvent

BOM = b"\xef\xbb\xbf"
NO_LIMIT = 2**20


class Reference:
    """What a client has made of a stream so far: one line after another, none of them twice."""

    def __init__(self, stream: bytes, max_event_size: int = NO_LIMIT) -> None:
        self.events: list[MessageEvent] = []
        self.comments: list[str] = []
        self.last_event_id = self._id = self._type = ""
        self.reconnection_time: int | None = None
        self._data: list[str] = []
        held = 0
        *lines, rest = re.split(rb"\r\n|\r|\n", stream.removeprefix(BOM))
        for line in lines:
            if held + len(line) > max_event_size:
                break
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if not line:
                self._dispatch()
                held = 0
            elif name == b"data":
                self._data.append(value.decode(errors="replace"))
                held += len(value) + 1
            else:
                self._take(name, value, value.decode(errors="replace"))
        else:
            self.failed = held + len(rest) > max_event_size
            return
        self.failed = True

    def _take(self, name: bytes, value: bytes, text: str) -> None:
        if name == b"":
            self.comments.append(text)
        elif name == b"event":
            self._type = text
        elif name == b"id" and b"\0" not in value:
            self._id = text
        elif name == b"retry" and re.fullmatch(b"[0-9]+", value):
            self.reconnection_time = int(value)

    def _dispatch(self) -> None:
        self.last_event_id = self._id
        if self._data:
            data = "\n".join(self._data)
            self.events.append(MessageEvent(self._type or "message", data, self._id))
        self._data, self._type = [], ""


def check(chunks: list[bytes], max_event_size: int = NO_LIMIT) -> None:
    """Decode, and compare after each chunk."""
    events: list[MessageEvent] = []
    comments: list[str] = []
    stream = b""
    decoder = EventStreamDecoder(max_event_size=max_event_size, on_comment=comments.append)
    for chunk in chunks:
        events += decoder.receive_data(chunk)
        stream += chunk
        reference = Reference(stream, max_event_size)
        assert events == reference.events
        assert comments == reference.comments
        assert decoder.last_event_id == reference.last_event_id
        assert decoder.reconnection_time == reference.reconnection_time
        if reference.failed:
            with pytest.raises(EventTooLargeError):
                decoder.receive_data(b"")
            return
        assert decoder.receive_data(b"") == []


names = st.sampled_from([b"data", b"data", b"data", b"id", b"event", b"retry", b"", b"x", b"Data"])
colons = st.sampled_from([b": ", b": ", b":", b":  ", b""])
values = st.sampled_from(
    [
        *(b"a", b"12", b"", b" ", b"\0", b"1\0", b"data: a", b"id: 1", b":", b"x" * 20),
        *(BOM, b"\xff", b"\xe2\x82", b"\xed\xa0\x80", "é€😀".encode(), "\u2028\x85".encode()),
    ]
)
lines = st.builds(lambda *parts: b"".join(parts), names, colons, values)
usual = st.tuples(
    *(
        st.lists(st.builds(lambda *parts: b"".join(parts), st.just(name), colons, values), **sizes)
        for name, sizes in (
            (b"id", {"max_size": 1}),
            (b"event", {"max_size": 1}),
            (b"data", {"min_size": 1, "max_size": 3}),
            (b"id", {"max_size": 1}),
        )
    )
).map(lambda fields: [line for field in fields for line in field])
endings = st.sampled_from([[b"\n"], [b"\r\n"], [b"\r"], [b"\n", b"\r\n", b"\r"]])


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    ending = st.sampled_from(draw(endings))
    blocks = draw(st.lists(usual | st.lists(lines, max_size=4), max_size=5))
    whole = [line + draw(ending) for block in blocks for line in [*block, b""]]
    return b"".join([draw(st.sampled_from([b"", b"", BOM, BOM[:2]])), *whole, draw(lines)])


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    """Cut a stream at some places, wherever they are; two alike make an empty chunk."""
    ends = sorted(place % (len(stream) + 1) for place in places)
    return [stream[i:j] for i, j in zip([0, *ends], [*ends, len(stream)], strict=True)]


places = st.lists(st.integers(0, 400), max_size=8)
limits = st.integers(len(BOM), 80) | st.just(NO_LIMIT)
# How long an example takes is the machine's affair.
quickly = settings(deadline=None, max_examples=500, suppress_health_check=[HealthCheck.too_slow])


@quickly
@given(streams(), places, limits)
@example(b"data: a\n\ndata: b\n\n: c\n\nid: 1\n\nevent: e\n\n", [], NO_LIMIT)
def test_any_chunk_of_any_stream_gives_what_the_standard_says(
    stream: bytes, places: list[int], limit: int
):
    check(cut(stream, places), limit)


USUAL = b"id: 1\nevent: e\ndata: a\ndata: b\n\n"
SHAPES = [
    *(b"data: a", b"data:a", b"data:  a", b"data:", b"data: ", b"data", b"data: a\ndata: b"),
    *(b"data:a\ndata:b", b"data: a\ndata:b", b"data:a\ndata: b", b"data: data: a\ndata: data:b"),
    *(b"data: a\ndata", b"data\ndata: a", b"data: a\ndatum: b", b"data: a\n data: b"),
    *(b"id: 2\ndata: a", b"id:2\ndata: a", b"id:  2\ndata: a", b"id: 2\0\ndata: a"),
    *(b"id: \ndata: a", b"id:\ndata: a", b"id\ndata: a", b"id: 2\nid: 3\ndata: a", b"id: 2"),
    *(b"event: f\ndata: a", b"event:f\ndata: a", b"event: \ndata: a", b"event: f\0\ndata: a\0"),
    *(b"event: f\nevent: g\ndata: a", b"event: f\nid: 2\ndata: a", b"id: 2\nevent: f", b"event: f"),
    *(b"data: a\nid: 2", b"data: a\nid: ", b"data: a\nid: 2\0", b"id: 2\ndata: a\nid: 3"),
    *(b"data: a\nevent: f", b"data: a\nid: 2\ndata: b", b"data: a\nid: 2\nid: 3"),
    *(b"retry: 5\ndata: a", b"data: a\nretry: 5", b"retry: 5", b": c\ndata: a", b": c", b":"),
    *(b"data: a\n: c", b"xdata: a", b"x\ndata: a", b"id: 2\nxdata: a", b"", b"\n", b"\n\n"),
    *(b"data: \xff\nid: \xe2\x82", b"event: \xf0\ndata: \xe2", b": \xff\ndata: \xff"),
]


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("shape", SHAPES)
def test_an_event_of_any_shape_is_read_as_the_standard_says(shape: bytes, ending: bytes):
    stream = (USUAL + shape + b"\n\n" + USUAL + shape + b"\n\n" + USUAL).replace(b"\n", ending)
    check([stream])
    for size in (1, 2, 3, 7, 30):
        check([stream[start : start + size] for start in range(0, len(stream), size)])
    for place in range(len(stream)):
        check([stream[:place], stream[place:]])


@pytest.mark.parametrize("shape", SHAPES)
def test_an_event_of_any_shape_may_be_as_large_as_the_limit_and_no_larger(shape: bytes):
    stream = b"data\n\n" + shape + b"\n\n" + b"data\n\n"
    for limit in range(4, len(stream) + 1):
        check([stream], limit)
        for place in range(len(stream)):
            check([stream[:place], stream[place:]], limit)


def test_an_event_that_had_begun_is_too_large_though_whole_events_follow():
    check([b"data: aaaaaaaaaa\n", b"data: aaaaaaaaaa\n\ndata: b\n\n"], 20)


def test_a_limit_on_an_event_is_none_on_the_events_of_a_chunk():
    check([b"data: a\n\n" * 100], 7)
    check([b"id: 1\n", b"data: a\n\n" * 100, b"data: b\n\n"], 7)


@pytest.mark.parametrize("rest", [b"data: a", b"data:a", b": c", b"id", b"x", b"data: a\nid: 1\nx"])
@pytest.mark.parametrize(
    "line", [b"data: a\n", b"data:a\n", b"data\n", b"id: 1\n", b"event: e\n", b": c\n", b"\n"]
)
def test_many_lines_of_any_kind_are_read_in_a_moment(line: bytes, rest: bytes):
    # Trying again what was tried, for each of the lines, would take minutes.
    decoder = EventStreamDecoder(max_event_size=10**7)
    decoder.receive_data(line * 50_000 + rest + b"\n\n" + rest * 50_000 + b"\n\n")
    assert decoder.receive_data(b"id: 7\ndata: z\n\n") == [MessageEvent("message", "z", "7")]


@pytest.mark.parametrize("start", [b"data: ", b"id: ", b"event: ", b"id: 1\nevent: ", b": ", b"x"])
def test_a_long_line_of_any_kind_is_read_in_a_moment(start: bytes):
    decoder = EventStreamDecoder(max_event_size=10**7)
    decoder.receive_data(start + b"\xc3\xa9: " * 500_000 + b"\nx\n\n")
    assert decoder.receive_data(b"id: 7\ndata: z\n\n") == [MessageEvent("message", "z", "7")]
