"""The package's own response, with what another library wants of it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from .._drain import DEFAULT_GRACE, run_streams
from .._response import EventSourceResponse
from .._runtime import Event
from .._supervisor import Stream
from ._status import AppStatus, told_to_exit


class NativeResponse(EventSourceResponse):
    """What a response is translated to when it is called."""

    def __init__(self, new_stream: Callable[..., Stream], *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._new_stream = new_stream
        self._source_options = replace(self._source_options, run_ahead=0)

    async def _serve(self, stream: Stream) -> None:
        with told_to_exit(cast("LeavingStream", stream).exit):
            await super()._serve(stream)


class LeavingStream(Stream):
    """A stream that has its own idea of how to leave."""

    def __init__(self, event: Event | None, grace: float, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._event = event
        self._grace = grace

    def stop_after(self, grace: float) -> None:
        """Stop for a shutdown, after the grace of the response, if that is to end it."""
        if not (AppStatus.enable_automatic_graceful_drain or AppStatus.should_exit):
            return
        if self._event is not None:
            self._event.set()
        self.waits_for_drain |= self._grace > 0
        super().stop_after(self._grace or grace)

    def exit(self) -> None:
        """Drain, since ``AppStatus.should_exit`` is set; not if that is heard of too late."""
        if self.reason is None:
            run_streams().begin_draining(DEFAULT_GRACE)
            self.stop_after(DEFAULT_GRACE)
