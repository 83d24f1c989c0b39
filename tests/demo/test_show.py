"""What is shown, whichever server there is to tell of it."""

import pytest
import trio

from .kit import receive, shown, virtual_time

pytestmark = [pytest.mark.anyio, virtual_time]


async def test_numbers_are_published_one_after_the_other_about_twenty_a_second():
    async with shown() as (show, _), show.hub.subscribe("numbers") as numbers:
        first = await receive(numbers, "numbers")
        for number in range(first["number"] + 1, first["number"] + 100):
            last = await receive(numbers, "numbers")
            assert last["number"] == number
            assert last["at"] == pytest.approx(trio.current_time(), abs=0.001)
        assert 3 < last["at"] - first["at"] < 7


async def test_measures_are_published_twice_a_second_of_what_is_delivered_and_to_how_many():
    async with shown() as (show, _), show.hub.subscribe("numbers", "measures") as subscription:
        show.begin_server()
        show.meter.opened({})
        began, numbers = trio.current_time(), 0
        for n in range(1, 5):
            received = 0
            while (event := await subscription.receive()).event != "measures":
                numbers += event.event == "numbers"
                received += event.event == "numbers"
            assert trio.current_time() - began == pytest.approx(n / 2)
        latest = show.snapshot.shown["measures"][-1]
        assert latest["at"] == 2
        assert latest["clients"] == 1
        assert latest["server"] == 1
        assert latest["rate"] == pytest.approx(2 * (received + 1), abs=2.1)  # the measure before
        assert numbers > 20


async def test_a_stream_that_is_closed_counts_no_more():
    async with shown() as (show, _):
        show.meter.opened({})
        show.meter.opened({})
        show.meter.closed({}, None)
        assert show.meter.clients == 1


async def test_the_snapshot_has_the_latest_of_the_feed_and_the_id_to_go_on_after():
    async with shown() as (show, _):
        for n in range(30):
            id_ = await show.hub.publish("feed", str(n))
        assert [*show.snapshot.shown["feed"]] == [*range(10, 30)]
        assert show.snapshot.last_event_id == id_


async def test_the_snapshot_has_the_measures_of_a_minute():
    async with shown() as (show, _):
        await trio.sleep(100.2)
        moments = [measures["at"] for measures in show.snapshot.shown["measures"]]
        assert moments == pytest.approx([n / 2 for n in range(81, 201)])


async def test_a_server_that_drains_makes_room_for_the_next_and_one_that_leaves_does_not():
    async with shown() as (show, _):
        show.begin_server()
        first = show.told
        show.drain()
        assert first.is_set()
        assert not show.leaving
        show.begin_server()
        assert show.server == 2
        assert not show.told.is_set()
        show.leave()
        assert show.told.is_set()
        assert show.leaving
