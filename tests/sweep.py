"""The cancellation sweep: something happens before each single step of a stream."""

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Any

import anyio
import anyio.lowlevel
import trio
from starlette.exceptions import HTTPException

from fakes import FakeClient
from stepping import Steps, counted
from trio_sse import CloseReason, EventSourceResponse, Hub, ServerSentEvent, drain
from trio_sse.testing._leaks import living_tasks

MOST_STEPS = 1000
FAREWELL = ServerSentEvent("bye", event="farewell")
PING = b": ping\r\n\r\n"
VISITOR = "visitor"
"""The key that `Revoke` revokes."""


async def nothing_beside(stage, *, task_status):
    task_status.started()


class Stage:
    """What one stream of a sweep is made of, and what must be over when it is.

    Args:
        content: Makes the content, given this object.
        options: More arguments of the response.
        slow: Seconds that each send takes.
        send_timeout: Seconds that it may take.
        server: Makes what the response is called with.
        beside: Runs beside the stream, which begins when it has started, and may end it.
    """

    hub: Hub

    def __init__(
        self,
        content: Callable[["Stage"], Any],
        options: Callable[["Stage"], dict[str, Any]] = lambda stage: {},
        slow: float = 0.1,
        send_timeout: float = 50,
        server: Callable[..., FakeClient] = FakeClient,
        beside: Callable[..., Any] = nothing_beside,
    ) -> None:
        self.open: list[str] = []
        self.taken: list[Callable[[], int]] = []  # how much is taken of what is shared
        self.beside = beside
        self.reasons: list[CloseReason] = []
        self.client = server(slow=slow)
        self.settled: Callable[[], Any] = anyio.lowlevel.checkpoint
        self._send_timeout = send_timeout
        self._content = content
        self._options = options

    def opens(self, name: str) -> None:
        """Note that something is open now; closes() must be called for it."""
        self.open.append(name)

    def closes(self, name: str) -> None:
        self.open.remove(name)

    async def on_close(self, reason: CloseReason) -> None:
        await anyio.lowlevel.checkpoint()
        self.reasons.append(reason)

    def response(self) -> EventSourceResponse:
        return EventSourceResponse(
            self._content(self),
            send_timeout=self._send_timeout,
            on_close=self.on_close,
            farewell=FAREWELL,
            **self._options(self),
        )


class Injection:
    """One thing that happens to a stream; subclasses say what, and what must follow."""

    def inject(self, run: "Run") -> None:
        """Happen, synchronously, before a step."""
        raise NotImplementedError

    def check(self, run: "Run", whole: bytes) -> None:
        """Check what is particular to this injection."""
        raise NotImplementedError


class Run:
    """One run of one stream in an event loop of its own."""

    def __init__(self, stage: Callable[[], Stage], injection: Injection, at: int) -> None:
        self._make_stage = stage
        self._injection = injection
        self.steps = Steps(at, lambda: injection.inject(self))
        self.host: asyncio.Task[Any] | None = None
        self.raised: BaseException | None = None

    async def main(self) -> None:
        runtime = "trio" if trio.lowlevel.in_trio_run() else "asyncio"
        self.stage = self._make_stage()
        self.scope = anyio.CancelScope()
        self.wants_drain = anyio.Event()
        self.drained = anyio.Event()
        with self.steps.counting(runtime):
            async with anyio.create_task_group() as group:
                group.start_soon(self._drain)
                await group.start(self.stage.beside, self.stage)
                tasks = living_tasks()
                token = counted.set(True)
                self._over = anyio.Event()
                group.start_soon(self._serve)
                counted.reset(token)
                await self._over.wait()
                await self.stage.settled()
                if self.wants_drain.is_set():
                    await self.drained.wait()
                assert living_tasks() <= tasks, "a task is left"
                assert not any(taken() for taken in self.stage.taken), "a place was kept"
                group.cancel_scope.cancel()

    async def _serve(self) -> None:
        if not trio.lowlevel.in_trio_run():
            self.host = asyncio.current_task()
        try:
            with self.scope:
                await self.stage.client.call(self.stage.response())
        except BaseException as error:
            self.raised = error
        finally:
            self._over.set()

    async def _drain(self) -> None:
        await self.wants_drain.wait()
        await drain(grace=1)
        self.drained.set()

    def check(self, whole: bytes) -> None:
        assert self.stage.open == [], "something was left open"
        assert len(self.stage.reasons) == 1, "on_close was not called once"
        client = self.stage.client
        if client.complete:
            assert not client.broken, "the connection of a whole stream was broken"
        elif client.frozen.is_set():
            assert client.broken is not False, "the connection of a stuck client was left to it"
        self._injection.check(self, whole)


