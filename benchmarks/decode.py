"""What decoding costs: ``python benchmarks/decode.py``, half a minute.

First a stream of 100 MB in pieces of 64 KiB, for the throughput, and the memory that the decoder
takes meanwhile. Then the worst that we can think of, each at a size and at twice that size: what
is linear takes twice the time, a ratio of 2.
"""

import time
import tracemalloc
from collections.abc import Iterable, Iterator

from trio_sse import EventStreamDecoder

SIZE = 100_000_000
PIECE = 65536
EVENT = b"id: 12345\r\ndata: " + b"x" * 97 + b"\r\n\r\n"  # 120 bytes

WORST_SIZE = 500_000
ROUNDS = 3


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    """Cut data into pieces."""
    return (data[start : start + size] for start in range(0, len(data), size))


def decode(chunks: Iterable[bytes]) -> int:
    """Decode a stream; return the number of events."""
    decoder = EventStreamDecoder(max_event_size=10 * SIZE)
    return sum(len(decoder.receive_data(chunk)) for chunk in chunks)


def seconds(chunks: Iterable[bytes]) -> float:
    """Return the seconds of CPU that it takes to decode a stream."""
    before = time.process_time()
    decode(chunks)
    return time.process_time() - before


def worst(size: int) -> dict[str, list[bytes]]:
    """Return the worst streams of a size."""
    return {
        "one huge line, in pieces": list(pieces(b"data: " + b"x" * size, PIECE)),
        "one huge line, byte by byte": list(pieces(b"data: " + b"x" * size, 1)),
        "events, byte by byte": list(pieces(EVENT * (size // len(EVENT)), 1)),
        "one event of empty lines of data": list(pieces(b"data\n" * (size // 5), PIECE)),
        "nothing but CR": list(pieces(b"\r" * size, PIECE)),
        "nothing but CR, byte by byte": list(pieces(b"\r" * size, 1)),
        "CR and LF, apart": [b"\r", b"\n"] * (size // 2),
    }


def main() -> None:
    """Measure, and print."""
    block = EVENT * (PIECE * 15 // len(EVENT))
    stream = [piece for _ in range(SIZE // len(block)) for piece in pieces(block, PIECE)]
    size = sum(map(len, stream))
    used = min(seconds(stream) for _ in range(ROUNDS))
    count = size // len(EVENT)
    print(f"{size / 1e6 / used:.0f} MB/s, {used / count * 1e6:.2f} us for an event of 120 bytes")
    tracemalloc.start()
    decode(stream)
    print(f"{tracemalloc.get_traced_memory()[1] / 1024:.0f} KiB at most")
    tracemalloc.stop()
    double = worst(2 * WORST_SIZE)
    for name, chunks in worst(WORST_SIZE).items():
        once, twice = (min(seconds(each) for _ in range(ROUNDS)) for each in (chunks, double[name]))
        print(f"{name:34} {once / WORST_SIZE * 1e9:6.1f} ns a byte, ratio {twice / once:.2f}")


if __name__ == "__main__":
    main()
