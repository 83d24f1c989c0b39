"""The log of a hub: what is kept, exactly, what is dropped, and what is known of either.

A log has no clock and waits for nothing, so these tests say what time it is.
"""

import gc
import itertools
import random
import tracemalloc
import weakref
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trio_sse import Record, ServerSentEvent
from trio_sse._history import (
    DEFAULT_MAX_AGE,
    DEFAULT_MAX_BYTES,
    DEFAULT_MAX_EVENTS,
    DEFAULT_MAX_IDLE_TOPICS,
    Bounds,
    Log,
)

MANY = 10**9
EVENT = ServerSentEvent("x")

# What the log itself needs for a topic with one event: the event, its text and the name of
# the topic not counted.
BYTES_PER_TOPIC = 512


def log_of(*, max_events=MANY, max_bytes=MANY, max_age=MANY, max_idle_topics=MANY, start=0):
    return Log(Bounds(max_events, max_bytes, max_age, max_idle_topics), start)


def fill(log, topics, *, now=0.0, size=1):
    """Append an event for each topic, in order; return the positions."""
    positions = []
    for topic in topics:
        log.append(Record(log.head + 1, topic, EVENT), size, now)
        positions.append(log.head)
    return positions


def positions_after(log, topics, position=0):
    return [record.position for record in log.after(topics, position)]


# --- bounds -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["max_events", "max_bytes"])
@pytest.mark.parametrize("value", [0, -1])
def test_a_log_of_nothing_is_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be 1 or more, not {value}"):
        Bounds(**{"max_events": 1, "max_bytes": 1, "max_age": 1, name: value})


@pytest.mark.parametrize("name", ["max_events", "max_bytes"])
@pytest.mark.parametrize("value", [True, 1.0, "1", None, float("inf")])
def test_a_bound_that_is_no_int_is_refused(name, value):
    with pytest.raises(TypeError, match=f"{name} must be int, not {type(value).__name__}"):
        Bounds(**{"max_events": 1, "max_bytes": 1, "max_age": 1, name: value})


@pytest.mark.parametrize("value", [0, 0.0, -1, float("inf"), float("nan")])
def test_an_age_that_does_not_bound_is_refused(value):
    with pytest.raises(ValueError, match="max_age must be a finite number of seconds, greater"):
        Bounds(1, 1, value)


@pytest.mark.parametrize("value", [True, "1", None])
def test_an_age_that_is_no_number_is_refused(value):
    with pytest.raises(TypeError, match="max_age must be a number of seconds"):
        Bounds(1, 1, value)


def test_the_smallest_bounds_are_accepted():
    assert Bounds(1, 1, 0.001) == Bounds(max_events=1, max_bytes=1, max_age=0.001)


def test_the_documented_bounds_are_the_default():
    assert (DEFAULT_MAX_EVENTS, DEFAULT_MAX_BYTES, DEFAULT_MAX_AGE) == (100_000, 2**24, 300)
    assert Bounds(1, 1, 1).max_idle_topics == DEFAULT_MAX_IDLE_TOPICS == 100_000


def test_a_new_log_is_empty():
    log = log_of()
    assert (len(log), log.size, log.topics, log.head) == (0, 0, 0, 0)
    assert positions_after(log, ["a"]) == []
    assert log.reaches(["a"], 0)


def test_it_keeps_as_many_events_as_it_may():
    log = log_of(max_events=3)
    fill(log, "aaa")
    assert positions_after(log, "a") == [1, 2, 3]
    fill(log, "a")
    assert positions_after(log, "a") == [2, 3, 4]
    assert len(log) == 3


def test_it_keeps_as_many_bytes_as_it_may():
    log = log_of(max_bytes=10)
    fill(log, "a", size=4)
    fill(log, "a", size=6)
    assert (len(log), log.size) == (2, 10)
    fill(log, "a", size=1)
    assert positions_after(log, "a") == [2, 3]
    assert log.size == 7


