"""What a client raises beside the errors of its HTTP library."""


class EventSourceError(Exception):
    """A server has answered, but not with an event stream: WHATWG HTML, section 9.2.3.

    Args:
        message: What is wrong with the answer.
        status: Its status.
        url: What was asked.
        body: The first kilobyte of its body, or what of that came within a second.
        retry_after: Seconds that the server asks to wait, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        url: str,
        body: bytes = b"",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{message}: {status} from {url}")
        self.status = status
        self.url = url
        self.body = body
        self.retry_after = retry_after


class StallError(TimeoutError):
    """Nothing has come from a server for ``stall_timeout`` seconds, not even a comment."""
