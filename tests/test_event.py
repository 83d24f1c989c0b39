"""What a server sends: the values, what they refuse, and their bytes.

An event that exists can be sent. So every refusal comes when the event is made
and names the field, and nothing is ever stripped to make text fit.
"""

import copy
import enum
import itertools
import pickle
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from trio_sse import EncodeError, JSONServerSentEvent, ServerSentEvent
from trio_sse._event import encode_item
from trio_sse._fields import EVENT_ENDINGS, LINE_ENDINGS, LONGEST_EVENT_ENDING

NOT_LINE_BREAKS = ["\u2028", "\u2029", "\x85", "\v", "\f", "\x1c", "\x1d", "\x1e"]
CONTROLS = [chr(code) for code in [*range(0x20), 0x7F]]
LONE_SURROGATES = ["\ud800", "a\udfff", "\ude00\ud83d"]


class Color(str, enum.Enum):  # noqa: UP042  (its str() is "Color.RED", its text is "red")
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Markup(str):
    """Text of a template engine, which looks different wherever it is formatted."""

    __slots__ = ()

    def __str__(self) -> str:
        return self

    def __format__(self, spec: str) -> str:
        return "formatted\r\nid: injected"


class Widget:
    """An object whose text is a subclass of str."""

    def __str__(self) -> str:
        return Markup("<p>")


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no text for this one")


# --- the fields ---------------------------------------------------------------------------


def test_an_event_is_made_of_data_alone():
    assert ServerSentEvent("hello").encode() == b"data: hello\r\n\r\n"


def test_an_event_is_made_of_any_one_field():
    assert ServerSentEvent(id="7").encode() == b"id: 7\r\n\r\n"
    assert ServerSentEvent(retry=0).encode() == b"retry: 0\r\n\r\n"
    assert ServerSentEvent(comment="hi").encode() == b": hi\r\n\r\n"


def test_all_fields_are_written_in_one_order():
    event = ServerSentEvent("d", event="e", id="i", retry=5, comment="c")
    assert event.encode() == b": c\r\nid: i\r\nevent: e\r\ndata: d\r\nretry: 5\r\n\r\n"


def test_the_fields_can_be_read_back():
    event = ServerSentEvent("d", event="e", id=1, retry=5, comment="c")
    assert (event.data, event.event, event.id, event.retry, event.comment) == (
        *("d", "e", "1"),
        *(5, "c"),
    )


def test_fields_that_were_not_given_are_none():
    event = ServerSentEvent("d")
    assert (event.event, event.id, event.retry, event.comment) == (None, None, None, None)
    assert ServerSentEvent(id=1).data is None


def test_an_event_with_nothing_set_is_refused():
    with pytest.raises(ValueError, match="at least one of data, event, id, retry and comment"):
        ServerSentEvent()


def test_all_fields_but_data_are_keywords():
    with pytest.raises(TypeError):
        ServerSentEvent("data", "event")


def test_an_event_without_data_gets_an_empty_data_line():
    assert ServerSentEvent(event="ready").encode() == b"event: ready\r\ndata:\r\n\r\n"
    assert ServerSentEvent(event="ready").data is None


def test_an_event_that_only_comments_gets_no_data_line():
    assert b"data" not in ServerSentEvent(comment="c", id=1, retry=2).encode()


def test_empty_text_is_a_field_and_not_its_absence():
    event = ServerSentEvent("", event="", id="", comment="")
    assert event.encode() == b": \r\nid: \r\nevent: \r\ndata: \r\n\r\n"


def test_an_empty_id_is_allowed_since_it_resets_the_last_event_id():
    assert ServerSentEvent(id="").id == ""


# --- data ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("text", "text"),
        (0, "0"),
        (1.5, "1.5"),
        (False, "False"),
        ([], "[]"),
        ({"a": 1}, "{'a': 1}"),
        (Level.HIGH, "3"),
        (ValueError("what went wrong"), "what went wrong"),
        (b"bytes \xe2\x82\xac", "bytes €"),
        (bytearray(b"array \xe2\x82\xac"), "array €"),
        (memoryview(b"view \xe2\x82\xac"), "view €"),
        (memoryview(b"s.t.e.p.")[::2], "step"),
        (b"", ""),
    ],
)
def test_data_of_any_type_becomes_text(data: object, text: str):
    event = ServerSentEvent(data)
    assert event.data == text
    assert event.encode("\n") == f"data: {text}\n\n".encode()