def test_it_drops_as_many_events_as_one_large_one_needs():
    log = log_of(max_bytes=10)
    fill(log, "abcde", size=2)
    fill(log, "f", size=7)
    assert positions_after(log, "abcdef") == [5, 6]
    assert log.size == 9


def test_it_keeps_an_event_to_the_very_moment_of_its_age():
    log = log_of(max_age=5)
    fill(log, "a", now=10.0)
    fill(log, "a", now=11.0)
    log.trim(15.0)
    assert positions_after(log, "a") == [1, 2]
    log.trim(15.001)
    assert positions_after(log, "a") == [2]
    log.trim(16.001)
    assert (len(log), log.size) == (0, 0)


def test_age_is_looked_at_when_an_event_comes():
    log = log_of(max_age=5)
    fill(log, "a", now=0.0)
    fill(log, "b", now=5.5)
    assert positions_after(log, "ab") == [2]


@pytest.mark.parametrize("bounds", [{"max_events": 2}, {"max_bytes": 2}, {"max_age": 5}])
def test_the_oldest_goes_first_whatever_its_topic(bounds):
    log = log_of(**bounds)
    fill(log, "a", now=0.0)
    fill(log, "bc", now=5.1)
    assert positions_after(log, "abc") == [2, 3]
    assert not log.has_after("a", 0)


def test_an_event_that_is_larger_than_the_log_is_left_out_and_takes_nothing_along():
    log = log_of(max_bytes=10)
    fill(log, "abc", size=3)
    fill(log, "b", size=11)
    assert (len(log), log.size, log.head) == (3, 9, 4)
    assert positions_after(log, "abc") == [1, 2, 3]
    assert [log.start_of(topic) for topic in "abc"] == [0, 4, 0]
    fill(log, "b", size=1)
    assert positions_after(log, "abc") == [1, 2, 3, 5]
    assert positions_after(log, "b", log.start_of("b")) == [5]
    assert not log.reaches("ab", 3)


def test_a_topic_of_nothing_but_what_was_left_out_is_idle():
    log = log_of(max_bytes=10, max_age=5)
    fill(log, "ab", size=11)
    log.retain("b")
    log.trim(5.0)
    assert log.topics == 2
    log.trim(5.001)
    assert (log.topics, log.start_of("a"), log.start_of("b")) == (1, 1, 2)
    fill(log, "b", size=11, now=10.0)
    log.release("b", 10.0)
    fill(log, "b", size=11, now=12.0)
    log.trim(17.0)
    assert log.topics == 1, "its time begins when something comes"
    log.trim(17.001)
    assert log.topics == 0


def test_an_event_as_large_as_the_log_is_kept():
    log = log_of(max_bytes=10)
    fill(log, "ab", size=10)
    assert positions_after(log, "ab") == [2]
    assert log.size == 10


# --- reading ------------------------------------------------------------------------------


def test_events_of_one_topic_are_read_in_order_from_anywhere():
    log = log_of()
    fill(log, "abaab")
    assert positions_after(log, "a", 0) == [1, 3, 4]
    assert positions_after(log, "a", 1) == [3, 4]
    assert positions_after(log, "a", 2) == [3, 4]
    assert positions_after(log, "a", 3) == [4]
    assert positions_after(log, "a", 4) == []
    assert positions_after(log, "a", 99) == []


def test_events_of_several_topics_are_read_in_the_order_of_publication():
    log = log_of()
    fill(log, "abcabcab")
    assert positions_after(log, "ab", 2) == [4, 5, 7, 8]
    assert positions_after(log, ["c", "b", "a"], 0) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [record.topic for record in log.after("ca", 0)] == ["a", "c", "a", "c", "a"]


def test_a_topic_that_nobody_knows_has_no_events():
    log = log_of()
    fill(log, "a")
    assert positions_after(log, ["nobody's"]) == []
    assert positions_after(log, ["nobody's", "a", "nor this"]) == [1]
    assert not log.has_after(["nobody's"], -1)


