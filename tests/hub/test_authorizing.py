"""Asking whether a subscription may be had."""

import anyio
import pytest

from trio_sse import (
    AccessDeniedError,
    open_hub,
)

from .kit import raises, take_all

pytestmark = pytest.mark.anyio


async def test_authorize_is_asked_with_the_topics_before_anything_else():
    asked = []

    async def authorize(topics):
        asked.append((topics, hub.statistics().subscribers))
        await anyio.sleep(1)
        return True

    async with open_hub() as hub:
        reader = hub.subscribe("b", "a", "b", authorize=authorize)
        assert asked == []
        async with reader:
            await hub.publish("a", "1")
            assert await take_all(reader) == ["<ready>", "1"]
    assert asked == [(("b", "a"), 1)]


async def test_who_may_not_gets_nothing_and_leaves_nothing():
    async def authorize(topics):
        return False

    async with open_hub() as hub:
        with pytest.raises(AccessDeniedError, match="authorize has refused"):
            async with hub.subscribe("a", authorize=authorize):
                pass
        assert hub.statistics().subscribers == 0


async def test_what_authorize_raises_leaves_as_itself():
    error = LookupError("mine")

    async def authorize(topics):
        raise error

    async with open_hub() as hub:
        with pytest.raises(LookupError) as caught:
            async with hub.subscribe("a", authorize=authorize):
                pass
        assert caught.value is error
        assert hub.statistics().subscribers == 0


@pytest.mark.parametrize("answer", [None, 1, 0, "yes", []], ids=repr)
async def test_an_answer_that_is_no_bool_is_refused(answer):
    async def authorize(topics):
        return answer

    async with open_hub() as hub:
        with pytest.raises(TypeError, match="authorize must return True or False, not"):
            async with hub.subscribe("a", authorize=authorize):
                pass


async def test_an_authorize_that_is_not_async_is_refused():
    async with open_hub() as hub:
        with pytest.raises(TypeError, match="authorize must be an async function"):
            async with hub.subscribe("a", authorize=lambda topics: True):
                pass


async def test_entering_can_be_cancelled_and_leaves_nothing():
    async def authorize(topics):
        await anyio.sleep_forever()

    async with open_hub() as hub:
        for asked in (None, authorize):
            with anyio.move_on_after(0 if asked is None else 1) as scope:
                async with hub.subscribe("a", key=1, authorize=asked):
                    pass
            assert scope.cancelled_caught
            assert hub.statistics().subscribers == 0
            assert hub.revoke(key=1) == 0


@pytest.mark.parametrize("answer", [False, LookupError])
async def test_who_is_refused_leaves_no_topic_behind(answer):
    async def authorize(topics):
        if answer is LookupError:
            raise answer
        return answer

    async with open_hub() as hub:
        with pytest.raises((AccessDeniedError, LookupError)):
            async with hub.subscribe("made up", authorize=authorize):
                pass
        assert hub.statistics().topics == 0


async def test_leaving_while_it_is_being_authorized_leaves_nothing_behind():
    async def authorize(topics):
        await anyio.sleep(10)
        return True

    async with open_hub(max_age=1) as hub, anyio.create_task_group() as group:
        subscription = hub.subscribe("a", authorize=authorize, key=1)

        @group.start_soon
        async def enter():
            with raises("ClosedResourceError", match="the subscription is closed"):
                await subscription.__aenter__()

        await anyio.sleep(5)
        await subscription.__aexit__(None, None, None)
        assert hub.statistics().subscribers == 0
        await anyio.sleep(10)
        assert (hub.statistics().topics, hub.revoke(key=1)) == (0, 0)