@pytest.mark.parametrize("data", [b"\xff", bytearray(b"a\xc3"), memoryview(b"\xed\xa0\x80")])
def test_data_given_as_bytes_must_be_utf8(data: object):
    with pytest.raises(ValueError, match="data given as bytes must be UTF-8"):
        ServerSentEvent(data)


def test_the_text_of_an_enum_of_strings_is_its_value():
    event = ServerSentEvent(Color.RED, event=Color.RED, id=Color.RED, comment=Color.RED)
    assert event.encode("\n") == b": red\nid: red\nevent: red\ndata: red\n\n"


def test_a_subclass_of_str_is_reduced_to_its_text():
    event = ServerSentEvent(Markup("d"), event=Markup("e"), id=Markup("i"), comment=Markup("c"))
    assert event.encode("\n") == b": c\nid: i\nevent: e\ndata: d\n\n"
    for text in (event.data, event.event, event.id, event.comment):
        assert type(text) is str


def test_the_text_of_an_object_is_plain_even_if_its_str_returns_a_subclass():
    event = ServerSentEvent(Widget())
    assert type(event.data) is str
    assert event.encode("\n") == b"data: <p>\n\n"


def test_an_object_whose_str_raises_raises_that_when_the_event_is_made():
    with pytest.raises(RuntimeError, match="no text for this one"):
        ServerSentEvent(Unprintable())


@pytest.mark.parametrize("line_break", ["\r\n", "\r", "\n"])
def test_each_line_ending_in_data_starts_a_new_data_line(line_break: str):
    event = ServerSentEvent(f"one{line_break}two{line_break}{line_break}id: 7{line_break}")
    assert event.encode("\n") == b"data: one\ndata: two\ndata: \ndata: id: 7\ndata: \n\n"


def test_mixed_line_endings_in_data_are_told_apart():
    assert ServerSentEvent("a\r\n\rb\n\rc").encode("\n") == (
        b"data: a\ndata: \ndata: b\ndata: \ndata: c\n\n"
    )


def test_data_keeps_its_own_line_endings_as_a_value():
    assert ServerSentEvent("a\r\nb").data == "a\r\nb"


@pytest.mark.parametrize("character", NOT_LINE_BREAKS)
def test_what_only_unicode_calls_a_line_break_starts_no_data_line(character: str):
    event = ServerSentEvent(f"a{character}b\nc", comment=f"a{character}b\nc")
    assert event.encode("\n") == (
        f": a{character}b\n: c\ndata: a{character}b\ndata: c\n\n".encode()
    )


def test_white_space_around_data_is_kept():
    assert ServerSentEvent("  a \t").encode("\n") == b"data:   a \t\n\n"


# --- id -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "text"),
    [(0, "0"), (-7, "-7"), (10**30, "1" + 30 * "0"), (Level.HIGH, "3"), ("a b", "a b"), ("é", "é")],
)
def test_an_id_is_text_or_an_integer(given: str | int, text: str):
    event = ServerSentEvent(id=given)
    assert event.id == text
    assert event.encode("\n") == f"id: {text}\n\n".encode()


@pytest.mark.parametrize("id_", ["a\rb", "a\nb", "\n", "1\r\ndata: injected"])
def test_an_id_with_a_line_break_is_refused(id_: str):
    with pytest.raises(ValueError, match=r"^id must not hold CR or LF"):
        ServerSentEvent("d", id=id_)


@pytest.mark.parametrize("control", CONTROLS)
def test_an_id_with_a_control_character_is_refused(control: str):
    with pytest.raises(ValueError, match=r"^id must not hold"):
        ServerSentEvent("d", id=f"a{control}b")


@pytest.mark.parametrize("id_", [" ", " a", "a ", "\xa0a", "a\u3000", "\u2028a", "\x85"])
def test_an_id_with_white_space_around_it_is_refused(id_: str):
    with pytest.raises(ValueError, match=r"^id must not begin or end with white space"):
        ServerSentEvent("d", id=id_)


@pytest.mark.parametrize("id_", [True, False, 1.0, b"1", [1]])
def test_an_id_of_another_type_is_refused(id_: Any):
    with pytest.raises(TypeError, match=r"^id must be str or int, not "):
        ServerSentEvent("d", id=id_)


