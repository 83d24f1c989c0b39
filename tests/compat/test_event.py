"""Events and items as sse-starlette writes them; what its own tests do not say."""

import copy
import pickle

import pytest

import trio_sse
from trio_sse.compat import JSONServerSentEvent, ServerSentEvent, ensure_bytes


def test_line_breaks_in_an_id_and_an_event_name_are_left_out():
    event = ServerSentEvent("x", id="1\r\n2\r3\n4", event="a\nb\rc\r\nd")
    assert event.encode() == b"id: 1234\r\nevent: abcd\r\ndata: x\r\n\r\n"


def test_data_and_comments_are_text_and_one_field_for_each_line():
    event = ServerSentEvent([1, 2], comment="a\nb")
    assert event.encode() == b": a\r\n: b\r\ndata: [1, 2]\r\n\r\n"


def test_an_event_can_be_changed_and_is_written_as_it_is_then():
    event = ServerSentEvent("before", retry=1)
    event.data, event.retry, event.event = "after", None, "late"
    assert event.encode() == b"event: late\r\ndata: after\r\n\r\n"


def test_an_event_of_nothing_is_an_empty_line():
    assert ServerSentEvent().encode() == b"\r\n"


def test_an_event_can_be_copied_and_pickled():
    event = ServerSentEvent("x", sep="\n")
    for twin in copy.copy(event), pickle.loads(pickle.dumps(event)):
        assert twin.encode() == b"data: x\n\n"


def test_retry_is_a_number_which_is_seen_when_the_event_is_written():
    assert ServerSentEvent(retry=5, id="1").encode() == b"id: 1\r\nretry: 5\r\n\r\n"
    event = ServerSentEvent("x", retry="ten")
    with pytest.raises(TypeError, match="retry argument must be int"):
        event.encode()


@pytest.mark.parametrize("field", ["id", "event"])
def test_an_id_and_an_event_name_must_be_text(field):
    event = ServerSentEvent("x", **{field: 5})
    with pytest.raises(TypeError, match="expected string"):
        event.encode()


def test_json_is_compact_and_none_is_no_data():
    assert JSONServerSentEvent({"a": [1, "\N{SNOWMAN}"]}, sep="\n").encode() == (
        'data: {"a":[1,"\N{SNOWMAN}"]}\n\n'.encode()
    )
    assert JSONServerSentEvent(None, event="nothing").encode() == b"event: nothing\r\n\r\n"
    with pytest.raises(ValueError, match="not JSON compliant"):
        JSONServerSentEvent(float("nan"))


@pytest.mark.parametrize(
    ("item", "encoded"),
    [
        (b"raw", b"raw"),
        (memoryview(b"raw"), b"raw"),
        (ServerSentEvent("own", sep="\r"), b"data: own\r\r"),
        (ServerSentEvent("default"), b"data: default\r\n\r\n"),
        (trio_sse.ServerSentEvent("native"), b"data: native\n\n"),
        ({"data": 1, "sep": "\r"}, b"data: 1\n\n"),
        (None, b"data: None\n\n"),
        (5, b"data: 5\n\n"),
    ],
)
def test_an_item_is_written_as_what_it_is(item, encoded):
    assert ensure_bytes(item, "\n") == encoded


def test_a_dict_has_the_keywords_of_an_event():
    with pytest.raises(TypeError, match="bogus"):
        ensure_bytes({"bogus": 1}, "\n")
