"""One hub in many processes: the engine that keeps its events in Redis."""

from ._engine import RedisEngine as RedisEngine
from ._scripts import PUBLISH as _PUBLISH

PUBLISH_SCRIPT: str = _PUBLISH.text
"""The script that adds events, for programs in other languages."""

__all__ = ["PUBLISH_SCRIPT", "RedisEngine"]

RedisEngine.__module__ = __name__
