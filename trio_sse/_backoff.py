"""Spreading moments, so that many clients do not act at the same one."""

import random

# A third up or down keeps the mean and turns one second of reconnecting clients
# into most of one.
SPREAD = 1 / 3


def spread_milliseconds(milliseconds: int) -> int:
    """Return a reconnection time at random around ``milliseconds``."""
    return round(milliseconds * random.uniform(1 - SPREAD, 1 + SPREAD))


def shorten(seconds: float) -> float:
    """Return a time at random in the last tenth before ``seconds``, never after it."""
    return seconds * random.uniform(0.9, 1)
