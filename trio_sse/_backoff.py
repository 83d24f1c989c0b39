"""Spreading moments, so that many clients do not act at the same one."""

import random

# What browsers use when no stream told them otherwise.
DEFAULT_RECONNECTION_TIME = 3000

# A third up or down keeps the mean and turns one second of reconnecting clients
# into most of one.
SPREAD = 1 / 3


def spread_reconnection_time(milliseconds: int | None) -> int:
    """Return a reconnection time at random around the one given, or the default."""
    middle = DEFAULT_RECONNECTION_TIME if milliseconds is None else milliseconds
    return round(middle * random.uniform(1 - SPREAD, 1 + SPREAD))


def shorten(seconds: float) -> float:
    """Return a time at random in the last tenth before ``seconds``, never after it."""
    return seconds * random.uniform(0.9, 1)


def backoff(failures: int, first: float, most: float) -> float:
    """Return how many seconds to wait after so many failures in a row: at random, doubled, bounded.

    Args:
        failures: How many; at least 1.
        first: The longest time after the first.
        most: The longest of all.
    """
    return random.uniform(0, min(first * 2.0 ** min(failures - 1, 100), most))
