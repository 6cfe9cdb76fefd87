"""Plots: what is drawn of which numbers."""

from __future__ import annotations

import re

import pytest

from gridhook.model import Window, add_up
from gridhook.web.pages.plots import HEIGHT, WIDTH, Bucket, buckets, columns, line, round_up
from gridhook.web.pages.templates import HOUR, MINUTE, within
from tests.store.world import NOON

QUICK, SLOW = (5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), (0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0)  # up to 10 ms; 500 ms to 1 s


@pytest.mark.parametrize(
    ("value", "top"),
    [(0, 1), (1, 1), (2, 2), (3, 5), (5, 5), (6, 10), (10, 10), (11, 20), (21, 50), (99, 100), (101, 200), (4_999_999, 5_000_000)],
)
def test_an_axis_ends_at_a_round_number(value: int, top: int) -> None:
    assert round_up(value) == top


def test_minutes_fall_into_their_buckets_and_empty_buckets_stay() -> None:
    minutes = [(NOON, Window(1, 2, 1)), (NOON + 9 * MINUTE, Window(3)), (NOON + 20 * MINUTE, Window(5))]
    outside = [(NOON - MINUTE, Window(100)), (NOON + 30 * MINUTE, Window(100))]
    found = buckets([*outside, *minutes], since=NOON, until=NOON + 30 * MINUTE, step=10 * MINUTE)
    assert [(one.at - NOON, one.window.succeeded, one.window.failed) for one in found] == [
        (0, 4, 2),
        (10 * MINUTE, 0, 0),
        (20 * MINUTE, 5, 0),
    ]


def test_no_percentile_is_claimed_beyond_what_the_histogram_knows() -> None:
    assert [within(ms) for ms in (9.5, 9_999, 10_000)] == ["9.5 ms", "9 s", "10 s or more"]


def test_windows_add_up() -> None:
    assert add_up([Window(1, 2, 3, 40, QUICK), Window(10, 20, 30, 400, QUICK)]) == Window(11, 22, 33, 440, (10, *QUICK[1:]))
    assert add_up([]) == Window()


def test_a_column_has_its_failures_at_the_bottom_and_its_receipts_above() -> None:
    plot = columns([Bucket(NOON, Window(60, 40)), Bucket(NOON + HOUR)], HOUR)
    bad, good = plot.bars
    assert (plot.highest, bad.kind, good.kind) == (100, "bad", "good")
    assert (bad.y + bad.height, good.y + good.height, good.y) == (HEIGHT, bad.y, 0)
    assert bad.height == pytest.approx(0.4 * HEIGHT)
    assert 0 < bad.x < bad.x + bad.width < WIDTH / 2


def test_a_single_failure_among_a_million_is_seen() -> None:
    plot = columns([Bucket(NOON, Window(1_000_000, 1))], HOUR)
    bad = next(bar for bar in plot.bars if bar.kind == "bad")
    assert bad.height >= 1
    assert all(bar.y >= 0 and bar.y + bar.height <= HEIGHT for bar in plot.bars)


def test_a_mark_says_how_many_were_retries() -> None:
    plot = columns([Bucket(NOON, Window(50, 50, 50))], HOUR)
    mark = next(bar for bar in plot.bars if bar.kind == "retry")
    assert mark.y + mark.height / 2 == pytest.approx(HEIGHT / 2)


def test_nothing_at_all_is_a_plot_too() -> None:
    for found in ([], [Bucket(NOON)]):
        assert columns(found, HOUR).bars == ()
        assert [path for _, _, path in line(found, HOUR).paths] == ["", ""]


def test_latency_has_a_gap_where_no_request_was_made() -> None:
    quick, slow = Window(5, latencies=QUICK), Window(5, latencies=SLOW)
    plot = line([Bucket(NOON, quick), Bucket(NOON + HOUR, slow), Bucket(NOON + 2 * HOUR), Bucket(NOON + 3 * HOUR, quick)], HOUR)
    assert plot.highest == 1000
    (median, _, path), (late, _, _) = plot.paths
    assert (median, late) == ("p50", "p95")
    assert [step for step in re.findall("[ML]", path)] == ["M", "L", "M"]
    assert [values[0] is None for _, values in plot.rows] == [False, False, True, False]


def test_the_axis_names_both_ends() -> None:
    plot = columns([Bucket(NOON + number * HOUR) for number in range(24)], HOUR)
    assert (plot.times[0], plot.times[-1]) == (NOON, NOON + 24 * HOUR)
