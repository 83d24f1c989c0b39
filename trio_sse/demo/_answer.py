"""A stream that comes to an end by itself: tokens, as from a language model."""

from random import uniform

import trio

from .. import (
    CloseReason,
    ConnectionLimit,
    EventSourceResponse,
    Hub,
    JSONServerSentEvent,
    ServerSentEvent,
)

# No model is asked: these are the tokens of each answer.
TOKENS = """\
A language model hands out its answer token by token, and an event stream brings each of them \
to the page as soon as it is there. The answer ends with an event of its own, so the page knows \
that it is complete, and closes the stream. If you press stop, the page closes it early: the \
server notices, cancels the producer at the very line where it waits for the next token, and \
nobody pays for words that nobody reads. Each token has an id. Drain the server in the middle \
of this answer, and it goes on after the last one that you have seen.""".split(" ")

# What a page may have seen last; 0 is for nothing.
IDS = frozenset(map(str, range(len(TOKENS) + 1)))

# Seconds between two tokens.
LEAST_PAUSE, LONGEST_PAUSE = 0.03, 0.13

RECONNECTION_TIME = 1000


class Answer:
    """One answer to one page.

    Args:
        hub: Where to tell how it ended.
        page: The name that the page has given itself.
        begin: How many tokens the page has seen before.
    """

    def __init__(self, hub: Hub, page: str, begin: int = 0) -> None:
        self._hub = hub
        self._page = page
        self._sent = begin

    def response(self, limit: ConnectionLimit) -> EventSourceResponse:
        """Return the stream, one of those that a limit counts."""
        return EventSourceResponse(
            self.produce, retry=RECONNECTION_TIME, limit=limit, on_close=self.ended
        )

    async def produce(self, send: trio.MemorySendChannel[ServerSentEvent]) -> None:
        """Send token after token, and then that there are no more."""
        for token in TOKENS[self._sent :]:
            await trio.sleep(uniform(LEAST_PAUSE, LONGEST_PAUSE))
            await send.send(ServerSentEvent(token, event="token", id=self._sent + 1))
            self._sent += 1
        await send.send(ServerSentEvent(event="done"))

    async def ended(self, reason: CloseReason) -> None:
        """Tell the page why the answer ended."""
        fields = {"page": self._page, "tokens": self._sent, "reason": reason.value}
        await self._hub.publish("answers", JSONServerSentEvent(fields, event="answers"))