def test_reading_makes_no_topic():
    log = log_of()
    list(log.after("a", 0))
    log.has_after("b", 0)
    log.reaches("c", 0)
    log.start_of("d")
    assert log.topics == 0


def test_it_knows_whether_there_is_more():
    log = log_of()
    fill(log, "ab")
    assert log.has_after("a", 0)
    assert not log.has_after("a", 1)
    assert log.has_after("ab", 1)
    assert not log.has_after("ab", 2)


def test_there_is_no_more_after_everything_was_dropped():
    log = log_of(max_events=1)
    fill(log, "ab")
    assert not log.has_after("a", 0)


def test_positions_may_have_gaps():
    """Those of an engine for several hubs do."""
    log = log_of(start=1000)
    for position, topic in [(1003, "a"), (1010, "b"), (1050, "a")]:
        log.append(Record(position, topic, EVENT), 1, 0.0)
    assert positions_after(log, "a", 1000) == [1003, 1050]
    assert positions_after(log, "a", 1003) == [1050]
    assert positions_after(log, "a", 1049) == [1050]
    assert log.head == 1050


def test_what_is_read_are_the_records_that_were_appended():
    log = log_of()
    record = Record(1, "a", EVENT)
    log.append(record, 1, 0.0)
    assert [got is record for got in log.after("a", 0)] == [True]


# --- how far it reaches back --------------------------------------------------------------


def test_it_reaches_back_to_the_last_event_that_a_topic_has_lost():
    log = log_of(max_events=2)
    fill(log, "aab")
    assert log.start_of("a") == 1
    assert log.reaches("a", 1)
    assert not log.reaches("a", 0)
    fill(log, "b")
    assert log.start_of("a") == 2


def test_each_topic_has_a_start_of_its_own():
    log = log_of(max_events=2)
    fill(log, "abcdc")
    assert [log.start_of(topic) for topic in "abcd"] == [1, 2, 3, 0]
    assert log.reaches("d", 0)
    assert log.start_of("da") == log.start_of("ad") == 1


def test_several_topics_are_reached_if_each_is():
    log = log_of(max_events=2)
    fill(log, "abccd")
    assert log.reaches("ac", 3)
    assert not log.reaches("ac", 2)
    assert log.reaches("d", 0)


def test_a_log_that_begins_later_reaches_back_to_there():
    log = log_of(start=7)
    assert log.head == 7
    assert log.start_of("a") == 7
    assert log.reaches("a", 7)
    assert not log.reaches("a", 6)
    log.retain("b")
    fill(log, "a")
    assert log.start_of("a") == log.start_of("b") == 7


def test_all_that_is_there_comes_after_the_start():
    log = log_of(max_events=3)
    fill(log, "abacbab")
    assert positions_after(log, "ab", log.start_of("ab")) == [5, 6, 7]


# --- gaps ---------------------------------------------------------------------------------


def test_what_is_lost_is_lost_to_every_topic():
    log = log_of(start=5)
    fill(log, "ab", size=3)
    log.retain("c")
    log.lose(20, 0.0)
    assert (len(log), log.size, log.head, log.lost) == (0, 0, 20, 20)
    assert positions_after(log, "abc") == []
    for topic in "abcd":
        assert log.start_of(topic) == 20
        assert not log.has_after(topic, 0)
        assert log.reaches(topic, 20)
        assert not log.reaches(topic, 19)
    assert log.start == 5, "it still began there"


def test_a_log_goes_on_after_a_gap():
    log = log_of(max_events=2, max_bytes=6)
    fill(log, "aab", size=3)
    log.lose(9, 0.0)
    fill(log, "aba", size=3)
    assert positions_after(log, "ab") == [11, 12]
    assert [log.start_of(topic) for topic in "abc"] == [10, 9, 9]
    assert log.lost == 9


def test_a_log_that_misses_nothing_says_so():
    log = log_of(max_events=1, start=7)
    fill(log, "ab")
    assert log.lost < 0


