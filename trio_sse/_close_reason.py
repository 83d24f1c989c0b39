"""Why a stream ended."""

import enum


class CloseReason(enum.Enum):
    """The first cause to end a stream, as ``on_close`` and an `Instrument` are told it.

    More members may come in later versions: handle what you do not know.
    """

    COMPLETED = "completed"
    """The source came to its end, and the client was sent a complete body."""
    CLIENT_DISCONNECTED = "client_disconnected"
    """The client went away."""
    SEND_TIMEOUT = "send_timeout"
    """The client did not take what was sent to it within ``send_timeout``."""
    SHUTDOWN = "shutdown"
    """The server is draining."""
    EXPIRED = "expired"
    """The stream reached its ``max_age``."""
    REVOKED = "revoked"
    """The right to the stream was withdrawn while it ran."""
    LAGGED = "lagged"
    """The client fell behind what the hub keeps, and its subscription ends for that."""
    OVERLOADED = "overloaded"
    """A `ConnectionLimit` was reached: the stream was refused."""
    ERROR = "error"
    """The source raised, or an item could not be encoded."""
    CANCELLED = "cancelled"
    """A cancel scope around the response was cancelled."""
