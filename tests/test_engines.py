"""The engines keep what the contract promises; each is run through the whole suite."""

from contextlib import asynccontextmanager
from functools import partial

import anyio
import pytest

from trio_sse import MemoryEngine, open_hub
from trio_sse.testing import EngineSuite

pytestmark = pytest.mark.anyio


class TestMemoryEngine(EngineSuite):
    def make_engine(self):
        return MemoryEngine()

    async def test_it_serves_one_hub_once(self):
        engine = self.make_engine()
        async with open_hub(engine=engine):
            pass
        with pytest.raises(RuntimeError, match="once"):
            async with open_hub(engine=engine):
                pass


async def test_the_suite_sees_an_engine_that_loses_what_is_published():
    class Losing(MemoryEngine):
        async def publish(self, topic, event):
            self._sink.lost(await super().publish(topic, event))

    class Suite(EngineSuite):
        def make_engine(self):
            return Losing()

    with pytest.raises(ExceptionGroup) as raised:
        await Suite().test_each_event_is_delivered_once_with_a_growing_position()
    assert raised.group_contains(AssertionError, match="is lost")


async def test_the_suite_waits_for_an_engine_that_delivers_later_than_it_accepts():
    class Late(MemoryEngine):
        @asynccontextmanager
        async def open(self, sink):
            async with anyio.create_task_group() as group, super().open(sink):
                deliver, self._sink = sink.deliver, self
                self.deliver = partial(group.start_soon, self.deliver_later, deliver)
                yield

        async def deliver_later(self, deliver, record):
            await anyio.sleep(record.position)
            deliver(record)

    class Suite(EngineSuite):
        def make_engine(self):
            return Late()

    await Suite().test_each_event_is_delivered_once_with_a_growing_position()


def test_the_suite_says_what_a_subclass_must_define():
    with pytest.raises(NotImplementedError):
        EngineSuite().make_engine()
