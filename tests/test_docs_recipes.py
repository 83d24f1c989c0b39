"""The recipes of the documentation, run as they stand, on both event loops, in virtual time."""

import json
from itertools import groupby
from types import SimpleNamespace

import anyio
import pytest
from starlette.applications import Starlette

import trio_sse
from doc_code import code_blocks
from trio_sse import EventSourceResponse, JSONServerSentEvent
from trio_sse.testing import StreamingASGITransport, open_stream

pytestmark = pytest.mark.anyio

PAGE = "recipes.md"
RECIPES = {
    heading: "".join(code for _, code in blocks)
    for heading, blocks in groupby(code_blocks(PAGE), lambda block: block[0])
}

LLM = "The tokens of a language model"
BACKGROUND = "After a stream"
JOB = "A job that outlives its stream"
HTMX = "Fragments for htmx"
DATASTAR = "Fragments for Datastar"
SHARED = "A stream for a cache to share"

PROMPT = {"method": "POST", "body": b'{"prompt": "What?"}'}


def recipe(heading):
    """Run the code of a recipe."""
    names = {"__name__": heading}
    exec(compile(RECIPES[heading], f"{PAGE}: {heading}", "exec"), names)
    return SimpleNamespace(**names)


async def receive(stream):
    """Receive an event, before there are many pings."""
    with anyio.fail_after(60):
        return await stream.receive()


async def read_events(stream):
    return [(event.type, event.data) async for event in stream]


def client_of(app):
    """Return an HTTP client of an app."""
    httpx = pytest.importorskip("httpx")
    return httpx.AsyncClient(transport=StreamingASGITransport(app))


def with_state(app, state):
    """Return an app with what its lifespan has yielded."""

    async def run(scope, receive, send):
        await app({**scope, "state": state}, receive, send)

    return run


def test_there_is_a_test_for_each_recipe():
    assert {*RECIPES} == {LLM, BACKGROUND, JOB, HTMX, DATASTAR, SHARED}


class Model:
    """A language model: a token each second, and what became of its streams."""

    def __init__(self, *tokens, done=True):
        self.tokens = tokens
        self.done = done
        self.closed = []
        self.app = Starlette()
        self.app.add_route("/v1/chat/completions", self.complete, methods=["POST"])

    async def complete(self, request):
        self.question = await request.json()
        return EventSourceResponse(self.answer, on_close=self.closed.append)

    async def answer(self, send):
        for token in self.tokens:
            await anyio.sleep(1)
            await send.send(JSONServerSentEvent({"choices": [{"delta": {"content": token}}]}))
        if self.done:
            await send.send("[DONE]")


class Chat:
    """The state of the app of the recipe, with a model, and what it has saved."""

    def __init__(self, model):
        self.saved = {}
        self.http = client_of(model.app)

    async def save(self, prompt, text):
        await anyio.sleep(1)
        self.saved[prompt] = text

    def open(self):
        state = {"http": self.http, "save": self.save}
        return open_stream(recipe(LLM).app, "/chat", scope={"state": state}, **PROMPT)


async def test_an_answer_of_a_model_is_passed_on_and_saved():
    model = Model("Not", " ", "much.")
    chat = Chat(model)
    async with chat.http, chat.open() as stream:
        began = anyio.current_time()
        tokens = [json.loads((await receive(stream)).data) for _ in range(3)]
        assert anyio.current_time() - began == 3
        assert await read_events(stream) == [("message", "[DONE]")]
        assert stream.complete
    assert tokens == [{"token": "Not"}, {"token": " "}, {"token": "much."}]
    assert model.question["messages"][0]["content"] == "What?"
    assert chat.saved == {"What?": "Not much."}


async def test_when_the_client_leaves_the_model_is_stopped_and_what_is_there_is_saved():
    model = Model("Not", " ", "much.")
    chat = Chat(model)
    async with chat.http, chat.open() as stream:
        for _ in range(2):
            await receive(stream)
        stream.disconnect()
        await stream.ended.wait()
        assert model.closed == [trio_sse.CloseReason.CLIENT_DISCONNECTED]
    assert chat.saved == {"What?": "Not "}


async def test_an_answer_that_breaks_off_does_not_look_complete():
    chat = Chat(Model("Not", done=False))
    async with chat.http:
        with pytest.raises(EOFError, match="DONE"):
            async with chat.open() as stream:
                assert len(await read_events(stream)) == 1
        assert not stream.complete
    assert chat.saved == {"What?": "Not"}


@pytest.mark.parametrize("leaves", [False, True])
async def test_a_background_task_runs_when_the_stream_is_over(leaves):
    billed = []
    ended = []

    async def bill(user, count):
        ended.append(stream.complete)
        billed.append((user, count))

    scope = {"state": {"bill": bill}}
    async with open_stream(recipe(BACKGROUND).app, "/export/ann", scope=scope) as stream:
        assert billed == []
        if not leaves:
            assert len(await read_events(stream)) == 3
    assert billed == [("ann", 3)]
    assert ended == [not leaves]


async def test_a_job_goes_on_when_its_client_leaves_and_the_client_misses_nothing():
    job = recipe(JOB)
    async with job.lifespan(job.app) as state:
        scope = {"state": state}
        # Not by open_stream, which takes a task that goes on after its request for a leak.
        async with client_of(with_state(job.app, state)) as http:
            answer = await http.post("http://test/jobs")
        assert answer.status_code == 202
        path = answer.json()["events"]
        async with open_stream(job.app, path, scope=scope) as stream:
            ready, first = await receive(stream), await receive(stream)
        await anyio.sleep(10)
        id = first.last_event_id
        async with open_stream(job.app, path, scope=scope, last_event_id=id) as stream:
            rest = [await receive(stream) for _ in range(4)]
    assert (ready.type, first.type, first.data) == ("ready", "progress", "0")
    assert rest[0].json() == {"resumed": True}
    assert [(event.type, event.data) for event in rest[1:]] == [
        ("progress", "50"),
        ("progress", "100"),
        ("done", "finished"),
    ]