# --- event --------------------------------------------------------------------------------


@pytest.mark.parametrize("event", ["a\rb", "a\nb", "\r\n", "x\ndata: injected"])
def test_an_event_type_with_a_line_break_is_refused(event: str):
    with pytest.raises(ValueError, match=r"^event must not hold CR or LF"):
        ServerSentEvent("d", event=event)


@pytest.mark.parametrize("event", [1, b"e", True, ["e"]])
def test_an_event_type_that_is_not_text_is_refused(event: Any):
    with pytest.raises(TypeError, match=r"^event must be str, not "):
        ServerSentEvent("d", event=event)


@pytest.mark.parametrize("event", [" padded ", "a: b", "été", *NOT_LINE_BREAKS])
def test_an_event_type_is_any_text_on_one_line(event: str):
    assert ServerSentEvent(event=event).encode("\n") == f"event: {event}\ndata:\n\n".encode()


# --- retry --------------------------------------------------------------------------------


@pytest.mark.parametrize("retry", [0, 1, 2_000, 10**20, Level.HIGH])
def test_retry_is_an_integer_of_milliseconds(retry: int):
    event = ServerSentEvent(retry=retry)
    assert type(event.retry) is int
    assert event.encode("\n") == f"retry: {int(retry)}\n\n".encode()


@pytest.mark.parametrize("retry", [True, False, 1.0, 1.5, "1", b"1"])
def test_a_retry_that_is_no_integer_is_refused(retry: Any):
    with pytest.raises(TypeError, match=r"^retry must be int \(milliseconds\), not "):
        ServerSentEvent("d", retry=retry)


def test_a_negative_retry_is_refused():
    with pytest.raises(ValueError, match=r"^retry must be 0 or more milliseconds, not -1$"):
        ServerSentEvent("d", retry=-1)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("field", ["id", "retry"])
def test_a_number_too_large_to_be_written_is_refused_when_the_event_is_made(field: str, sign: int):
    with pytest.raises(ValueError, match=f"^{field} is too large a number"):
        ServerSentEvent("d", **{field: sign * 10**5_000})


# --- comment ------------------------------------------------------------------------------


@pytest.mark.parametrize("line_break", ["\r\n", "\r", "\n"])
def test_each_line_of_a_comment_is_a_comment(line_break: str):
    event = ServerSentEvent("d", comment=f"one{line_break}data: two")
    assert event.encode("\n") == b": one\n: data: two\ndata: d\n\n"


@pytest.mark.parametrize("comment", [1, b"c", ["c"]])
def test_a_comment_that_is_not_text_is_refused(comment: Any):
    with pytest.raises(TypeError, match=r"^comment must be str, not "):
        ServerSentEvent("d", comment=comment)


# --- UTF-8 --------------------------------------------------------------------------------


@pytest.mark.parametrize("text", LONE_SURROGATES)
@pytest.mark.parametrize("field", ["data", "event", "id", "comment"])
def test_a_lone_surrogate_is_refused_in_every_field(field: str, text: str):
    with pytest.raises(ValueError, match=f"^{field} holds a lone surrogate at position") as caught:
        ServerSentEvent(**{field: text})
    assert caught.value.__suppress_context__


def test_a_lone_surrogate_in_the_text_of_an_object_is_refused():
    with pytest.raises(ValueError, match=r"^data holds a lone surrogate at position 2"):
        ServerSentEvent(OSError("a \udc80"))


def test_text_is_encoded_as_utf8():
    assert ServerSentEvent("é€😀").encode("\n") == b"data: \xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\n\n"


# --- the value ----------------------------------------------------------------------------


def test_events_are_equal_by_what_they_say():
    assert ServerSentEvent("1", id=2) == ServerSentEvent(1, id="2")
    assert ServerSentEvent(b"a") == ServerSentEvent("a")
    assert hash(ServerSentEvent("1", id=2)) == hash(ServerSentEvent(1, id="2"))


