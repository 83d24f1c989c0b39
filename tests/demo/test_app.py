"""What the page asks for, and what its buttons do."""

import json

import pytest
import trio

from trio_sse import ServerSentEvent
from trio_sse.demo._answer import TOKENS
from trio_sse.demo._app import LONGEST_MESSAGE
from trio_sse.demo._show import MOST_STREAMS
from trio_sse.testing import open_stream

from .kit import ask, receive, shown, virtual_time

pytestmark = [pytest.mark.anyio, virtual_time]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html"),
        ("/style.css", "text/css"),
        ("/page.js", "text/javascript"),
        ("/icon.svg", "image/svg+xml"),
    ],
)
async def test_the_files_of_the_page_are_there_and_ask_for_nothing_from_elsewhere(path, kind):
    async with shown() as (_, app), open_stream(app, path) as client:
        await client.ended.wait()
        assert client.status == 200
        assert client.headers["content-type"].partition(";")[0] == kind
        assert client.headers["content-security-policy"].startswith("default-src 'self';")
        assert client.body


async def test_a_page_begins_with_what_there_is_and_goes_on_right_after_it():
    async with shown() as (show, app):
        await ask(app, "/publish?page=a", "POST", b"first")
        await trio.sleep(1.2)
        state = json.loads((await ask(app, "/state"))[1])
        assert state["feed"] == [{"text": "first", "page": "a"}]
        assert [measures["at"] for measures in state["measures"]] == [0.5, 1]
        seen = await show.hub.publish("feed", ServerSentEvent("{}", event="feed"))
        async with open_stream(app, f"/events?page=a&last_event_id={state['last_event_id']}") as s:
            assert (await s.receive()).type == "ready"
            while (event := await s.receive()).type != "feed":
                pass
            assert event.last_event_id == seen


async def test_the_stream_of_a_page_has_all_topics_and_resumes_after_the_last_event_id():
    async with shown() as (_, app):
        async with open_stream(app, "/events?page=a") as stream:
            number = await receive(stream, "numbers")
            await receive(stream, "measures")
            event = await stream.receive()
            last = json.loads(event.data)["number"]
        await trio.sleep(3)
        async with open_stream(app, "/events?page=a", last_event_id=event.last_event_id) as stream:
            ready = await receive(stream, "ready")
            assert ready == {"resumed": True}
            assert last > number["number"]
            for n in range(last + 1, last + 100):
                assert (await receive(stream, "numbers"))["number"] == n


async def test_a_stream_of_a_page_counts_as_a_client_while_it_is_open():
    async with shown() as (show, app):
        async with open_stream(app, "/events?page=a"), open_stream(app, "/events?page=b"):
            assert show.meter.clients == 2
        assert show.meter.clients == 0


async def test_what_one_page_publishes_another_receives():
    async with shown() as (_, app), open_stream(app, "/events?page=b") as other:
        assert await ask(app, "/publish?page=a", "POST", b" hello\n") == (204, "")
        assert await receive(other, "feed") == {"text": "hello", "page": "a"}


@pytest.mark.parametrize("text", [b"", b" \n", b"x" * 201])
async def test_a_message_that_is_none_or_too_long_is_refused(text):
    async with shown() as (_, app):
        status, said = await ask(app, "/publish", "POST", text)
        assert (status, said) == (422, "a message has 1 to 200 characters")


async def test_a_message_is_read_no_further_than_it_can_be_long():
    longest = "\U0001f600" * LONGEST_MESSAGE  # four bytes each
    async with shown() as (_, app):
        assert (await ask(app, "/publish?page=a", "POST", longest.encode()))[0] == 204
        refused = (413, "a message has no more than 800 bytes")
        assert await ask(app, "/publish?page=a", "POST", longest.encode() + b"x") == refused


@pytest.mark.parametrize("path", ["/publish", "/cut", "/events", "/tokens"])
async def test_a_page_with_a_name_that_no_page_gives_itself_is_refused(path):
    method = "POST" if path in ("/publish", "/cut") else "GET"
    async with shown() as (_, app):
        refused = (422, "the name of a page has no more than 7 characters")
        assert await ask(app, f"{path}?page={'z' * 8}", method, b"hello") == refused


@pytest.mark.parametrize("path", ["/events", "/tokens"])
async def test_there_are_so_many_streams_and_no_more(path):
    async with shown() as (show, app), open_stream(app, "/events"):
        for _ in range(MOST_STREAMS - 1):
            assert show.limit.take(None)
        assert (await ask(app, path))[0] == 503


async def test_a_page_is_cut_off_in_the_middle_and_no_other():
    async with shown() as (_, app), open_stream(app, "/events?page=b") as other:
        async with open_stream(app, "/events?page=a") as stream:
            await stream.receive()
            assert await ask(app, "/cut?page=a", "POST") == (204, "")
            await stream.ended.wait()
            assert not stream.complete
        assert not other.ended.is_set()
        assert (await ask(app, "/cut?page=a", "POST"))[0] == 404
        await receive(other, "numbers")


async def test_drain_lets_the_server_leave():
    async with shown() as (show, app):
        show.begin_server()
        assert await ask(app, "/drain", "POST") == (202, "")
        assert show.told.is_set()


@pytest.mark.parametrize("path", ["/publish", "/cut", "/drain", "/freeze"])
async def test_what_changes_anything_is_no_get(path):
    async with shown() as (_, app):
        assert (await ask(app, path))[0] == 405


async def test_an_answer_comes_token_by_token_and_ends_with_an_event_of_its_own():
    async with shown() as (show, app), show.hub.subscribe("answers") as answers:
        async with open_stream(app, "/tokens?page=a") as stream:
            for n, token in enumerate(TOKENS, 1):
                event = await stream.receive()
                assert (event.type, event.data, event.last_event_id) == ("token", token, str(n))
            assert (await stream.receive()).type == "done"
            await stream.ended.wait()
            assert stream.complete
        ended = {"page": "a", "tokens": len(TOKENS), "reason": "completed"}
        assert await receive(answers, "answers") == ended


async def test_an_answer_that_is_stopped_cancels_its_producer():
    async with shown() as (show, app), show.hub.subscribe("answers") as answers:
        async with open_stream(app, "/tokens?page=a") as stream:
            for _ in range(3):
                await stream.receive()
        ended = {"page": "a", "tokens": 3, "reason": "client_disconnected"}
        assert await receive(answers, "answers") == ended


async def test_an_answer_goes_on_after_the_last_token_that_the_page_has_seen():
    async with shown() as (_, app):
        async with open_stream(app, "/tokens", last_event_id=str(len(TOKENS) - 1)) as stream:
            assert (await stream.receive()).data == TOKENS[-1]
            assert (await stream.receive()).type == "done"
        async with open_stream(app, "/tokens", last_event_id=str(len(TOKENS))) as stream:
            assert (await stream.receive()).type == "done"


@pytest.mark.parametrize("seen", ["x", "-1", "\u0662", str(len(TOKENS) + 1), "9" * 5000])
async def test_an_id_that_no_token_has_is_refused(seen):
    async with shown() as (_, app):
        async with open_stream(app, "/tokens", last_event_id=seen) as client:
            await client.ended.wait()
            assert client.status == 400


async def test_nobody_is_flooded_who_is_not_about_to_freeze():
    async with shown() as (_, app):
        assert (await ask(app, "/flood"))[0] == 404
