"""What a client raises beside the errors of its HTTP library."""


class EventSourceError(Exception):
    """A server has answered, but not with an event stream: WHATWG HTML, section 9.2.3.

    Args:
        message: What is wrong with the answer.
        status: Its status.
        url: What was asked, without a password.
        body: The first kilobyte of its body, or what of that came within a second.
        retry_after: Seconds that the server asks to wait, or None.
    """

    def __init__(
        self,
        message: str,
        status: int,
        url: str,
        body: bytes = b"",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, status, url, body, retry_after)  # by which it can be copied
        self.message = message
        self.status = status
        self.url = url
        self.body = body
        self.retry_after = retry_after

    def __str__(self) -> str:
        """Say what is wrong, and where."""
        return f"{self.message}: {self.status} from {self.url}"


class StallError(TimeoutError):
    """Nothing has come from a server for ``stall_timeout`` seconds, not even a comment."""