class Cancel(Injection):
    """A scope around the response is cancelled."""

    def inject(self, run):
        run.scope.cancel()

    def check(self, run, whole):
        assert run.raised is None
        assert whole.startswith(run.stage.client.body)
        assert run.stage.reasons[0] in (CloseReason.CANCELLED, CloseReason.COMPLETED)
        if run.stage.reasons[0] is CloseReason.COMPLETED:
            assert run.stage.client.complete


class NativeCancel(Injection):
    """asyncio's own ``Task.cancel()`` hits the task that serves the response."""

    def inject(self, run):
        if run.host is not None:  # the response has been called
            run.host.cancel()

    def check(self, run, whole):
        assert isinstance(run.raised, asyncio.CancelledError | None)
        assert whole.startswith(run.stage.client.body)
        assert run.stage.reasons[0] in (CloseReason.CANCELLED, CloseReason.COMPLETED)


class Disconnect(Injection):
    """The client goes away."""

    def inject(self, run):
        run.stage.client.disconnect()

    def check(self, run, whole):
        assert run.raised is None
        assert whole.startswith(run.stage.client.body)
        expected = (
            CloseReason.COMPLETED if run.stage.client.complete else CloseReason.CLIENT_DISCONNECTED
        )
        assert run.stage.reasons == [expected]


class Drain(Injection):
    """The server drains."""

    def inject(self, run):
        run.wants_drain.set()

    def check(self, run, whole):
        assert run.raised is None
        assert run.stage.client.complete
        body = run.stage.client.body
        if run.stage.reasons == [CloseReason.COMPLETED]:
            assert body == whole
            return
        assert run.stage.reasons == [CloseReason.SHUTDOWN]
        if body.startswith(b"retry: "):  # drained before the response was called
            assert body.count(b"\r\n\r\n") == 1
            return
        sent, marker, rest = body.partition(b"event: farewell\r\ndata: bye\r\nretry: ")
        assert marker
        assert rest.endswith(b"\r\n\r\n")
        # A ping may come while the producer cleans up.
        assert whole.replace(PING, b"").startswith(sent.replace(PING, b""))


class Freeze(Injection):
    """From now on the client takes nothing: the next send never returns."""

    def inject(self, run):
        run.stage.client.freeze_at = run.stage.client.sends

    def check(self, run, whole):
        assert run.raised is None
        assert whole.startswith(run.stage.client.body)
        expected = CloseReason.COMPLETED if run.stage.client.complete else CloseReason.SEND_TIMEOUT
        assert run.stage.reasons == [expected]


class Revoke(Injection):
    """The hub withdraws the right to the subscription that is the content."""

    def inject(self, run):
        run.stage.hub.revoke(key=VISITOR)

    def check(self, run, whole):
        client, [reason] = run.stage.client, run.stage.reasons
        if reason is CloseReason.ERROR:  # it was being entered
            assert isinstance(run.raised, HTTPException)
            assert run.raised.status_code == 403
            assert client.messages == []
            return
        assert run.raised is None
        assert client.complete
        if reason is CloseReason.COMPLETED:
            assert client.body == whole
            return
        assert reason is CloseReason.REVOKED
        assert whole.startswith(client.body[: client.body.rindex(b"id: ")])
        *seen, last = client.events
        assert last.type == "revoked"
        assert last.last_event_id == (seen or [last])[-1].last_event_id


def sweep(
    stage: Callable[[], Stage],
    injection: Injection,
    run: Callable[[Callable[[], Any]], None],
) -> int:
    """Inject before step 1, 2, 3 ... until the stream completes untouched.

    Returns the number of steps of the untouched stream.
    """
    untouched = Run(stage, injection, at=-1)
    run(untouched.main)
    whole = untouched.stage.client.body
    assert untouched.stage.client.complete
    assert untouched.stage.reasons == [CloseReason.COMPLETED]
    for n in count(1):
        assert n < MOST_STEPS, "the stream never completes"
        attempt = Run(stage, injection, at=n)
        run(attempt.main)
        try:
            attempt.check(whole)
        except BaseException as error:
            error.add_note(f"injected before step {n}, {attempt.stage.reasons}")
            raise
        if not attempt.steps.acted:
            return n
    raise AssertionError
