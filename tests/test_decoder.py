"""What a client reads, clause by clause: WHATWG HTML, sections 9.2.5 and 9.2.6.

The tests are in the order of the standard's text and named after what it says.
After them come the decoder's own promises, which the standard leaves open: when
an event is returned, what limits its size, where comments go.
"""

import copy
import pickle
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trio_sse import EventStreamDecoder, EventTooLargeError, MessageEvent

BOM = b"\xef\xbb\xbf"


def decode(*chunks: bytes) -> list[MessageEvent]:
    decoder = EventStreamDecoder()
    return [event for chunk in chunks for event in decoder.receive_data(chunk)]


def one_byte_at_a_time(stream: bytes) -> list[bytes]:
    return [stream[i : i + 1] for i in range(len(stream))]


def message(data: str, last_event_id: str = "") -> MessageEvent:
    return MessageEvent("message", data, last_event_id)


# --- 9.2.5: stream = [ bom ] *event ---------------------------------------------------------


def test_a_stream_may_be_empty():
    assert decode(b"") == []


def test_a_stream_is_any_number_of_events():
    assert decode(b"data: a\n\ndata: b\n\n") == [message("a"), message("b")]


@pytest.mark.parametrize("ending", [b"\r\n", b"\n", b"\r"])
def test_a_line_ends_with_crlf_or_lf_or_cr(ending: bytes):
    stream = b"event: e;id: 1;data: a;data: b;;data: c;;".replace(b";", ending)
    assert decode(stream) == [MessageEvent("e", "a\nb", "1"), message("c", "1")]


def test_line_endings_may_be_mixed_in_one_stream():
    stream = b"data: a\rdata: b\ndata: c\r\n\rdata: d\n\r\ndata: e\r\r\n"
    assert decode(stream) == [message("a\nb\nc"), message("d"), message("e")]


def test_lf_cr_is_two_line_endings():
    assert decode(b"data: a\n\rdata: b\n\n") == [message("a"), message("b")]


@pytest.mark.parametrize("character", ["\v", "\f", "\x1c", "\x85", "\u2028", "\u2029", "\0"])
def test_no_other_character_ends_a_line(character: str):
    stream = f"data: a{character}data: b\n\n".encode()
    assert decode(stream) == [message(f"a{character}data: b")]


# --- 9.2.6: streams must be decoded using the UTF-8 decode algorithm ------------------------


def test_the_stream_is_read_as_utf8():
    stream = "event: é\nid: €\ndata: 😀\n\n".encode()
    assert decode(stream) == [MessageEvent("é", "😀", "€")]
    assert decode(*one_byte_at_a_time(stream)) == [MessageEvent("é", "😀", "€")]


@pytest.mark.parametrize(
    ("malformed", "text"),
    [
        (b"\xff", "\ufffd"),
        (b"a\x80b", "a\ufffdb"),
        (b"\xe2\x82", "\ufffd"),
        (b"\xe2\x82x", "\ufffdx"),
        (b"\xc0\xaf", "\ufffd\ufffd"),
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),
        (b"\xf0\x9f\x98", "\ufffd"),
        (b"\xf4\x90\x80\x80", "\ufffd\ufffd\ufffd\ufffd"),
    ],
)
def test_malformed_utf8_becomes_replacement_characters(malformed: bytes, text: str):
    stream = b"id: %b\nevent: %b\ndata: %b\n\n" % (malformed, malformed, malformed)
    assert decode(stream) == [MessageEvent(text, text, text)]
    assert decode(*one_byte_at_a_time(stream)) == [MessageEvent(text, text, text)]


def test_a_malformed_character_does_not_swallow_the_end_of_its_line():
    assert decode(b"data: \xe2\x82\ndata: \xf0\r\n\n") == [message("\ufffd\n\ufffd")]


# --- 9.2.6: the UTF-8 decode algorithm strips one leading byte order mark, if any -----------


def test_one_leading_byte_order_mark_is_stripped():
    assert decode(BOM + b"data: a\n\n") == [message("a")]


def test_a_byte_order_mark_is_stripped_though_it_comes_byte_by_byte():
    assert decode(*one_byte_at_a_time(BOM + b"data: a\n\n")) == [message("a")]


def test_empty_chunks_within_a_byte_order_mark_change_nothing():
    assert decode(b"", BOM[:1], b"", BOM[1:2], b"", BOM[2:], b"", b"data: a\n\n") == [message("a")]


