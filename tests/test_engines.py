"""The engines keep what the contract promises; each is run through the whole suite."""

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


def test_the_suite_says_what_a_subclass_must_define():
    with pytest.raises(NotImplementedError):
        EngineSuite().make_engine()
