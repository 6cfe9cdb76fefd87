"""How requests in flight are shared out."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gridhook.engine.lane import DOUBT, FAILING_AFTER, FIRST_LIMIT, MIXED_FLOOR
from gridhook.engine.pace import BURST_SECONDS, Sign
from gridhook.engine.slots import AWAY_FAILURES, AWAY_SECONDS, CLAIM_SECONDS, QUIET_SECONDS, Slots
from gridhook.model import LaneLimits

LOOK = 1.25 * CLAIM_SECONDS  # the dispatcher comes by this often
FAILURES = [Sign.REFUSED, Sign.OVERLOADED, Sign.SILENT]


@dataclass
class Time:
    """Monotonic seconds that pass when the test says so."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Lane:
    """One webhook's lane in a process that has room."""

    time: Time = field(default_factory=Time)
    slots: Slots = field(init=False)
    id: str = "w"

    def __post_init__(self) -> None:
        self.slots = Slots(total=1000, account=1000, webhook=64, ramp_per_second=10, monotonic=self.time)
        assert self.claim() == 1  # the first claim learns the customer's limits, of which there are none here
        self.slots.allow(self.id, None)
        self.end(Sign.SLOWLY)

    def claim(self) -> int:
        self.time.now += LOOK
        return self.slots.take_many("a", self.id)

    def end(self, sign: Sign, count: int = 1) -> None:
        for _ in range(count):
            self.slots.finish("a", self.id, sign)

    def tries(self, *signs: Sign) -> None:
        """One request after the other."""
        for sign in signs:
            assert self.claim() >= 1
            self.slots.give_back("a", self.id, self.slots.state(self.id).in_flight - 1)
            self.end(sign)

    def started(self, seconds: float) -> int:
        """How many requests start within this time, if each is received at once and there is always another."""
        count, until = 0, self.time.now + seconds
        while self.time.now < until - LOOK / 2:
            taken = self.claim()
            count += taken
            self.slots.left(self.id, waiting=True)
            self.end(Sign.RECEIVED, taken)
        return count


# How many at a time


def test_a_lane_whose_receiver_answers_climbs_to_its_full_limit():
    lane = Lane()
    assert lane.claim() == FIRST_LIMIT
    lane.end(Sign.RECEIVED, FIRST_LIMIT)
    assert lane.slots.limit("w") == 2 * FIRST_LIMIT
    for _ in range(5):
        lane.end(Sign.RECEIVED, lane.claim())
    assert lane.slots.limit("w") == 64


def test_a_receiver_that_answers_slowly_gets_no_more_at_a_time_than_it_has():
    lane = Lane()
    for _ in range(4):
        lane.end(Sign.SLOWLY, lane.claim())
    assert lane.slots.limit("w") == FIRST_LIMIT


