"""The metrics of streams and hubs, as an SDK of OpenTelemetry reads them."""

import subprocess
import sys
from types import SimpleNamespace

import anyio
import pytest

from fakes import FakeClient, serving
from hub.kit import publish_all, read_from, take_all
from trio_sse import EventSourceResponse, drain, open_hub

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from trio_sse.opentelemetry import OpenTelemetryInstrument

pytestmark = pytest.mark.anyio

# The names, kinds and units that dashboards are made of.
METRICS = {
    "trio_sse.stream.active": ("Sum", "{stream}"),
    "trio_sse.stream.duration": ("Histogram", "s"),
    "trio_sse.stream.time_to_first_byte": ("Histogram", "s"),
    "trio_sse.stream.closes": ("Sum", "{stream}"),
    "trio_sse.stream.drains": ("Sum", "{stream}"),
    "trio_sse.stream.events": ("Sum", "{event}"),
    "trio_sse.stream.io": ("Sum", "By"),
    "trio_sse.stream.pings": ("Sum", "{ping}"),
    "trio_sse.hub.events": ("Sum", "{event}"),
    "trio_sse.hub.resets": ("Sum", "{reset}"),
    "trio_sse.hub.lags": ("Sum", "{lag}"),
}


class Metrics:
    """A provider of its own, and what was measured."""

    def __init__(self):
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False)

    def instrument(self, **options):
        return OpenTelemetryInstrument(self.provider, **options)

    def read(self):
        """Return the metrics by their names."""
        data = self.reader.get_metrics_data()
        if data is None:
            return {}
        [resource] = data.resource_metrics
        [scope] = resource.scope_metrics
        assert scope.scope.name == "trio_sse"
        return {metric.name: metric for metric in scope.metrics}

    def points(self, name):
        """Return (attributes, point) for each set of attributes of a metric."""
        metric = self.read().get(f"trio_sse.{name}")
        points = [] if metric is None else metric.data.data_points
        return [(dict(point.attributes), point) for point in points]

    def counts(self, name):
        """Return what was counted of a metric by its only attribute, or in all."""
        counted = {}
        for attributes, point in self.points(name):
            [key] = attributes.values() or [None]
            counted[key] = point.value
        return counted


@pytest.fixture
def metrics():
    return Metrics()


async def slow(send):
    await anyio.sleep(2)
    await send.send("a")
    await send.send({"data": "b\nb", "event": "e"})
    await anyio.sleep(20)


async def test_each_metric_has_its_name_its_kind_and_its_unit(metrics):
    instrument = metrics.instrument()
    client = FakeClient()
    async with serving(client, EventSourceResponse(slow, instrument=instrument)):
        await anyio.sleep(20)
        await drain()
    async with open_hub(max_events=1, instrument=instrument) as hub:
        async with hub.subscribe("a") as subscription:
            await publish_all(hub, "a", "123")
            await take_all(subscription)
    read = metrics.read()
    assert {
        name: (type(metric.data).__name__, metric.unit) for name, metric in read.items()
    } == METRICS
    assert all(metric.description for metric in read.values())


async def test_what_a_stream_sends_is_counted(metrics):
    client = FakeClient()
    await client.call(EventSourceResponse(slow, instrument=metrics.instrument()))
    sizes = [len(chunk) for chunk in client.chunks]
    assert metrics.counts("stream.events") == {None: 2}
    assert metrics.counts("stream.pings") == {None: 1}
    assert metrics.counts("stream.io") == {None: sum(sizes) - len(b": ping\r\n\r\n")}
    assert metrics.counts("stream.drains") == {}


async def test_how_long_a_stream_was_and_its_first_byte_took_is_measured(metrics):
    await FakeClient().call(EventSourceResponse(slow, instrument=metrics.instrument()))
    [(attributes, duration)] = metrics.points("stream.duration")
    assert attributes == {"trio_sse.close_reason": "completed"}
    assert (duration.count, duration.sum) == (1, pytest.approx(22))
    [(attributes, first)] = metrics.points("stream.time_to_first_byte")
    assert attributes == {}
    assert (first.count, first.sum) == (1, pytest.approx(2))


