"""How requests in flight are shared out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gridhook.engine.slots import FIRST_LIMIT, Slots


def test_a_lane_that_answers_climbs_to_its_full_limit_and_one_that_does_not_falls_to_a_probe():
    slots = Slots(total=1000, account=1000, webhook=64)
    assert slots.take("a", "w", 100) == FIRST_LIMIT
    for _ in range(FIRST_LIMIT):
        slots.finish("a", "w", answered=True)
    assert slots.limit("w") == 2 * FIRST_LIMIT
    for _ in range(10):
        assert slots.reserve("a", "w")
        slots.finish("a", "w", answered=False)
    assert slots.limit("w") == 1


def test_a_receiver_that_answers_slowly_gets_no_more_at_a_time_than_it_has():
    slots = Slots(total=1000, account=1000, webhook=64)
    for _ in range(50):
        assert slots.reserve("a", "w")
        slots.finish("a", "w", answered=True, quickly=False)
    assert slots.limit("w") == FIRST_LIMIT


def test_a_thousand_dead_endpoints_leave_half_of_the_process_to_those_that_answer():
    slots = Slots(total=100, account=1000, webhook=64)
    assert slots.reserve("good", "alive")
    slots.finish("good", "alive", answered=True)
    taken = sum(slots.take(f"account {n}", f"dead {n}", 64) for n in range(1000))
    assert taken == 50
    assert slots.take("good", "alive", 64) == FIRST_LIMIT + 1


def test_one_account_cannot_hold_more_than_its_share():
    slots = Slots(total=1000, account=20, webhook=64)
    assert sum(slots.take("a", f"w{n}", 8) for n in range(10)) == 20
    assert slots.reserve("b", "other")


def test_nothing_is_given_out_once_the_process_stops():
    slots = Slots(total=10, account=10, webhook=10)
    slots.accepting = False
    assert not slots.reserve("a", "w")


@given(
    st.lists(
        st.tuples(st.sampled_from(["take", "finish", "fail"]), st.integers(0, 2), st.integers(0, 5), st.integers(1, 70)),
        max_size=200,
    )
)
def test_counts_never_go_below_zero_or_above_a_limit_and_end_at_zero(steps):
    slots = Slots(total=40, account=25, webhook=16)
    held: list[tuple[str, str]] = []
    for step, account, webhook, count in steps:
        lane = (f"a{account}", f"w{account}-{webhook}")
        if step == "take":
            held += [lane] * slots.take(*lane, count)
        elif held:
            slots.finish(*held.pop(count % len(held)), answered=step == "finish")
        assert slots.in_flight == len(held) <= 40
        for account_id in ("a0", "a1", "a2"):
            assert sum(a == account_id for a, _ in held) <= 25
        for kept in set(held):
            assert held.count(kept) <= 16
    for lane in held:
        slots.finish(*lane, answered=True)
    assert slots.in_flight == 0
    assert slots._suspects == 0
    assert not slots._accounts