def test_a_receiver_that_says_it_is_overloaded_gets_half_as_many_but_not_half_for_each_of_those_it_had():
    lane = Lane()
    assert lane.claim() == FIRST_LIMIT
    lane.end(Sign.RECEIVED, FIRST_LIMIT - FAILING_AFTER + 1)
    before = lane.slots.limit("w")
    lane.end(Sign.OVERLOADED, FAILING_AFTER - 1)
    assert lane.slots.limit("w") in (before, before // 2)


def test_a_lane_with_mixed_results_keeps_several_places_whatever_the_failures_are():
    lane = Lane()
    for failure in FAILURES:
        for _ in range(100):
            lane.tries(*[failure] * (FAILING_AFTER - 1), Sign.RECEIVED)
            assert not lane.slots.state("w").is_failing
            assert lane.slots.limit("w") >= MIXED_FLOOR


def test_the_customers_own_limit_holds_at_once_and_ours_is_never_exceeded_by_it():
    lane = Lane()
    assert lane.claim() == FIRST_LIMIT
    lane.slots.allow("w", LaneLimits(max_in_flight=3))
    assert lane.claim() == 0
    lane.end(Sign.RECEIVED, FIRST_LIMIT - 2)
    assert lane.claim() == 1
    lane.slots.allow("w", LaneLimits(max_in_flight=10_000))
    for _ in range(10):
        lane.end(Sign.RECEIVED, lane.slots.state("w").in_flight)
        lane.claim()
        lane.claim()
    assert lane.slots.limit("w") == lane.slots.state("w").in_flight == 64


def test_a_lane_with_many_slots_is_claimed_in_two_halves_so_that_one_is_sent_while_the_other_is_claimed():
    lane = Lane()
    for _ in range(10):
        lane.end(Sign.RECEIVED, lane.claim())
    assert lane.slots.limit("w") == 64
    assert [lane.claim() for _ in range(3)] == [32, 32, 0]


def test_limits_that_come_with_a_published_event_hold_and_are_lifted_by_one_without():
    slots = Slots(total=100, account=100, webhook=64)
    two = LaneLimits(max_in_flight=2)
    assert [slots.reserve("a", "w", two) for _ in range(3)] == [True, True, False]
    assert slots.reserve("a", "w", None)


def test_a_lane_that_this_process_knows_nothing_of_gets_one_place_until_it_does():
    slots = Slots(total=100, account=100, webhook=64)
    assert slots.take_many("a", "w") == 1
    assert slots.take_many("a", "w") == 0
    slots.allow("w", LaneLimits(max_in_flight=5))
    assert slots.take_many("a", "w") == 4


def test_a_thousand_dead_endpoints_leave_half_of_the_process_to_those_that_answer():
    slots = Slots(total=100, account=1000, webhook=64)
    assert slots.take_many("good", "alive") == 1
    slots.allow("alive", None)
    slots.finish("good", "alive", Sign.RECEIVED)
    taken = sum(slots.reserve(f"account {n % 1000}", f"dead {n % 1000}", None) for n in range(5000))
    assert taken == 50
    assert slots.take_many("good", "alive") == FIRST_LIMIT + 1


def test_a_receiver_that_hangs_now_and_then_is_trusted_again_after_a_row_of_answers():
    slots = Slots(total=10, account=1000, webhook=64)
    assert slots.reserve("a", "w", None)
    slots.finish("a", "w", Sign.SILENT)
    for n in range(5):
        assert slots.reserve("b", f"silent {n}", None)
    for _ in range(DOUBT):
        assert not slots.reserve("a", "w", None), "suspects hold their half already"
        slots.finish("b", "silent 0", Sign.NONE)
        assert slots.reserve("a", "w", None)
        slots.finish("a", "w", Sign.RECEIVED)
        assert slots.reserve("b", "silent 0", None)
    assert slots.reserve("a", "w", None)


def test_one_account_cannot_hold_more_than_its_share():
    slots = Slots(total=1000, account=20, webhook=64)
    assert sum(slots.reserve("a", f"w{n % 10}", None) for n in range(80)) == 20
    assert slots.reserve("b", "other", None)


def test_nothing_is_given_out_once_the_process_stops():
    slots = Slots(total=10, account=10, webhook=10)
    slots.accepting = False
    assert not slots.reserve("a", "w", None)
    assert slots.take_many("a", "w") == 0


# Failing lanes


def test_an_unbroken_row_of_failures_of_any_kind_leaves_one_request_at_a_time_until_one_succeeds():
    for failure in FAILURES:
        lane = Lane()
        assert lane.claim() == FIRST_LIMIT
        lane.end(failure, FAILING_AFTER - 1)
        assert not lane.slots.state("w").is_failing
        lane.end(failure, FIRST_LIMIT - FAILING_AFTER + 1)
        assert lane.slots.state("w").is_failing
        for _ in range(5):
            assert [lane.claim(), lane.claim()] == [1, 0]
            lane.end(failure)
        lane.time.now += AWAY_SECONDS
        assert lane.claim() == 1
        lane.end(Sign.RECEIVED)
        assert not lane.slots.state("w").is_failing
        assert lane.slots.state("w").is_ramping
        assert lane.slots.failing == 0


def test_a_receiver_that_takes_some_and_refuses_most_is_not_slowed_down_as_if_it_had_been_away():
    lane = Lane()
    for _ in range(20):
        lane.tries(*[Sign.OVERLOADED] * FAILING_AFTER)
        assert lane.slots.state("w").is_failing
        lane.tries(Sign.RECEIVED)
        state = lane.slots.state("w")
        assert (state.is_failing, state.is_ramping, state.limit) == (False, False, FIRST_LIMIT)


def test_a_receiver_that_was_away_for_many_quick_failures_starts_slowly_however_short_that_was():
    lane = Lane()
    lane.tries(*[Sign.OVERLOADED] * AWAY_FAILURES, Sign.RECEIVED)
    assert lane.slots.state("w").is_ramping


def test_a_ramp_that_a_short_row_of_failures_cut_off_starts_anew():
    lane = Lane()
    lane.slots.ramp("w")
    for sign in [Sign.SILENT] * FAILING_AFTER + [Sign.RECEIVED]:
        lane.time.now += 1 / 10
        lane.tries(sign)
    assert lane.slots.state("w").is_ramping


def test_troubles_of_our_own_say_nothing_about_the_receiver():
    lane = Lane()
    lane.tries(*[Sign.NONE] * 50)
    state = lane.slots.state("w")
    assert (state.limit, state.is_failing, state.consecutive_failures) == (FIRST_LIMIT, False, 0)


def test_the_probe_of_a_failing_lane_is_for_what_has_waited_longest_not_for_what_was_just_published():
    lane = Lane()
    lane.tries(*[Sign.SILENT] * FAILING_AFTER)
    assert not lane.slots.reserve("a", "w", None)
    assert lane.claim() == 1


def test_a_failing_lane_stays_one_when_its_webhook_is_resumed():
    lane = Lane()
    lane.tries(*[Sign.SILENT] * FAILING_AFTER)
    lane.slots.ramp("w")
    assert [lane.claim(), lane.claim()] == [1, 0]


# Rates and ramps


def test_a_webhook_that_comes_back_starts_slowly_and_doubles_every_two_seconds():
    lane = Lane()
    lane.slots.ramp("w")
    for expected in (20, 40, 80, 160):
        started = lane.started(2.0)
        assert abs(started - expected) <= max(2, expected * BURST_SECONDS), (started, expected)


def test_a_ramp_ends_when_it_holds_nothing_back_any_more():
    lane = Lane()
    lane.slots.ramp("w")
    lane.started(3.0)
    assert lane.slots.ramping == 1
    for _ in range(300):
        lane.claim()  # the receiver became slow: all places are taken, and none comes back
    assert lane.slots.ramping == 0


def test_a_ramp_ends_with_what_had_waited_for_it():
    lane = Lane()
    lane.slots.ramp("w")
    assert not lane.slots.reserve("a", "w", None), "what waits goes first"
    assert lane.claim() == 1
    lane.slots.left("w", waiting=True)
    assert not lane.slots.reserve("a", "w", None)
    lane.slots.left("w", waiting=False)
    assert lane.slots.reserve("a", "w", None)
    assert lane.slots.state("w").rate_per_second is None


def test_a_backlog_that_was_released_by_another_process_ramps_up_too():
    lane = Lane()
    lane.end(Sign.RECEIVED, lane.claim())
    lane.time.now += QUIET_SECONDS
    assert lane.claim() == 1, "what was known of it may be out of date"
    lane.slots.allow("w", None)
    lane.slots.left("w", waiting=True, long=True)
    assert lane.slots.state("w").is_ramping


def test_a_lane_that_is_busy_is_not_slowed_down_however_long_its_backlog_has_waited():
    lane = Lane()
    for _ in range(3):
        lane.end(Sign.RECEIVED, lane.claim())
        lane.slots.left("w", waiting=True, long=True)
        lane.slots.allow("w", None)
    lane.slots.left("w", waiting=False)
    for _ in range(1000):
        lane.end(Sign.RECEIVED, lane.claim())
        lane.slots.left("w", waiting=True, long=True)
    assert not lane.slots.state("w").is_ramping


def test_a_ramp_that_nobody_asks_for_anything_is_forgotten():
    lane = Lane()
    lane.slots.ramp("w")
    lane.time.now += 3600
    assert lane.slots.ramping == 0
    assert lane.slots.reserve("a", "w", None)


def test_a_rate_below_one_per_second_lets_one_request_start_now_and_then():
    lane = Lane()
    lane.slots.allow("w", LaneLimits(rate_per_second=0.1))
    assert lane.started(100.0) in (10, 11)


def test_what_is_published_does_not_overtake_what_waits_for_its_turn_under_a_rate():
    lane = Lane()
    one = LaneLimits(rate_per_second=1)
    assert [lane.slots.reserve("a", "w", one) for _ in range(2)] == [True, False]
    lane.time.now += 1
    assert not lane.slots.reserve("a", "w", one)
    assert lane.claim() == 1
    lane.slots.left("w", waiting=False)
    lane.time.now += 1
    assert lane.slots.reserve("a", "w", one)


def test_a_slot_that_was_not_used_gives_its_place_in_the_rate_back():
    lane = Lane()
    lane.slots.allow("w", LaneLimits(rate_per_second=1))
    for _ in range(5):
        assert lane.claim() == 1
        lane.slots.give_back("a", "w")


@settings(max_examples=50, deadline=None)
@given(
    rate=st.floats(0.2, 500),
    most=st.integers(1, 100),
    steps=st.lists(st.tuples(st.floats(0, 0.5), st.booleans(), st.integers(0, 20), st.sampled_from(Sign)), max_size=80),
)
def test_never_more_starts_than_the_rate_gives_and_never_more_at_a_time_than_allowed(
    rate: float, most: int, steps: list[tuple[float, bool, int, Sign]]
):
    time = Time()
    slots = Slots(total=1000, account=1000, webhook=64, monotonic=time)
    limits = LaneLimits(max_in_flight=most, rate_per_second=rate)
    slots.allow("w", limits)
    started_at = time.now
    started = in_flight = 0
    for seconds, publishes, ends, sign in steps:
        time.now += seconds
        taken = int(slots.reserve("a", "w", limits)) if publishes else slots.take_many("a", "w")
        started += taken
        in_flight += taken
        assert in_flight <= min(most, 64)
        assert started <= max(1.0, rate * BURST_SECONDS) + rate * (time.now - started_at) + 0.001
        for _ in range(min(ends, in_flight)):
            slots.finish("a", "w", sign)
            in_flight -= 1
        if not publishes:
            slots.left("w", waiting=bool(ends % 2))


class Process(RuleBasedStateMachine):
    """Whatever happens in whatever order: no bound is passed, a failing lane has one request in flight, and nothing leaks."""

    LANES = tuple((f"a{n % 2}", f"w{n}") for n in range(4))

    @initialize()
    def start(self) -> None:
        self.time = Time()
        self.slots = Slots(total=40, account=25, webhook=16, monotonic=self.time)
        self.held: list[tuple[str, str]] = []
        self.limits: dict[str, LaneLimits | None] = {}

    @rule(lane=st.sampled_from(LANES), most=st.none() | st.integers(1, 20), rate=st.none() | st.floats(0.5, 100))
    def edit(self, lane: tuple[str, str], most: int | None, rate: float | None) -> None:
        self.limits[lane[1]] = LaneLimits(most, rate)
        self.slots.allow(lane[1], self.limits[lane[1]])

    @rule(lane=st.sampled_from(LANES))
    def publish(self, lane: tuple[str, str]) -> None:
        before = self.held.count(lane)
        failing = self.slots.state(lane[1]).is_failing
        if self.slots.reserve(*lane, self.limits.setdefault(lane[1], None)):
            assert not failing
            self.took(lane, before, 1)

    @rule(lane=st.sampled_from(LANES), used=st.integers(0, 16), waiting=st.booleans())
    def claim(self, lane: tuple[str, str], used: int, waiting: bool) -> None:
        before = self.held.count(lane)
        taken = self.slots.take_many(*lane)
        if taken:
            if lane[1] not in self.limits:
                assert taken == 1
            self.took(lane, before, taken)
            unused = max(0, taken - used)
            if unused:
                self.slots.give_back(*lane, unused)
                del self.held[-unused:]
            self.slots.left(lane[1], waiting=waiting)

    def took(self, lane: tuple[str, str], before: int, taken: int) -> None:
        own = self.limits.get(lane[1])
        assert before + taken <= min(16, (own and own.max_in_flight) or 16)
        if self.slots.state(lane[1]).is_failing:
            assert (before, taken) == (0, 1)
        self.held += [lane] * taken

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0, 1000), sign=st.sampled_from(Sign), row=st.integers(1, 10))
    def end(self, which: int, sign: Sign, row: int) -> None:
        lane = self.held[which % len(self.held)]
        for _ in range(min(row, self.held.count(lane))):
            self.held.remove(lane)
            self.slots.finish(*lane, sign)

    @rule(lane=st.sampled_from(LANES))
    def resume(self, lane: tuple[str, str]) -> None:
        self.slots.ramp(lane[1])

    @rule(seconds=st.floats(0, 5))
    def wait(self, seconds: float) -> None:
        self.time.now += seconds

    @invariant()
    def bounds_hold(self) -> None:
        assert self.slots.in_flight == len(self.held) <= 40
        for account in ("a0", "a1"):
            assert sum(a == account for a, _ in self.held) <= 25
        assert self.slots._suspects <= 20
        states = {lane: self.slots.state(lane[1]) for lane in self.LANES}
        assert [state.in_flight for state in states.values()] == [self.held.count(lane) for lane in self.LANES]
        assert self.slots.failing == sum(state.is_failing for state in states.values())
        assert self.slots.ramping == sum(state.is_ramping for state in states.values())

    def teardown(self) -> None:
        for lane in self.held:
            self.slots.finish(*lane, Sign.RECEIVED)
        assert (self.slots.in_flight, self.slots._suspects, self.slots._accounts) == (0, 0, {})


TestAnyOrderOfEvents = Process.TestCase
TestAnyOrderOfEvents.settings = settings(max_examples=50, stateful_step_count=50, deadline=None)
