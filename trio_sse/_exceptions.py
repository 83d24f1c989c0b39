"""What this package raises beside the built-in exceptions and those of the runtime."""

from typing import Literal


class SendTimeoutError(TimeoutError):
    """A client took longer than ``send_timeout`` seconds to take what was sent to it.

    A slow client is no error of the server, so a response ends quietly with
    `CloseReason.SEND_TIMEOUT`. That of `trio_sse.compat` raises this in the end, since
    that is what its users know.
    """


class EncodeError(ValueError):
    """An item that a stream was given cannot be written as an event.

    The message names the type of the item; ``__cause__`` is what went wrong.
    It ends the stream that the item was sent to, and only that one.
    """


class EventTooLargeError(ValueError):
    """An event being decoded has outgrown ``max_event_size`` bytes.

    The decoder that raised it stays failed: what follows in the stream can no
    longer be told apart from the event that was given up.
    """


class AccessDeniedError(PermissionError):
    """``authorize`` has refused a subscription, or it was revoked while that was asked.

    A response answers it with 403. To answer otherwise, 401 for one, let ``authorize``
    raise Starlette's ``HTTPException``.
    """


class PublishError(Exception):
    """An event was not accepted within the time that an engine has for it.

    Args:
        message: What has happened.
        outcome: ``"not_sent"`` if the event is not published, and will not be; ``"unknown"``
            if it may be, since it was sent and no answer has come.
    """

    outcome: Literal["not_sent", "unknown"]

    def __init__(self, message: str, outcome: Literal["not_sent", "unknown"]) -> None:
        super().__init__(message, outcome)
        self.outcome = outcome

    def __str__(self) -> str:
        """Return the message."""
        return str(self.args[0])