async def test_jobs_end_with_the_app():
    job = recipe(JOB)
    with anyio.fail_after(60):
        async with job.lifespan(job.app) as state:
            state["jobs"].start_soon(anyio.sleep_forever)


async def test_fragments_for_htmx_have_the_names_of_the_page():
    [(_, page)] = code_blocks(PAGE, "html")
    async with open_stream(recipe(HTMX).app, "/prices") as stream:
        events = await read_events(stream)
    assert events == [
        ("tea", "<td>Tea &amp; milk</td>\n<td>2.50</td>"),
        ("cake", "<td>Cake</td>\n<td>4.20</td>"),
        ("closed", ""),
    ]
    attributes = ['sse-swap="tea"', 'sse-swap="cake"', 'sse-close="closed"']
    assert all(attribute in page for attribute in attributes)


class Board:
    """What Datastar makes of the events of the recipe: elements by their id, and signals."""

    def __init__(self):
        self.patches = []
        self.signals = {}
        self.last_event_id = None

    def take(self, event):
        self.last_event_id = event.last_event_id
        if not event.type.startswith("datastar-"):
            return
        lines = [line.partition(" ") for line in event.data.split("\n")]
        keys = {key for key, _, _ in lines}
        text = "\n".join(value for _, _, value in lines)
        if event.type == "datastar-patch-signals":
            assert keys == {"signals"}
            self.signals |= json.loads(text)
        else:
            assert keys == {"elements"}
            self.patches.append(text)


async def put(app, scope, number, text):
    request = {"method": "PUT", "body": text.encode(), "scope": scope}
    async with open_stream(app, f"/notes/{number}", **request) as answer:
        assert answer.status == 204


async def test_fragments_for_datastar_are_patches_of_elements_and_signals():
    datastar, board = recipe(DATASTAR), Board()
    async with datastar.lifespan(datastar.app) as state:
        scope = {"state": state}
        await put(datastar.app, scope, 1, "milk")
        async with open_stream(datastar.app, "/board", scope=scope) as stream:
            board.take(await receive(stream))
            assert board.patches == ['<div id="board"><p id="note-1">milk</p></div>']
            await put(datastar.app, scope, 1, "tea\nselector body\r\n<b>")
            for _ in range(2):
                board.take(await receive(stream))
    assert board.patches[1:] == ['<p id="note-1">tea\nselector body\n&lt;b&gt;</p>']
    assert board.signals == {"count": 1}


@pytest.mark.parametrize("forgotten", [False, True])
async def test_a_board_is_resumed_or_sent_anew(forgotten):
    datastar, board = recipe(DATASTAR), Board()
    async with datastar.lifespan(datastar.app) as state:
        scope = {"state": state}
        async with open_stream(datastar.app, "/board", scope=scope) as stream:
            board.take(await receive(stream))
        await put(datastar.app, scope, 1, "one")
        await put(datastar.app, scope, 1, "two")
        board.patches.clear()
        if forgotten:
            board.last_event_id = "0123456789-1"
        async with open_stream(
            datastar.app, "/board", scope=scope, last_event_id=board.last_event_id
        ) as stream:
            for _ in range(1 if forgotten else 4):
                board.take(await receive(stream))
            await put(datastar.app, scope, 1, "three")
            board.take(await receive(stream))
    whole = '<div id="board"><p id="note-1">{}</p></div>'.format
    before = [whole("two")] if forgotten else [whole("one"), '<p id="note-1">two</p>']
    assert board.patches == [*before, '<p id="note-1">three</p>']


async def test_a_stream_to_share_is_the_same_whoever_asks_and_ends_after_it_is_stale():
    shared = recipe(SHARED)
    async with shared.lifespan(shared.app) as state:
        scope = {"state": state}
        for number in range(3):
            await state["hub"].publish("scores", number)
        last = await state["hub"].publish("scores", "last")
        bodies = []
        for last_event_id in (None, last):
            began = anyio.current_time()
            async with open_stream(
                shared.app, "/scores", scope=scope, last_event_id=last_event_id
            ) as stream:
                bodies.append(await read_events(stream))
                assert stream.complete
            lasted = anyio.current_time() - began
            assert shared.FRESH < lasted <= shared.LIFE
            assert stream.headers["cache-control"] == f"public, s-maxage={shared.FRESH}"
    assert [data for type, data in bodies[0] if type == "message"] == ["0", "1", "2", "last"]
    assert bodies[0] == bodies[1]


async def test_who_drops_what_it_knows_sees_each_event_of_shared_streams_once():
    shared, seen = recipe(SHARED), {}
    count = 4 * shared.LIFE
    async with (
        shared.lifespan(shared.app) as state,
        anyio.create_task_group() as group,
    ):

        async def publish():
            for number in range(count):
                await state["hub"].publish("scores", number)
                await anyio.sleep(1)

        group.start_soon(publish)
        while len(seen) < count:
            async with open_stream(shared.app, "/scores", scope={"state": state}) as stream:
                async for event in stream:
                    if event.type == "message":
                        seen.setdefault(event.last_event_id, event.data)
            await anyio.sleep(1)
    assert [*seen.values()] == [str(number) for number in range(count)]