@pytest.mark.parametrize(
    "other",
    [
        ServerSentEvent("x", event="e", id="i", retry=1, comment="c"),
        ServerSentEvent("d", event="x", id="i", retry=1, comment="c"),
        ServerSentEvent("d", event="e", id="x", retry=1, comment="c"),
        ServerSentEvent("d", event="e", id="i", retry=2, comment="c"),
        ServerSentEvent("d", event="e", id="i", retry=1, comment="x"),
        ServerSentEvent("d", event="e", id="i", retry=1),
    ],
)
def test_events_that_differ_in_one_field_are_not_equal(other: ServerSentEvent):
    assert ServerSentEvent("d", event="e", id="i", retry=1, comment="c") != other


def test_an_event_equals_nothing_but_an_event():
    assert ServerSentEvent("d") != "d"
    assert ServerSentEvent("d") != b"data: d\r\n\r\n"


def test_a_json_event_equals_the_event_of_the_same_text():
    as_json, as_text = JSONServerSentEvent({"a": 1}, id=1), ServerSentEvent('{"a":1}', id=1)
    assert as_json == as_text
    assert as_text == as_json
    assert len({as_json, as_text}) == 1


def test_encoding_an_event_does_not_change_its_equality_or_its_hash():
    event, other = ServerSentEvent("d"), ServerSentEvent("d")
    before = hash(event)
    event.encode()
    assert event == other
    assert hash(event) == before


@pytest.mark.parametrize("event", [ServerSentEvent("d"), JSONServerSentEvent("d")])
@pytest.mark.parametrize("name", ["data", "event", "id", "retry", "comment", "anything_else"])
def test_an_event_is_immutable(event: ServerSentEvent, name: str):
    with pytest.raises(AttributeError):
        setattr(event, name, "new")
    with pytest.raises(AttributeError):
        delattr(event, name)


FULL = {"event": "e", "id": 1, "retry": 5, "comment": "c"}


@pytest.mark.parametrize("event", [ServerSentEvent("d", **FULL), JSONServerSentEvent("d", **FULL)])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_event_is_picklable(event: ServerSentEvent, protocol: int):
    restored = pickle.loads(pickle.dumps(event, protocol))
    assert type(restored) is type(event)
    assert restored == event
    assert restored.encode() == event.encode()


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_an_event_is_copyable(copied: Callable[[ServerSentEvent], ServerSentEvent]):
    event = JSONServerSentEvent("d", event="e", id=1, retry=5, comment="c")
    event.encode()
    twin = copied(event)
    assert type(twin) is JSONServerSentEvent
    assert twin == event
    assert twin.encode() == event.encode()


def test_the_kept_encoding_is_no_part_of_a_pickle_or_a_copy():
    event = ServerSentEvent("d")
    before = pickle.dumps(event)
    encoded = event.encode("\n")
    assert pickle.dumps(event) == before
    assert copy.copy(event).encode("\n") is not encoded


def test_a_pickle_names_the_package():
    assert b"trio_sse._event" not in pickle.dumps(ServerSentEvent("d"), 0)


@pytest.mark.parametrize(
    "text",
    [
        "ServerSentEvent(data='d')",
        "ServerSentEvent(id='1')",
        "ServerSentEvent(data='d', event='e', id='1', retry=5, comment='c')",
        r"ServerSentEvent(data='two\nlines')",
        "ServerSentEvent(data='')",
    ],
)
def test_the_repr_of_a_short_event_makes_the_event_again(text: str):
    assert repr(eval(text)) == text  # the text stands in this file


def test_the_repr_of_a_json_event_names_its_class_and_shows_its_text():
    assert repr(JSONServerSentEvent([1])) == "JSONServerSentEvent(data='[1]')"


def test_the_repr_of_long_text_is_cut_and_tells_its_length():
    text = repr(ServerSentEvent("x" * 1_000_000, comment="y" * 1_000))
    assert len(text) < 250
    assert "... (1000000 characters)" in text
    assert "... (1000 characters)" in text


def test_the_repr_of_text_at_the_limit_is_whole():
    assert repr(ServerSentEvent("x" * 60)) == f"ServerSentEvent(data={'x' * 60!r})"
    assert "... (61 characters)" in repr(ServerSentEvent("x" * 61))


# --- encode -------------------------------------------------------------------------------


@pytest.mark.parametrize("sep", LINE_ENDINGS)
def test_encode_ends_every_line_with_the_separator(sep: str):
    event = ServerSentEvent("a\nb", event="e", id=1, retry=2, comment="c\nc")
    lines = [": c", ": c", "id: 1", "event: e", "data: a", "data: b", "retry: 2", ""]
    assert event.encode(sep) == "".join(line + sep for line in lines).encode()


