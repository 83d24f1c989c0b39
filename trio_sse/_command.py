"""The command that prints the events of a URL as they come."""

import argparse
import json
import os
import sys
from io import TextIOWrapper
from typing import cast

import trio

from ._decoder import MessageEvent
from ._event import ServerSentEvent
from .client import EventSource, EventSourceError, ReadyState, open_event_source

# What shells say of a program that Ctrl-C has ended.
INTERRUPTED = 130


def main() -> int:
    """Run the command, and return its exit status."""
    arguments = _parse()
    status = 0
    try:
        cast("TextIOWrapper", sys.stdout).reconfigure(encoding="utf-8")  # as the stream is
        trio.run(_print_events, arguments)
    except* KeyboardInterrupt:
        status = INTERRUPTED
    except* BrokenPipeError:  # nobody reads on; let the interpreter flush into nothing
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except* Exception as group:
        for error in group.exceptions:
            _say(_describe(error))
        status = 1
    return status


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m trio_sse",
        description="Print the events of a URL as they come; connect again when it ends.",
    )
    parser.add_argument("url", metavar="URL")
    parser.add_argument(
        "--header",
        metavar="'NAME: VALUE'",
        action="append",
        default=[],
        type=_header,
        help="a header to send; may be repeated",
    )
    parser.add_argument("--last-event-id", metavar="ID", default="", help="where to begin")
    parser.add_argument("--json", action="store_true", help="print each event as a line of JSON")
    return parser.parse_args()


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not (colon and name.strip()):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form 'NAME: VALUE'")
    return name.strip(), value.strip()


async def _print_events(arguments: argparse.Namespace) -> None:
    write = _as_json if arguments.json else _as_text
    async with open_event_source(
        arguments.url,
        headers=arguments.header,
        last_event_id=arguments.last_event_id,
        on_state=_say_state,
    ) as source:
        async for event in source:
            sys.stdout.write(write(event))
            sys.stdout.flush()


def _as_text(event: MessageEvent) -> str:
    name = None if event.type == "message" else event.type
    written = ServerSentEvent(event.data, event=name).encode("\n").decode()
    return f"id: {event.last_event_id}\n{written}" if event.last_event_id else written


def _as_json(event: MessageEvent) -> str:
    fields = {"type": event.type, "data": event.data, "last_event_id": event.last_event_id}
    return json.dumps(fields, ensure_ascii=False) + "\n"


def _say_state(source: EventSource) -> None:
    if source.state is ReadyState.CONNECTING:
        why = "the stream has ended" if source.last_error is None else _name(source.last_error)
        _say(f"{why}; connecting again in {source.delay:.1f} s")


def _describe(error: Exception) -> str:
    body = error.body.decode(errors="replace") if isinstance(error, EventSourceError) else ""
    return f"{_name(error)}\n{body}".rstrip()


def _name(error: BaseException) -> str:
    """Return what an error says, or what the one behind it does."""
    behind = error.__cause__ or error.__context__
    if str(error) or behind is None:
        return str(error) or type(error).__name__
    return _name(behind)


def _say(text: str) -> None:
    print(f"trio_sse: {text}", file=sys.stderr, flush=True)