def test_a_topic_is_idle_after_a_gap_unless_it_has_a_reader():
    log = log_of(max_age=5)
    fill(log, "ab")
    log.retain("b")
    log.lose(9, 1.0)
    log.trim(6.0)
    assert log.topics == 2
    log.trim(6.001)
    assert log.topics == 1
    log.release("b", 7.0)
    log.trim(12.001)
    assert (log.topics, log.start_of("a")) == (0, 9)


def test_what_was_lost_is_let_go():
    log = log_of()
    gc.disable()
    try:
        references = traced(log, "abab")
        log.lose(9, 0.0)
        assert alive(references) == 0
    finally:
        gc.enable()


# --- topics -------------------------------------------------------------------------------


def test_a_topic_without_events_and_readers_is_forgotten_after_its_age():
    log = log_of(max_age=5)
    fill(log, "a", now=0.0)
    log.trim(5.5)
    assert (len(log), log.topics) == (0, 1)
    log.trim(10.5)
    assert log.topics == 1
    log.trim(10.501)
    assert log.topics == 0


def test_the_forgotten_are_remembered_in_the_floor():
    log = log_of(max_age=5)
    fill(log, "aab", now=0.0)
    log.trim(5.5)
    assert [log.start_of(topic) for topic in "abc"] == [2, 3, 0]
    log.trim(11.0)
    assert [log.start_of(topic) for topic in "abc"] == [3, 3, 3]
    assert log.reaches("a", 3)
    assert not log.reaches("c", 2)


def test_the_floor_never_falls():
    log = log_of(max_events=1, max_age=5)
    log.retain("a")
    fill(log, "ab", now=0.0)
    log.trim(5.5)
    log.trim(11.0)  # b is forgotten, and had lost more
    assert log.start_of("c") == 2
    log.release("a", 11.0)
    log.trim(16.5)
    assert log.topics == 0
    assert log.start_of("c") == 2


def test_a_topic_that_comes_back_begins_at_the_floor():
    log = log_of(max_age=5)
    fill(log, "aa", now=0.0)
    log.trim(5.5)
    log.trim(11.0)
    fill(log, "a", now=12.0)
    assert log.start_of("a") == 2
    assert positions_after(log, "a", 2) == [3]


def test_a_topic_with_a_reader_is_not_forgotten():
    log = log_of(max_age=5)
    fill(log, "ab", now=0.0)
    log.retain("a")
    log.trim(100.0)
    log.trim(200.0)
    assert (len(log), log.topics) == (0, 1)
    assert log.start_of("a") == 1
    assert log.start_of("b") == 2


def test_a_topic_that_was_read_lately_is_not_forgotten():
    log = log_of(max_age=5)
    log.retain("a")
    log.release("a", 50.0)
    log.trim(55.0)
    assert log.topics == 1
    log.trim(55.001)
    assert log.topics == 0


def test_a_topic_with_an_event_is_not_forgotten():
    log = log_of(max_age=5)
    log.retain("a")
    log.release("a", 0.0)
    fill(log, "a", now=3.0)
    log.trim(8.0)
    assert (len(log), log.topics) == (1, 1)
    log.trim(8.5)
    log.trim(13.5)
    assert log.topics == 1, "its time begins when it has nothing any more"
    log.trim(13.501)
    assert log.topics == 0


def test_a_reader_who_comes_back_begins_the_time_anew():
    log = log_of(max_age=5)
    log.retain("a")
    log.release("a", 0.0)
    log.retain("a")
    log.trim(50.0)
    log.release("a", 50.0)
    log.trim(54.0)
    assert log.topics == 1


def test_readers_are_counted():
    log = log_of(max_age=5)
    log.retain("ab")
    log.retain("b")
    log.retain("b")
    log.release("ab", 0.0)
    log.release("b", 0.0)
    log.trim(10.0)
    assert log.topics == 1
    log.release("b", 10.0)
    log.trim(15.001)
    assert log.topics == 0