def test_encode_ends_lines_with_crlf_by_default():
    assert ServerSentEvent("d").encode() == ServerSentEvent("d").encode("\r\n")


@pytest.mark.parametrize(
    "sep",
    ["", " ", "\n\n", "\r\r", "\n\r", "\r\n\r\n", "\v", "\u2028", b"\n", None, 10, ["\n"], {}],
)
@pytest.mark.parametrize("encode_first", [False, True])
def test_encode_refuses_any_other_separator(sep: Any, encode_first: bool):
    event = ServerSentEvent("d")
    if encode_first:
        event.encode()
    with pytest.raises(ValueError, match=r"^sep must be one of"):
        event.encode(sep)
    assert event.encode() == b"data: d\r\n\r\n"


@pytest.mark.parametrize("sep", LINE_ENDINGS)
def test_encode_twice_returns_the_same_bytes_object(sep: str):
    event = ServerSentEvent("d")
    assert event.encode(sep) is event.encode(sep)


def test_encode_keeps_the_bytes_of_the_separator_last_used():
    event = ServerSentEvent("d")
    with_crlf, with_lf = event.encode(), event.encode("\n")
    assert with_crlf == b"data: d\r\n\r\n"
    assert with_lf == b"data: d\n\n"
    assert event.encode("\n") is with_lf
    assert event.encode() is not with_crlf


def test_an_event_shared_by_threads_is_encoded_with_the_separator_of_each():
    event = ServerSentEvent("d")

    def interfere(frame: FrameType, what: str, arg: object) -> Callable[..., Any] | None:
        # What another thread may do between any two lines of encode().
        if frame.f_code is not ServerSentEvent.encode.__code__:
            return None
        event.encode("\r")
        return interfere

    tracer = sys.gettrace()
    sys.settrace(interfere)
    try:
        encoded = [event.encode(sep) for sep in LINE_ENDINGS]
    finally:
        sys.settrace(tracer)
    assert encoded == [f"data: d{sep}{sep}".encode() for sep in LINE_ENDINGS]


def test_two_line_endings_in_a_row_end_an_event_and_crlf_is_one_of_them():
    for first, second in itertools.product(LINE_ENDINGS, repeat=2):
        pair = (first + second).encode()
        assert pair.endswith(EVENT_ENDINGS) == (pair != b"\r\n")
    for sep in LINE_ENDINGS:
        assert ServerSentEvent("d").encode(sep).endswith(EVENT_ENDINGS)
        assert not f"data: d{sep}".encode().endswith(EVENT_ENDINGS)
    assert max(map(len, EVENT_ENDINGS)) == LONGEST_EVENT_ENDING


# --- JSON ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, 2.5], "b": None}, '{"a":[1,2.5],"b":null}'),
        (None, "null"),
        (True, "true"),
        ("text", '"text"'),
        ("é€😀", '"é€😀"'),
        ("two\r\nlines", '"two\\r\\nlines"'),
        ([], "[]"),
    ],
)
def test_a_json_event_carries_its_value_as_compact_json(value: object, text: str):
    event = JSONServerSentEvent(value)
    assert event.data == text
    assert event.encode("\n") == f"data: {text}\n\n".encode()


def test_a_json_event_takes_the_other_fields_too():
    event = JSONServerSentEvent({}, event="e", id=1, retry=5, comment="c")
    assert event == ServerSentEvent("{}", event="e", id=1, retry=5, comment="c")


def test_a_json_event_needs_its_value():
    with pytest.raises(TypeError, match="data"):
        JSONServerSentEvent(event="e")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [-float("inf")]])
def test_a_json_event_refuses_what_json_has_no_number_for(value: object):
    with pytest.raises(ValueError, match="not JSON compliant"):
        JSONServerSentEvent(value)


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", {(1, 2): 3}])
def test_a_json_event_refuses_a_value_that_is_not_json(value: object):
    with pytest.raises(TypeError):
        JSONServerSentEvent(value)


def test_a_json_event_refuses_a_lone_surrogate():
    with pytest.raises(ValueError, match=r"^data holds a lone surrogate"):
        JSONServerSentEvent(["\ud800"])