def test_only_one_byte_order_mark_is_stripped():
    assert decode(BOM + BOM + b"data: a\ndata: b\n\n") == [message("b")]
    assert decode(BOM, BOM, b"data: a\ndata: b\n\n") == [message("b")]


def test_a_byte_order_mark_in_the_middle_of_the_stream_is_kept():
    assert decode(b"data: a\n\n" + BOM + b"data: b\ndata: " + BOM + b"c\n\n") == [
        message("a"),
        message("\ufeffc"),
    ]
    assert decode(b"\n", BOM + b"data: b\n\n") == []


@pytest.mark.parametrize("start", [BOM[:1], BOM[:2], b"\xef\xbb\xbe"])
def test_the_start_of_a_byte_order_mark_alone_is_malformed_text(start: bytes):
    # It belongs to the name of a field, which then is no known one.
    assert decode(start + b"data: a\ndata: b\n\n") == [message("b")]
    assert decode(*one_byte_at_a_time(start + b"data: a\ndata: b\n\n")) == [message("b")]
    assert decode(start, b"\ndata: b\n\n") == [message("b")]


# --- 9.2.6: the stream must then be parsed by reading everything line by line ---------------


def test_a_cr_at_the_end_of_a_chunk_and_the_lf_after_it_are_one_line_ending():
    assert decode(b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n") == [message("a\nb")]


def test_empty_chunks_between_a_cr_and_its_lf_change_nothing():
    assert decode(b"data: a\r", b"", b"", b"\ndata: b\n\n") == [message("a\nb")]


def test_only_one_lf_belongs_to_a_cr():
    assert decode(b"data: a\r", b"\n\n", b"data: b\r\n", b"\n") == [message("a"), message("b")]


def test_an_lf_after_a_chunk_that_ended_without_cr_is_a_line_ending_of_its_own():
    assert decode(b"data: a\rdata: b", b"\n", b"\n") == [message("a\nb")]


# --- 9.2.6: if the line is empty, dispatch the event ----------------------------------------


def test_an_empty_line_dispatches_the_event():
    decoder = EventStreamDecoder()
    assert decoder.receive_data(b"data: a\n") == []
    assert decoder.receive_data(b"\n") == [message("a")]


def test_empty_lines_beyond_the_first_dispatch_nothing():
    assert decode(b"\n\r\n\rdata: a\n\n\n\n\n") == [message("a")]


def test_a_line_of_one_space_is_not_empty():
    assert decode(b"data: a\n \ndata: b\n\n") == [message("a\nb")]


# --- 9.2.6: if the line starts with a colon, ignore the line --------------------------------


@pytest.mark.parametrize("line", [b":", b": comment", b":data: b", b"::", b":\xff\0"])
def test_a_line_that_starts_with_a_colon_is_ignored(line: bytes):
    assert decode(b"data: a\n" + line + b"\n\n") == [message("a")]


# --- 9.2.6: if the line contains a colon ----------------------------------------------------


def test_the_field_is_what_stands_before_the_first_colon_and_the_value_what_stands_after():
    assert decode(b"data: a: b:c\n\n") == [message("a: b:c")]


def test_one_space_at_the_start_of_the_value_is_removed():
    assert decode(b"data: a\ndata:b\n\n") == [message("a\nb")]


def test_only_one_space_at_the_start_of_the_value_is_removed():
    assert decode(b"data:   a\nevent:  e\nid:  1\n\n") == [MessageEvent(" e", "  a", " 1")]


@pytest.mark.parametrize("white_space", ["\t", "\xa0", "\u3000", "\v", "\0"])
def test_no_other_white_space_at_the_start_of_the_value_is_removed(white_space: str):
    assert decode(f"data:{white_space}a\n\n".encode()) == [message(f"{white_space}a")]


def test_white_space_at_the_end_of_the_value_is_kept():
    assert decode(b"data: a \t\n\n") == [message("a \t")]


@pytest.mark.parametrize("line", [b" data: b", b"data : b", b"\tdata: b", b"\0data: b"])
def test_white_space_in_the_name_of_a_field_is_not_removed(line: bytes):
    assert decode(line + b"\ndata: a\n\n") == [message("a")]


# --- 9.2.6: otherwise the whole line is the field name, and the value is empty --------------


def test_a_line_without_a_colon_is_a_field_with_an_empty_value():
    assert decode(b"data\n\n") == [message("")]
    assert decode(b"data\ndata\n\n") == [message("\n")]
    assert decode(b"event: e\nevent\ndata: a\n\n") == [message("a")]
    assert decode(b"id: 1\n\nid\ndata: a\n\n") == [message("a", "")]


def test_a_line_without_a_colon_is_no_value_of_the_field_it_begins_with():
    assert decode(b"data a\ndata: b\n\n") == [message("b")]


# --- 9.2.6: field names must be compared literally, with no case folding --------------------


@pytest.mark.parametrize("line", [b"Data: b", b"DATA: b", b"EVENT: e", b"Id: 1", b"ID: 1"])
def test_field_names_are_compared_with_their_case(line: bytes):
    assert decode(line + b"\ndata: a\n\n") == [message("a")]


def test_the_name_of_retry_is_compared_with_its_case():
    decoder = EventStreamDecoder()
    decoder.receive_data(b"Retry: 5\nRETRY: 5\n")
    assert decoder.reconnection_time is None


# --- 9.2.6: if the field name is "event" ----------------------------------------------------


def test_event_sets_the_type_of_the_event():
    assert decode(b"event: update\ndata: a\n\n") == [MessageEvent("update", "a", "")]


def test_the_last_event_field_wins():
    assert decode(b"event: a\ndata: d\nevent: b\n\n") == [MessageEvent("b", "d", "")]


# --- 9.2.6: if the field name is "data" -----------------------------------------------------


def test_each_data_field_adds_its_value_and_a_line_feed():
    assert decode(b"data: a\ndata\ndata: b\n\n") == [message("a\n\nb")]


# --- 9.2.6: if the field name is "id" -------------------------------------------------------


def test_id_sets_the_last_event_id():
    assert decode(b"id: 1\ndata: a\n\n") == [message("a", "1")]


def test_the_last_id_field_wins():
    assert decode(b"id: 1\ndata: a\nid: 2\n\n") == [message("a", "2")]


@pytest.mark.parametrize("line", [b"id: a\0b", b"id: \0", b"id:\0", b"id: 2\0"])
def test_an_id_that_holds_nul_is_ignored(line: bytes):
    assert decode(b"id: 1\n" + line + b"\ndata: a\n\n") == [message("a", "1")]


def test_an_id_may_hold_any_other_character():
    assert decode("id: \t\x01a é \u2028\ndata: a\n\n".encode()) == [
        message("a", "\t\x01a é \u2028")
    ]


# --- 9.2.6: if the field name is "retry" ----------------------------------------------------


@pytest.mark.parametrize(
    ("value", "time"), [(b"0", 0), (b"1500", 1_500), (b"007", 7), (b"9" * 30, 10**30 - 1)]
)
def test_a_retry_of_ascii_digits_sets_the_reconnection_time(value: bytes, time: int):
    decoder = EventStreamDecoder()
    decoder.receive_data(b"retry: " + value + b"\n")
    assert decoder.reconnection_time == time


@pytest.mark.parametrize(
    "value",
    [
        *("", " ", "+5", "-5", "1_0", "1.5", "1e3", "0x10", " 5", "5 ", "5\t", "5ms", "5\0"),
        *("\u0661\u0662", "\uff15", "\u00b2", "\u0967", "٣5"),
    ],
)
def test_a_retry_of_anything_but_ascii_digits_is_ignored(value: str):
    decoder = EventStreamDecoder()
    decoder.receive_data(f"retry: 7\nretry: {value}\n\n".encode())
    assert decoder.reconnection_time == 7


def test_a_retry_without_a_value_is_ignored():
    decoder = EventStreamDecoder()
    decoder.receive_data(b"retry\nretry:\n")
    assert decoder.reconnection_time is None


def test_a_retry_of_more_digits_than_python_converts_is_ignored():
    decoder = EventStreamDecoder()
    stream = b"retry: 7\nretry: " + b"9" * 10_000 + b"\ndata: a\n\n"
    assert decoder.receive_data(stream) == [message("a")]
    assert decoder.reconnection_time == 7


def test_retry_takes_effect_at_its_line_and_not_when_an_event_is_dispatched():
    decoder = EventStreamDecoder()
    decoder.receive_data(b"data: a\nretry: 5\n")
    assert decoder.reconnection_time == 5
    assert decoder.receive_data(b"\n") == [message("a")]


def test_the_reconnection_time_is_kept_across_events():
    decoder = EventStreamDecoder()
    assert decoder.reconnection_time is None
    decoder.receive_data(b"retry: 5\n\ndata: a\n\n")
    assert decoder.reconnection_time == 5


# --- 9.2.6: otherwise, the field is ignored -------------------------------------------------


@pytest.mark.parametrize(
    "line", [b"foo: b", b"foo", b"datas: b", b"dat: b", b"\xff: b", b"comment: b"]
)
def test_any_other_field_is_ignored(line: bytes):
    assert decode(b"data: a\n" + line + b"\ndata: c\n\n") == [message("a\nc")]


# --- 9.2.6: dispatching the event -----------------------------------------------------------


def test_the_last_event_id_is_set_even_if_there_is_no_data_to_dispatch():
    decoder = EventStreamDecoder()
    assert decoder.receive_data(b"id: 1\n\n") == []
    assert decoder.last_event_id == "1"
    assert decoder.receive_data(b"data: a\n\n") == [message("a", "1")]


def test_the_last_event_id_is_not_set_before_the_empty_line():
    decoder = EventStreamDecoder()
    decoder.receive_data(b"id: 1\ndata: a\n\nid: 2\ndata: b\n")
    assert decoder.last_event_id == "1"
    decoder.receive_data(b"\n")
    assert decoder.last_event_id == "2"


def test_the_last_event_id_is_kept_across_events():
    decoder = EventStreamDecoder()
    assert decoder.receive_data(b"id: 1\ndata: a\n\ndata: b\n\n: c\n\ndata: c\n\n") == [
        message("a", "1"),
        message("b", "1"),
        message("c", "1"),
    ]
    assert decoder.last_event_id == "1"


@pytest.mark.parametrize("line", [b"id", b"id:", b"id: "])
def test_an_empty_id_resets_the_last_event_id(line: bytes):
    decoder = EventStreamDecoder()
    events = decoder.receive_data(b"id: 1\ndata: a\n\n" + line + b"\ndata: b\n\ndata: c\n\n")
    assert events == [message("a", "1"), message("b"), message("c")]
    assert decoder.last_event_id == ""


def test_the_last_event_id_is_the_empty_string_at_first():
    assert EventStreamDecoder().last_event_id == ""
    assert decode(b"data: a\n\n") == [message("a", "")]


def test_an_empty_data_buffer_dispatches_nothing_and_resets_the_event_type():
    assert decode(b"event: lost\n\ndata: a\n\n") == [message("a")]
    assert decode(b"event: lost\nid: 1\nretry: 5\n: c\n\ndata: a\n\n") == [message("a", "1")]


def test_one_trailing_line_feed_is_removed_from_the_data():
    assert decode(b"data: a\n\n") == [message("a")]
    assert decode(b"data: a\ndata\n\n") == [message("a\n")]
    assert decode(b"data\ndata:\ndata: \n\n") == [message("\n\n")]


def test_an_empty_data_field_dispatches_an_event_with_empty_data():
    assert decode(b"data\n\ndata:\n\ndata: \n\n") == [message(""), message(""), message("")]


def test_the_type_of_an_event_is_message_unless_the_stream_gave_one():
    assert decode(b"data: a\n\n") == [MessageEvent("message", "a", "")]
    assert decode(b"event\ndata: a\n\n") == [MessageEvent("message", "a", "")]
    assert decode(b"event: \ndata: a\n\n") == [MessageEvent("message", "a", "")]


def test_the_data_and_the_type_are_reset_by_each_event():
    assert decode(b"event: e\ndata: a\n\ndata: b\n\n") == [
        MessageEvent("e", "a", ""),
        message("b"),
    ]


# --- 9.2.6: once the end of the file is reached, any pending data must be discarded ---------


@pytest.mark.parametrize(
    "unfinished",
    [b"data: b", b"data: b\n", b"data: b\r", b"data: b\r\n", b"id: 2\nevent: e\n", b"\xef"],
)
def test_an_event_that_the_end_of_the_stream_leaves_unfinished_is_discarded(unfinished: bytes):
    decoder = EventStreamDecoder()
    assert decoder.receive_data(b"id: 1\ndata: a\n\n" + unfinished) == [message("a", "1")]
    assert decoder.receive_data(b"") == []
    assert decoder.last_event_id == "1"


def test_a_line_that_the_end_of_the_stream_leaves_unfinished_is_not_processed():
    comments: list[str] = []
    decoder = EventStreamDecoder(on_comment=comments.append)
    decoder.receive_data(b"retry: 5")
    assert decoder.reconnection_time is None
    decoder.receive_data(b"0\n: c")
    assert decoder.reconnection_time == 50
    assert comments == []


# --- 9.2.6: the standard's own examples -----------------------------------------------------


def test_the_standards_example_of_a_two_line_event():
    stream = b"data: YHOO\ndata: +2\ndata: 10\n\n"
    assert decode(stream) == [message("YHOO\n+2\n10")]


def test_the_standards_example_of_four_blocks():
    decoder = EventStreamDecoder()
    stream = b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\n"
    assert decoder.receive_data(stream) == [message("first event", "1"), message("second event")]
    assert decoder.receive_data(b"data:  third event\n") == []  # the stream may end here
    assert decoder.receive_data(b"\n") == [message(" third event")]


def test_the_standards_example_of_data_fields_without_values():
    assert decode(b"data\n\ndata\ndata\n\ndata:") == [message(""), message("\n")]


def test_the_standards_example_of_an_ignored_space():
    assert decode(b"data:test\n\ndata: test\n\n") == [message("test"), message("test")]


# --- when an event is returned --------------------------------------------------------------


def test_an_event_is_returned_by_the_call_that_completes_it():
    decoder = EventStreamDecoder()
    returned = [decoder.receive_data(chunk) for chunk in one_byte_at_a_time(b"data: a\n\n")]
    assert returned == [[]] * 8 + [[message("a")]]


def test_a_cr_ends_its_line_without_waiting_for_the_byte_after_it():
    decoder = EventStreamDecoder()
    assert decoder.receive_data(b"data: a\r\r") == [message("a")]
    assert decoder.receive_data(b"data: b\r\n\r") == [message("b")]
    assert decoder.receive_data(b"\ndata: c\n\r") == [message("c")]
    assert decoder.receive_data(b"\n") == []


def test_no_data_at_all_is_taken_and_returns_nothing():
    decoder = EventStreamDecoder()
    assert decoder.receive_data(b"") == []
    decoder.receive_data(b"data: a")
    assert decoder.receive_data(b"") == []
    assert decoder.receive_data(b"\n\n") == [message("a")]


def test_the_events_of_many_calls_do_not_share_a_list():
    decoder = EventStreamDecoder()
    first = decoder.receive_data(b"data: a\n\n")
    decoder.receive_data(b"data: b\n\n")
    assert first == [message("a")]


# --- comments -------------------------------------------------------------------------------


def test_comments_are_reported_in_order_without_their_leading_space():
    comments: list[str] = []
    decoder = EventStreamDecoder(on_comment=comments.append)
    decoder.receive_data(b": one\ndata: a\n:two\r:  three \r\n:\n: \n:: four\n\n: ")
    decoder.receive_data("fünf \u2028".encode() + b"\xff\n")
    assert comments == ["one", "two", " three ", "", "", ": four", "fünf \u2028\ufffd"]


def test_a_comment_is_reported_when_its_line_ends():
    seen: list[str] = []
    decoder = EventStreamDecoder(on_comment=seen.append)
    decoder.receive_data(b": ping")
    assert seen == []
    decoder.receive_data(b"\r")
    assert seen == ["ping"]


# --- the size of an event -------------------------------------------------------------------


@pytest.mark.parametrize("in_bytes", [False, True])
@pytest.mark.parametrize("field", [b"data: ", b": ", b"id: ", b"event: ", b"unknown: ", b""])
def test_a_line_may_take_max_event_size_bytes_and_not_one_more(field: bytes, in_bytes: bool):
    line = field + b"x" * (20 - len(field))
    for size, fails in ((20, False), (19, True)):
        decoder = EventStreamDecoder(max_event_size=size)
        for chunk in one_byte_at_a_time(line) if in_bytes else [line]:
            assert decoder.receive_data(chunk) == []
        if fails:
            with pytest.raises(EventTooLargeError):
                decoder.receive_data(b"\n")
        else:
            assert decoder.receive_data(b"\n") == []


def test_the_size_is_that_of_the_bytes_and_not_of_the_characters():
    decoder = EventStreamDecoder(max_event_size=10)
    decoder.receive_data("data: ééé".encode())
    with pytest.raises(EventTooLargeError):
        decoder.receive_data(b"")


def test_the_data_and_the_line_being_read_count_together():
    # "aaaa" and its line feed are kept: 5 bytes beside the next line's 10.
    stream = b"data: aaaa\ndata: bbbb\n\n"
    assert EventStreamDecoder(max_event_size=15).receive_data(stream) == [message("aaaa\nbbbb")]
    decoder = EventStreamDecoder(max_event_size=14)
    assert decoder.receive_data(stream) == []
    with pytest.raises(EventTooLargeError):
        decoder.receive_data(b"")


def test_many_empty_data_lines_are_too_large_in_the_end():
    decoder = EventStreamDecoder(max_event_size=100)
    decoder.receive_data(b"data\n" * 96)
    assert decoder.receive_data(b"") == []
    decoder.receive_data(b"data\n" * 2)
    with pytest.raises(EventTooLargeError):
        decoder.receive_data(b"")


def test_the_size_counts_anew_for_each_event():
    decoder = EventStreamDecoder(max_event_size=15)
    assert decoder.receive_data(b"data: aaaa\ndata: b\n\n" * 50) == [message("aaaa\nb")] * 50


def test_lines_that_are_not_kept_do_not_add_up():
    decoder = EventStreamDecoder(max_event_size=15)
    stream = b": comment\nid: 123\nevent: e\n" * 50 + b"data: a\n\n"
    assert decoder.receive_data(stream) == [MessageEvent("e", "a", "123")]


def test_the_byte_order_mark_does_not_count():
    decoder = EventStreamDecoder(max_event_size=7)
    assert decoder.receive_data(BOM + b"data: a\n\n") == [message("a")]


def test_what_is_complete_before_too_large_an_event_is_returned_and_the_next_call_raises():
    decoder = EventStreamDecoder(max_event_size=10)
    stream = b"id: 1\ndata: a\n\ndata: b\n\ndata: too long\n\ndata: c\n\n"
    assert decoder.receive_data(stream) == [message("a", "1"), message("b", "1")]
    with pytest.raises(EventTooLargeError, match=r"max_event_size \(10 bytes\)"):
        decoder.receive_data(b"")


def test_an_unfinished_line_is_too_large_as_soon_as_its_bytes_are():
    decoder = EventStreamDecoder(max_event_size=10)
    assert decoder.receive_data(b"data: a\n\ndata: too long") == [message("a")]
    with pytest.raises(EventTooLargeError):
        decoder.receive_data(b"")


def test_a_decoder_that_has_failed_stays_failed():
    decoder = EventStreamDecoder(max_event_size=10)
    decoder.receive_data(b"id: 1\n\nid: 2\ndata: too long\n\n")
    for data in (b"", b"\n\n", b"data: a\n\n", b""):
        with pytest.raises(EventTooLargeError):
            decoder.receive_data(data)
    assert decoder.last_event_id == "1"


@pytest.mark.parametrize("too_large", [b"y" * 200, b"y" * 200 + b"\n\ndata: z"])
def test_a_decoder_that_has_failed_keeps_none_of_the_stream(too_large: bytes):
    decoder = EventStreamDecoder(max_event_size=1_000)
    decoder.receive_data(b"data: " + b"x" * 900 + b"\n" + too_large)
    assert not decoder._data
    assert not decoder._line


def test_too_large_an_event_is_a_value_error():
    assert issubclass(EventTooLargeError, ValueError)


def test_an_event_of_a_mebibyte_is_too_large_by_default():
    for size, fails in ((2**20, False), (2**20 + 1, True)):
        decoder = EventStreamDecoder()
        decoder.receive_data(b"data: " + b"x" * (size - 6))
        if fails:
            with pytest.raises(EventTooLargeError):
                decoder.receive_data(b"\n\n")
        else:
            assert decoder.receive_data(b"\n\n") == [message("x" * (size - 6))]


def test_a_huge_line_in_tiny_chunks_is_read_in_a_moment():
    # Quadratic time would copy 60 GB here.
    decoder = EventStreamDecoder()
    text = b"0123456" * 140_000
    decoder.receive_data(b"data: ")
    for start in range(0, len(text), 8):
        assert decoder.receive_data(text[start : start + 8]) == []
    assert decoder.receive_data(b"\n\n") == [message(text.decode())]


def test_many_lines_in_one_chunk_are_read_in_a_moment():
    events = decode(b"data: a\ndata: b\n\n" * 50_000)
    assert events == [message("a\nb")] * 50_000


def test_one_event_of_many_lines_is_read_in_a_moment():
    assert decode(b"data: a\n" * 100_000, b"\n") == [message("a\n" * 99_999 + "a")]


# --- bad arguments --------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, -1, -(2**20)])
def test_a_max_event_size_that_is_not_positive_is_refused(size: int):
    with pytest.raises(ValueError, match=f"max_event_size must be positive, not {size}"):
        EventStreamDecoder(max_event_size=size)


@pytest.mark.parametrize("size", [None, 1.5, 1024.0, "1024", True])
def test_a_max_event_size_that_is_no_integer_is_refused(size: Any):
    with pytest.raises(TypeError, match="max_event_size must be int, not "):
        EventStreamDecoder(max_event_size=size)


def test_the_options_of_the_decoder_are_keywords():
    with pytest.raises(TypeError):
        EventStreamDecoder(1024)


# --- the event that is dispatched -----------------------------------------------------------


def test_a_message_event_is_an_immutable_value():
    event = MessageEvent("e", "d", "1")
    assert event == MessageEvent(type="e", data="d", last_event_id="1")
    assert hash(event) == hash(MessageEvent("e", "d", "1"))
    assert pickle.loads(pickle.dumps(event)) == event
    assert repr(event) == "MessageEvent(type='e', data='d', last_event_id='1')"
    with pytest.raises(AttributeError):
        event.data = "new"


@pytest.mark.parametrize("name", ["type", "data", "last_event_id", "anything_else"])
def test_no_attribute_of_a_message_event_can_be_set_or_deleted(name: str):
    event = MessageEvent("e", "d", "1")
    with pytest.raises(AttributeError):
        setattr(event, name, "new")
    with pytest.raises(AttributeError):
        delattr(event, name)


@pytest.mark.parametrize(
    "other", [MessageEvent("x", "d", "1"), MessageEvent("e", "x", "1"), MessageEvent("e", "d", "x")]
)
def test_message_events_that_differ_in_one_field_are_not_equal(other: MessageEvent):
    assert MessageEvent("e", "d", "1") != other


def test_a_message_event_equals_nothing_but_a_message_event():
    assert MessageEvent("e", "d", "1") != ("e", "d", "1")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_message_event_is_picklable(protocol: int):
    event = MessageEvent("e", "d", "1")
    assert pickle.loads(pickle.dumps(event, protocol)) == event


def test_a_message_event_is_copyable():
    event = MessageEvent("e", "d", "1")
    assert copy.copy(event) == copy.deepcopy(event) == event


def test_a_message_event_can_be_taken_apart():
    match MessageEvent("e", "d", "1"):
        case MessageEvent(kind, data, last_event_id):
            assert (kind, data, last_event_id) == ("e", "d", "1")


def test_the_json_of_a_message_event_is_its_data_read_as_json():
    assert message('{"a": [1, 2.5, null]}').json() == {"a": [1, 2.5, None]}
    assert decode(b"data: {\ndata: }\n\n")[0].json() == {}


@pytest.mark.parametrize("data", ["", "{", "not json", "1 2"])
def test_the_json_of_data_that_is_none_is_a_value_error(data: str):
    with pytest.raises(ValueError, match=r"."):
        message(data).json()


# --- against the standard's text, written out -----------------------------------------------


class Interpretation:
    """Section 9.2.6 word for word, at its own pace: the whole text, char by char."""

    def __init__(self, stream: bytes) -> None:
        self.events: list[MessageEvent] = []
        self.comments: list[str] = []
        self.last_event_id = ""
        self.reconnection_time: int | None = None
        self.data_buffer = self.event_type_buffer = self.last_event_id_buffer = ""
        text = stream.decode("utf-8", "replace")
        if text[:1] == "\ufeff":
            text = text[1:]
        line, previous = "", ""
        for char in text:
            if char == "\n" and previous == "\r":
                pass  # the second half of a CRLF
            elif char in ("\r", "\n"):
                self.process_line(line)
                line = ""
            else:
                line += char
            previous = char
        # What is left in `line` and in the buffers is pending, and discarded.

    def process_line(self, line: str) -> None:
        if line == "":
            self.dispatch()
        elif line[0] == ":":
            self.comments.append(self.without_space(line[1:]))
        elif ":" in line:
            colon = line.index(":")
            self.process_field(line[:colon], self.without_space(line[colon + 1 :]))
        else:
            self.process_field(line, "")

    def without_space(self, value: str) -> str:
        return value[1:] if value[:1] == " " else value

    def process_field(self, name: str, value: str) -> None:
        if name == "event":
            self.event_type_buffer = value
        elif name == "data":
            self.data_buffer += value
            self.data_buffer += "\n"
        elif name == "id":
            if "\0" not in value:
                self.last_event_id_buffer = value
        elif name == "retry" and value and all(char in "0123456789" for char in value):
            self.reconnection_time = 0
            for char in value:
                self.reconnection_time = 10 * self.reconnection_time + "0123456789".index(char)

    def dispatch(self) -> None:
        self.last_event_id = self.last_event_id_buffer
        if self.data_buffer == "":
            self.event_type_buffer = ""
            return
        if self.data_buffer[-1] == "\n":
            self.data_buffer = self.data_buffer[:-1]
        kind = "message" if self.event_type_buffer == "" else self.event_type_buffer
        self.events.append(MessageEvent(kind, self.data_buffer, self.last_event_id))
        self.data_buffer = self.event_type_buffer = ""


class Reading:
    """What a decoder made of a stream that came in chunks."""

    def __init__(self, chunks: list[bytes], max_event_size: int = 2**20) -> None:
        self.events: list[MessageEvent] = []
        self.comments: list[str] = []
        decoder = EventStreamDecoder(max_event_size=max_event_size, on_comment=self.comments.append)
        try:
            for chunk in [*chunks, b""]:
                self.events += decoder.receive_data(chunk)
        except EventTooLargeError:
            self.failed = True
        else:
            self.failed = False
        self.last_event_id = decoder.last_event_id
        self.reconnection_time = decoder.reconnection_time


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    """Cut a stream at some places, wherever they are; two alike make an empty chunk."""
    ends = sorted(place % (len(stream) + 1) for place in places)
    return [stream[i:j] for i, j in zip([0, *ends], [*ends, len(stream)], strict=True)]


# Random bytes seldom make an event, so streams are made of what means something
# to the grammar, and of what is easily mistaken for it.
PIECES = [
    *(b"data", b"event", b"id", b"retry", b"Data", b"x", b"12", b"+5", b"\0"),
    *(b":", b": ", b" ", b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"data: a\n", b"id: 1\r"),
    *(BOM, BOM[:1], BOM[1:], b"\xff", b"\xe2\x82", b"\xed\xa0\x80", b"\xf0\x9f"),
    *(text.encode() for text in ("é", "€", "😀", "\u2028", "\x85", "\v", "\u0661")),
]
streams = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join),
    st.lists(st.sampled_from(PIECES) | st.binary(max_size=4), max_size=20).map(b"".join),
    st.binary(),
)
places = st.lists(st.integers(0, 400), max_size=12)
# How long an example takes is the machine's affair.
quickly = settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])