def test_a_reader_who_leaves_while_there_are_events_forgets_nothing():
    log = log_of(max_age=5)
    fill(log, "a", now=0.0)
    log.retain("a")
    log.release("a", 1.0)
    log.trim(5.0)
    assert positions_after(log, "a") == [1]


@pytest.mark.parametrize("lately", [True, False], ids=["read lately", "being read"])
def test_a_quiet_topic_can_be_resumed_however_busy_the_others_are(lately):
    log = log_of(max_events=5, max_age=5)
    log.retain(["quiet"])
    if lately:
        log.release(["quiet"], 0.0)
    for n in range(1000):
        fill(log, [f"busy {n % 4}"], now=n / 250)
    assert log.start_of(["quiet"]) == 0
    assert log.reaches(["quiet"], 0)
    fill(log, ["quiet"], now=4.0)
    assert positions_after(log, ["quiet"], 0) == [1001]


def test_no_more_idle_topics_are_remembered_than_their_bound():
    log = log_of(max_events=3, max_idle_topics=3)
    for name in "abcd":
        log.retain(name)
        log.release(name, 0.0)
    log.trim(0.0)
    assert log.topics == 3
    fill(log, "a")
    assert log.topics == 4  # three that are idle, and one that is not
    fill(log, "bbbb")
    assert log.topics == 4
    assert log.start_of("a") == 1


def test_a_short_log_does_not_bound_the_idle_topics():
    log = log_of(max_events=1)
    for name in "abcd":
        log.retain(name)
        log.release(name, 0.0)
    fill(log, "xyz")
    assert all(log.reaches([name], 0) for name in "abcd")


def test_the_longest_idle_topic_is_forgotten_first():
    log = log_of(max_events=2, max_idle_topics=2)
    fill(log, "abcd")
    assert [log.start_of(topic) for topic in "abcd"] == [1, 2, 0, 0]
    fill(log, "e")  # drops c; a is forgotten
    assert log.topics == 4
    assert [log.start_of(topic) for topic in "abc"] == [1, 2, 3]
    fill(log, "f")  # drops d; b is forgotten
    assert [log.start_of(topic) for topic in "abcx"] == [2, 2, 3, 2]


def test_a_topic_that_is_read_or_written_is_not_the_longest_idle():
    log = log_of(max_events=2, max_idle_topics=2)
    for name in "ab":
        log.retain(name)
        log.release(name, 0.0)
    log.retain("a")
    log.release("a", 1.0)
    log.retain("c")
    log.release("c", 2.0)
    log.trim(2.0)
    fill(log, "xyz")
    assert log.topics == 4  # c and x, and y and z, which have an event
    assert positions_after(log, "xyz") == [2, 3]


# --- what it holds ------------------------------------------------------------------------


class Traced(ServerSentEvent):
    """An event that a weak reference can be made to."""

    __slots__ = ("__weakref__",)


def traced(log, topics, *, now=0.0):
    references = []
    for topic in topics:
        event = Traced("x")
        references.append(weakref.ref(event))
        log.append(Record(log.head + 1, topic, event), 1, now)
    return references


def alive(references):
    return sum(reference() is not None for reference in references)


@pytest.mark.parametrize("topics", [["a"], ["a", "b"], [str(n) for n in range(200)]])
def test_no_more_events_are_held_than_the_bounds_say(topics):
    log = log_of(max_events=10)
    gc.disable()  # to see that nothing waits for it
    try:
        references = traced(log, itertools.islice(itertools.cycle(topics), 1000))
        assert [reference() is not None for reference in references] == [False] * 990 + [True] * 10
        log.trim(2 * MANY)
        assert alive(references) == 0
    finally:
        gc.enable()


def test_events_of_the_topic_of_a_reader_are_released_too():
    log = log_of(max_events=100)
    log.retain("a")
    references = traced(log, "a" * 150)
    assert alive(references) == 100
    references += traced(log, "b" * 100)
    assert alive(references) == 100
    assert alive(references[:150]) == 0