@pytest.mark.parametrize("written", ["<1>", b"<1>"])
def test_the_function_that_writes_json_can_be_replaced(written: str | bytes):
    given: list[object] = []

    def dumps(value: object) -> str | bytes:
        given.append(value)
        return written

    assert JSONServerSentEvent({"a": 1}, dumps=dumps).data == "<1>"
    assert given == [{"a": 1}]


def test_a_dumps_that_returns_no_text_is_refused() -> None:
    with pytest.raises(TypeError, match="dumps must return str or bytes, not NoneType"):
        JSONServerSentEvent(1, dumps=lambda value: None)


def test_json_written_over_several_lines_becomes_several_data_lines():
    event = JSONServerSentEvent([], dumps=lambda value: f"{value!r}\n")
    assert event.encode("\n") == b"data: []\ndata: \n\n"


def test_an_exception_of_the_replacement_leaves_as_itself():
    def dumps(value: object) -> str:
        raise LookupError("no writer")

    with pytest.raises(LookupError, match="no writer"):
        JSONServerSentEvent(1, dumps=dumps)


# --- what else a stream takes -------------------------------------------------------------


@pytest.mark.parametrize("sep", LINE_ENDINGS)
@pytest.mark.parametrize(
    ("item", "event"),
    [
        (ServerSentEvent("d", id=1), ServerSentEvent("d", id=1)),
        (JSONServerSentEvent([1]), ServerSentEvent("[1]")),
        ("text", ServerSentEvent("text")),
        ("", ServerSentEvent("")),
        ("two\nlines", ServerSentEvent("two\nlines")),
        ({"data": 1, "event": "e"}, ServerSentEvent(1, event="e")),
        ({"comment": "c", "data": None}, ServerSentEvent(comment="c")),
        (7, ServerSentEvent("7")),
        (None, ServerSentEvent("None")),
        ([1, 2], ServerSentEvent("[1, 2]")),
        (Color.RED, ServerSentEvent("red")),
        (Widget(), ServerSentEvent("<p>")),
    ],
)
def test_an_item_is_sent_as_the_event_it_stands_for(item: object, event: ServerSentEvent, sep: str):
    assert encode_item(item, sep) == event.encode(sep)


def test_an_event_is_sent_as_the_bytes_it_keeps():
    event = ServerSentEvent("d")
    assert encode_item(event, "\n") is event.encode("\n")


@pytest.mark.parametrize("raw", [b"data: d\n\n", b"not an event", b"\xff", b""])
def test_bytes_pass_through_unchanged(raw: bytes):
    assert encode_item(raw, "\r\n") is raw
    for other in (bytearray(raw), memoryview(raw)):
        encoded = encode_item(other, "\r\n")
        assert type(encoded) is bytes
        assert encoded == raw


def test_a_bytearray_that_changes_later_does_not_change_what_was_sent():
    raw = bytearray(b"data: d\n\n")
    encoded = encode_item(raw, "\n")
    raw[:] = b""
    assert encoded == b"data: d\n\n"


@pytest.mark.parametrize(
    ("item", "kind", "cause"),
    [
        ({"price": 12.5}, "dict", TypeError),
        ({"data": "d", 1: 2}, "dict", TypeError),
        ({"data": "d", "id": "a\nb"}, "dict", ValueError),
        ({"data": "d", "retry": "soon"}, "dict", TypeError),
        ({}, "dict", ValueError),
        ("\ud800", "str", ValueError),
        (Unprintable(), "Unprintable", RuntimeError),
    ],
)
def test_an_item_that_cannot_be_sent_is_an_error_that_names_its_type(
    item: object, kind: str, cause: type[Exception]
):
    with pytest.raises(EncodeError, match=f"an item of type '{kind}' cannot be sent") as caught:
        encode_item(item, "\r\n")
    assert type(caught.value.__cause__) is cause
    assert str(caught.value.__cause__) in str(caught.value)


def test_a_dict_with_unknown_keys_is_told_of_json_events():
    with pytest.raises(EncodeError, match=r"not \['price'\]; use JSONServerSentEvent"):
        encode_item({"data": "d", "price": 12.5}, "\r\n")


def test_what_is_no_exception_but_an_interruption_leaves_as_itself():
    class Interrupted:
        def __str__(self) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode_item(Interrupted(), "\r\n")
