"""What this package raises beside the built-in exceptions and those of the runtime."""


class SendTimeoutError(TimeoutError):
    """A client took longer than ``send_timeout`` seconds to take what was sent to it.

    A slow client is no error of the server, so a response ends quietly with
    `CloseReason.SEND_TIMEOUT` and this exception stays inside of it; code that
    drives a stream by other means meets it.
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
