"""What a client says it has seen last: the header that a browser sends, or the query."""

import pytest
from starlette.requests import HTTPConnection, Request

from trio_sse import last_event_id


def request(headers=(), query=b""):
    return Request({"type": "http", "headers": list(headers), "query_string": query})


def test_a_request_that_says_nothing_has_seen_nothing():
    assert last_event_id(request()) is None
    assert last_event_id(request([(b"accept", b"text/event-stream")], b"page=5")) is None


@pytest.mark.parametrize("name", [b"last-event-id", b"Last-Event-ID", b"LAST-EVENT-ID"])
def test_the_header_is_found_however_it_is_written(name):
    headers = [(b"accept", b"*/*"), (name, b"e1-5"), (b"host", b"a")]
    assert last_event_id(request(headers)) == "e1-5"


def test_the_query_says_it_on_the_first_connection_of_a_page():
    assert last_event_id(request(query=b"a=1&last_event_id=e1-5&b=2")) == "e1-5"


def test_the_header_wins_since_it_is_later():
    assert last_event_id(request([(b"last-event-id", b"e1-9")], b"last_event_id=e1-5")) == "e1-9"


def test_an_empty_header_says_nothing():
    assert last_event_id(request([(b"last-event-id", b"")])) is None
    assert last_event_id(request([(b"last-event-id", b"")], b"last_event_id=e1-5")) == "e1-5"


def test_an_empty_query_says_nothing():
    assert last_event_id(request(query=b"last_event_id=")) is None
    assert last_event_id(request(query=b"last_event_id")) is None


def test_the_first_of_several_counts():
    headers = [(b"last-event-id", b""), (b"last-event-id", b"a"), (b"last-event-id", b"b")]
    assert last_event_id(request(headers)) == "a"
    assert last_event_id(request(query=b"last_event_id=a&last_event_id=b")) == "a"


def test_a_header_is_utf8_and_not_latin_1():
    assert last_event_id(request([(b"last-event-id", "zwölf €".encode())])) == "zwölf €"


@pytest.mark.parametrize("value", [b"\xff", b"a\xc3", b"zw\xf6lf"])
def test_a_header_that_is_no_utf8_is_an_id_that_nobody_gave(value):
    assert "\ufffd" in last_event_id(request([(b"last-event-id", value)]))


@pytest.mark.parametrize(
    ("query", "text"),
    [
        (b"last_event_id=zw%C3%B6lf+%E2%82%AC", "zwölf €"),
        (b"last_event_id=a%2Bb%26c%3Dd", "a+b&c=d"),
        (b"last%5Fevent%5Fid=a", "a"),
        (b"last_event_id=%FF", "\ufffd"),
        (b"last_event_id=\xff", "\ufffd"),
        (b"last_event_id=%zz", "%zz"),
    ],
)
def test_the_query_is_percent_encoded_utf8(query, text):
    assert last_event_id(request(query=query)) == text


def test_the_name_in_the_query_is_taken_as_it_is():
    assert last_event_id(request(query=b"Last_Event_Id=a&last-event-id=b")) is None


def test_anything_with_a_scope_will_do():
    scope = {"type": "websocket", "headers": [(b"last-event-id", b"a")], "query_string": b""}
    assert last_event_id(HTTPConnection(scope)) == "a"
