"""The engine on Redis keeps what the contract promises: the suite that all engines pass."""

from itertools import count

import pytest

from redis_server import RedisServer
from trio_sse.redis import RedisEngine
from trio_sse.testing import EngineSuite

pytestmark = pytest.mark.anyio

names = count()


class TestRedisEngine(EngineSuite):
    @pytest.fixture(autouse=True)
    def _use(self, redis: RedisServer) -> None:
        self.url = redis.url

    def make_engine(self) -> RedisEngine:
        return RedisEngine(self.url, name=f"guarantees {next(names)}")
