"""The grammar of an event stream: WHATWG HTML, section 9.2.5.

Ground that both directions stand on: what ends a line, what ends an event, and
what text a field can carry.
"""

# end-of-line = ( cr lf / cr / lf )
LINE_ENDINGS = ("\r\n", "\r", "\n")
DEFAULT_SEPARATOR = "\r\n"

# An event ends with an empty line, that is with two line endings in a row. CRLF
# is one line ending, not two, so it is absent here; CR CRLF and CRLF CRLF both
# show as an ending below.
EVENT_ENDINGS = (b"\n\n", b"\r\r", b"\n\r", b"\n\r\n", b"\r\r\n")
LONGEST_EVENT_ENDING = 3

# Long enough for any path or pair of UUIDs; short beside an event.
LONGEST_TOPIC = 512

# stream = [ bom ] *event: one leading byte order mark is not part of the stream.
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

# The fetch standard strips these from a header's value, and h11 and others
# refuse the rest of C0: an id with one could never come back in Last-Event-ID.
_CONTROLS = frozenset(map(chr, [*range(0x20), 0x7F]))


def check_separator(sep: str) -> None:
    """Refuse a line separator that would not end a line."""
    if sep not in LINE_ENDINGS:
        raise ValueError(f"sep must be one of '\\r\\n', '\\r' and '\\n', not {sep!r}")


def check_utf8(field: str, text: str) -> None:
    """Refuse text that an event stream, which is always UTF-8, cannot carry."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"{field} holds a lone surrogate at position {error.start}, "
                "which UTF-8 cannot carry"
            ) from None


def check_one_line(field: str, text: str) -> None:
    """Refuse a line break where the grammar has one line: it would inject a field."""
    if not text.isprintable():  # what is holds no line break, and no surrogate
        if "\n" in text or "\r" in text:
            raise ValueError(f"{field} must not hold CR or LF: {text!r}")
        check_utf8(field, text)


def check_id(text: str) -> None:
    """Refuse an id that no client could send back in ``Last-Event-ID``."""
    if not text.isprintable():  # what is holds no control character either
        check_one_line("id", text)
        if not _CONTROLS.isdisjoint(text):
            raise ValueError(
                f"id must not hold control characters, which a client cannot send back: {text!r}"
            )
    if text != text.strip():
        raise ValueError(
            f"id must not begin or end with white space, which a client would lose: {text!r}"
        )


def check_event_name(name: str, value: object) -> None:
    """Refuse what no listener can be registered for."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be str, the name of an event, not {type(value).__name__}")
    if not value:
        raise ValueError(f"{name} must not be empty: it is the name of an event")
    check_one_line(name, value)


def check_topic(topic: object) -> None:
    """Refuse what cannot be the topic of a hub: a line of text, of up to 512 bytes."""
    if not isinstance(topic, str):
        raise TypeError(f"topic must be str, not {type(topic).__name__}")
    if not topic:
        raise ValueError("topic must not be empty")
    check_one_line("topic", topic)
    if "\0" in topic:
        raise ValueError(f"topic must not hold NUL: {topic!r}")
    if len(topic.encode()) > LONGEST_TOPIC:
        raise ValueError(f"topic must not be longer than {LONGEST_TOPIC} bytes: {topic[:40]!r}...")


def split_lines(text: str) -> list[str]:
    """Split at CRLF, CR and LF, and at nothing else that Unicode calls a line break."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.split("\n")