def test_the_list_of_a_topic_does_not_grow_with_what_is_gone():
    log = log_of(max_events=10)
    fill(log, "a" * 1000)
    tracemalloc.start()
    try:
        fill(log, "a" * 10_000)
        assert tracemalloc.get_traced_memory()[0] < 20_000
    finally:
        tracemalloc.stop()
    assert positions_after(log, "a") == list(range(10_991, 11_001))


@pytest.mark.parametrize("kept", [1, 2, 63, 64, 65, 66, 127, 128, 129, 200])
def test_events_are_found_whatever_has_been_dropped_before_them(kept):
    """The list of a topic is shortened now and then: it must not be seen."""
    log = log_of(max_events=kept)
    for n in range(1, 400):
        fill(log, "a")
        first = max(1, n - kept + 1)
        assert positions_after(log, "a") == list(range(first, n + 1))
        assert positions_after(log, "a", n - 1) == [n]
        assert log.start_of("a") == first - 1


def test_a_hundred_thousand_topics_cost_little_and_leave_nothing():
    count = 100_000
    names = [f"user/{n}" for n in range(count)]
    log = log_of(max_events=count, max_age=5)
    tracemalloc.start()
    try:
        for n, name in enumerate(names, 1):
            log.append(Record(n, name, EVENT), 1, 0.0)
        assert (len(log), log.topics) == (count, count)
        assert tracemalloc.get_traced_memory()[0] / count < BYTES_PER_TOPIC
        log.trim(6.0)
        assert (len(log), log.size, log.topics) == (0, 0, count)
        log.trim(12.0)
        assert log.topics == 0
        fill(log, ["another"], now=12.0)
        # Dicts keep the tables that they have grown to; nothing else is left.
        assert tracemalloc.get_traced_memory()[0] / count < BYTES_PER_TOPIC / 4
    finally:
        tracemalloc.stop()
    assert log.start_of(["user/1"]) == count


# --- against a model ----------------------------------------------------------------------


def test_what_is_lost_does_not_lead_back():
    log = log_of(start=7)
    log.lose(5, 0.0)
    assert log.head == 7
    assert not log.reaches("a", 6)


class Model:
    """A log that throws nothing away: what is not kept any more is counted, not dropped."""

    def __init__(self, bounds):
        self.bounds = bounds
        self.all = []  # (record, size, time)
        self.dropped = 0
        self.left_out = []
        self.lost = self.head = 0
        self.readers = Counter()
        self.known = {}  # what a topic has lost
        self.idle = []  # (topic, since), in the order in which they became idle
        self.floor = 0

    @property
    def kept(self):
        return self.all[self.dropped :]

    def append(self, record, size, now):
        self.know(record.topic)
        self.head = record.position
        if size > self.bounds.max_bytes:
            self.left_out.append(record)
            self.known[record.topic] = record.position
            self.note_idle(record.topic, now)
            return
        self.all.append((record, size, now))
        self.trim(now)

    def lose(self, position, now):
        self.dropped = len(self.all)
        self.lost = self.head = self.floor = position
        were_idle = [name for name, _ in self.idle]
        self.idle = [(name, now) for name in were_idle]
        for name in self.known:
            self.known[name] = position
            if name not in were_idle:
                self.note_idle(name, now)

    def know(self, topic):
        self.known.setdefault(topic, self.floor)
        self.idle = [(name, since) for name, since in self.idle if name != topic]

    def retain(self, topics):
        for topic in topics:
            self.know(topic)
            self.readers[topic] += 1

    def release(self, topics, now):
        for topic in topics:
            self.readers[topic] -= 1
            self.note_idle(topic, now)

    def note_idle(self, topic, now):
        if not self.readers[topic] and all(record.topic != topic for record, _, _ in self.kept):
            self.idle.append((topic, now))

    def too_much(self, now):
        kept, bounds = self.kept, self.bounds
        return kept and (
            len(kept) > bounds.max_events
            or sum(size for _, size, _ in kept) > bounds.max_bytes
            or now - kept[0][2] > bounds.max_age
        )

    def trim(self, now):
        while self.too_much(now):
            record = self.kept[0][0]
            self.dropped += 1
            self.known[record.topic] = max(self.known[record.topic], record.position)
            self.note_idle(record.topic, now)
        while self.idle and (
            len(self.idle) > self.bounds.max_idle_topics
            or now - self.idle[0][1] > self.bounds.max_age
        ):
            name, _ = self.idle.pop(0)
            self.floor = max(self.floor, self.known.pop(name))

    def after(self, topics, position):
        return [
            record
            for record, _, _ in self.kept
            if record.topic in topics and record.position > position
        ]

    def lost_after(self, topics, position):
        dropped = [record for record, _, _ in self.all[: self.dropped]]
        return position < self.lost or any(
            record.topic in topics and record.position > position
            for record in dropped + self.left_out
        )

    def start_of(self, topics):
        return max(self.known.get(topic, self.floor) for topic in topics)