@quickly
@given(streams)
def test_any_bytes_are_read_as_the_standard_says(stream: bytes):
    reading = vars(Reading([stream]))
    assert reading.pop("failed") is False
    assert reading.items() <= vars(Interpretation(stream)).items()


@quickly
@given(streams, places)
def test_any_chunking_gives_what_one_chunk_gives(stream: bytes, places: list[int]):
    whole = vars(Reading([stream]))
    assert vars(Reading(cut(stream, places))) == whole
    assert vars(Reading(one_byte_at_a_time(stream))) == whole


@quickly
@given(streams, places, st.integers(1, 30))
def test_any_chunking_fails_where_one_chunk_fails(stream: bytes, places: list[int], size: int):
    whole = vars(Reading([stream], size))
    assert vars(Reading(cut(stream, places), size)) == whole
    assert vars(Reading(one_byte_at_a_time(stream), size)) == whole


@quickly
@given(streams, places, st.integers(1, 30))
def test_an_event_too_large_takes_nothing_from_the_events_before_it(
    stream: bytes, places: list[int], size: int
):
    limited = Reading(cut(stream, places), size)
    unlimited = Reading([stream])
    assert limited.events == unlimited.events[: len(limited.events)]
    assert limited.comments == unlimited.comments[: len(limited.comments)]
    if not limited.failed:
        assert vars(limited) == vars(unlimited)


@quickly
@given(streams, st.integers(3, 30))
def test_a_stream_fails_exactly_when_an_event_outgrows_its_size(stream: bytes, size: int):
    held, outgrown = 0, False
    text = stream.removeprefix(BOM).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    for line in text.split(b"\n"):
        outgrown = outgrown or held + len(line) > size
        if not line:
            held = 0
        elif line == b"data":
            held += 1
        elif line.startswith(b"data:"):
            held += len(line[5:].removeprefix(b" ")) + 1
    assert Reading([stream], size).failed == outgrown