async def test_the_histograms_have_buckets_of_the_size_of_what_they_measure(metrics):
    await FakeClient().call(EventSourceResponse(slow, instrument=metrics.instrument()))
    [(_, duration)] = metrics.points("stream.duration")
    [(_, first)] = metrics.points("stream.time_to_first_byte")
    assert (min(first.explicit_bounds), max(first.explicit_bounds)) == (0.005, 10)
    assert (min(duration.explicit_bounds), max(duration.explicit_bounds)) == (0.1, 86400)


async def test_a_stream_is_active_until_it_is_closed(metrics):
    instrument = metrics.instrument()
    clients = [FakeClient(), FakeClient()]
    async with anyio.create_task_group() as group:
        for client in clients:
            response = EventSourceResponse(slow, instrument=instrument)
            group.start_soon(client.call, response)
        await anyio.sleep(5)
        assert metrics.counts("stream.active") == {None: 2}
        clients[0].disconnect()
        await anyio.sleep(1)
        assert metrics.counts("stream.active") == {None: 1}
    assert metrics.counts("stream.active") == {None: 0}
    assert metrics.counts("stream.closes") == {"client_disconnected": 1, "completed": 1}


async def test_streams_that_are_drained_are_counted(metrics):
    instrument, client = metrics.instrument(), FakeClient()
    async with serving(client, EventSourceResponse(slow, instrument=instrument)):
        await anyio.sleep(1)
        await drain()
    assert metrics.counts("stream.drains") == {None: 1}
    assert metrics.counts("stream.closes") == {"shutdown": 1}
    assert metrics.points("stream.time_to_first_byte") == []


async def test_what_a_hub_does_is_counted(metrics):
    async with open_hub(max_events=3, instrument=metrics.instrument()) as hub:
        async with hub.subscribe("a") as subscription:
            await publish_all(hub, "a", "12345")
            await take_all(subscription)
        for last_event_id in ("?", "?", "other-1"):
            await read_from(hub, "a", last_event_id=last_event_id)
    assert metrics.counts("hub.events") == {None: 5}
    assert metrics.counts("hub.lags") == {None: 1}
    assert metrics.counts("hub.resets") == {"lagged": 1, "unknown": 2, "restarted": 1}


async def test_streams_are_told_apart_by_the_attributes_of_their_instruments(metrics, caplog):
    for route, count in (("/a", 1), ("/b", 2)):
        instrument = metrics.instrument(attributes={"http.route": route})
        for _ in range(count):
            await FakeClient().call(EventSourceResponse(["x"], instrument=instrument))
    assert metrics.counts("stream.active") == {"/a": 0, "/b": 0}
    assert metrics.counts("stream.events") == {"/a": 1, "/b": 2}
    assert [attributes for attributes, _ in metrics.points("stream.closes")] == [
        {"http.route": route, "trio_sse.close_reason": "completed"} for route in ("/a", "/b")
    ]
    assert caplog.text == ""


async def test_nothing_of_a_request_or_an_event_becomes_an_attribute(metrics):
    instrument = metrics.instrument()
    for n in range(3):
        client = FakeClient()
        client.scope["path"] = f"/{n}"
        await client.call(EventSourceResponse([{"data": n, "id": n}], instrument=instrument))
    async with open_hub(instrument=instrument) as hub:
        for n in range(3):
            await hub.publish(f"topic/{n}", "x")
    for name, metric in metrics.read().items():
        assert len(metric.data.data_points) == 1, name


GLOBAL = """
from opentelemetry.metrics import set_meter_provider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from trio_sse.opentelemetry import OpenTelemetryInstrument

instrument = OpenTelemetryInstrument()
reader = InMemoryMetricReader()
set_meter_provider(MeterProvider([reader]))
instrument.published("topic", None)
[metric] = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
print(metric.name)
"""


def test_the_global_provider_is_the_default_even_if_it_is_set_later():
    run = subprocess.run([sys.executable, "-c", GLOBAL], capture_output=True, text=True, check=True)
    assert run.stdout == "trio_sse.hub.events\n"


async def test_without_an_sdk_it_does_nothing():
    client = FakeClient()
    await client.call(EventSourceResponse(["x"], instrument=OpenTelemetryInstrument()))
    assert client.complete


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"meter_provider": SimpleNamespace()}, "meter_provider must be MeterProvider, not Simple"),
        ({"attributes": [("a", "b")]}, "attributes must be Mapping, not list"),
    ],
)
def test_an_argument_of_another_type_is_refused(options, said):
    with pytest.raises(TypeError, match=said):
        OpenTelemetryInstrument(**options)