TOPICS = "abcd"
SOME_TOPICS = st.sets(st.sampled_from(TOPICS), min_size=1).map(sorted)
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.sampled_from(TOPICS), st.integers(1, 12)),
        st.tuples(st.just("retain"), SOME_TOPICS),
        st.tuples(st.just("release"), st.integers(0, 100)),
        st.tuples(st.just("pass"), st.integers(1, 8)),
        st.tuples(st.just("trim")),
        st.tuples(st.just("lose")),
    ),
    max_size=60,
)


def run(operations, log, model):
    """Do the same to both, and yield after each step."""
    now, retained = 0, []
    for position, (what, *arguments) in enumerate(operations, 1):
        if what == "append":
            topic, size = arguments
            record = Record(position, topic, EVENT)
            log.append(record, size, now)
            model.append(record, size, now)
        elif what == "retain":
            retained.extend(arguments)
            log.retain(*arguments)
            model.retain(*arguments)
        elif what == "release" and retained:
            topics = retained.pop(arguments[0] % len(retained))
            log.release(topics, now)
            model.release(topics, now)
        elif what == "pass":
            now += arguments[0]
        elif what == "lose":
            log.lose(position, now)
            model.lose(position, now)
        else:
            log.trim(now)
            model.trim(now)
        yield position


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(
    OPERATIONS,
    st.builds(Bounds, *(st.integers(1, most) for most in (6, 30, 20, 3))),
    SOME_TOPICS,
)
def test_it_is_like_a_log_that_throws_nothing_away(operations, bounds, topics):
    log, model = Log(bounds), Model(bounds)
    for position in run(operations, log, model):
        assert len(log) == len(model.kept)
        assert log.size == sum(size for _, size, _ in model.kept)
        assert log.head == model.head
        assert log.topics == len(model.known)
        assert log.start_of(topics) == model.start_of(topics)
        for after in range(position + 1):
            assert list(log.after(topics, after)) == model.after(topics, after)
            assert log.has_after(topics, after) == bool(model.after(topics, after))
            if log.reaches(topics, after):
                assert not model.lost_after(topics, after)


def test_it_is_like_that_log_when_it_is_used_for_long():
    """Longer than hypothesis would, with more than a list of a topic is shortened by."""
    chance = random.Random(5)
    operations = [
        chance.choice(
            [("append", chance.choice("aaab"), chance.randint(1, 3))] * 8
            + [("pass", 1), ("retain", ["b"]), ("release", 0), ("trim",)]
            + [("lose",)] * (chance.random() < 0.02)
        )
        for _ in range(3000)
    ]
    bounds = Bounds(150, 250, 100)
    log, model = Log(bounds), Model(bounds)
    for position in run(operations, log, model):
        if position % 10 == 0:
            assert list(log.after("ab", 0)) == model.after("ab", 0)
            assert list(log.after("a", position - 50)) == model.after("a", position - 50)
            assert log.start_of("a") == model.start_of("a")
            assert (len(log), log.topics) == (len(model.kept), len(model.known))
    assert model.dropped > 1000
