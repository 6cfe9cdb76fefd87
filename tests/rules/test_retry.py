"""When is a delivery received, tried again, given up?"""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridhook.model import Answered, Delivered, FailureReason, GaveUp, Reason, RetryAt, Unreachable, Verdict
from gridhook.rules.retry import LAST_CALL_MS, judge, retry_after_seconds

NOON = int(datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp() * 1000)
HOURS = 3_600_000
DELAYS = (30, 120, 300, 900, 1800, 3600)
EXPIRES = NOON + 6 * HOURS
DOWN = Unreachable(Reason.CONNECT_REFUSED)


def after(outcome, number=1, *, now=NOON, expires_at=EXPIRES, **options) -> Verdict:
    return judge(outcome, number, expires_at, now, delays_seconds=DELAYS, **options)


def answered(status, *lines: bytes):
    return Answered(status, headers=b"".join(line + b"\r\n" for line in lines))


def http_date(at: int) -> bytes:
    return format_datetime(datetime.fromtimestamp(at / 1000, UTC), usegmt=True).encode()


@pytest.mark.parametrize("status", [200, 201])
def test_200_and_201_are_received(status):
    assert after(answered(status), 7, now=EXPIRES + HOURS) == Delivered()


def test_a_200_whose_body_broke_is_received_all_the_same():
    assert after(Answered(200, truncated=True, body_error="reset in the body")) == Delivered()


@pytest.mark.parametrize("status", [100, 101, 199, 202, 204, 206, 301, 302, 307, 400, 401, 404, 410, 429, 500, 503, 599, 999])
def test_every_other_status_is_tried_again(status):
    assert after(answered(status)) == RetryAt(NOON + 30_000)


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.INTERRUPTED])
def test_every_way_of_not_answering_is_tried_again(reason):
    assert after(Unreachable(reason)) == RetryAt(NOON + 30_000)


@pytest.mark.parametrize(("number", "seconds"), [(1, 30), (2, 120), (3, 300), (4, 900), (5, 1800), (6, 3600)])
def test_the_seven_attempts_follow_the_guides_table(number, seconds):
    assert after(DOWN, number) == RetryAt(NOON + seconds * 1000)


@pytest.mark.parametrize("number", [7, 8, 100])
def test_after_the_seventh_attempt_the_schedule_is_spent(number):
    assert after(DOWN, number) == GaveUp(FailureReason.EXHAUSTED)


def test_a_receiver_that_is_down_from_the_start_is_given_up_after_1_hour_52_minutes_30_seconds():
    now, number = NOON, 1
    while isinstance(verdict := after(DOWN, number, now=now), RetryAt):
        now, number = verdict.at, number + 1
    assert (number, now - NOON, verdict) == (7, 6_750_000, GaveUp(FailureReason.EXHAUSTED))


def test_no_retry_that_would_land_outside_the_six_hour_window():
    assert after(DOWN, 6, now=EXPIRES - HOURS) == RetryAt(EXPIRES)
    assert after(DOWN, 6, now=EXPIRES - HOURS + 1) == GaveUp(FailureReason.EXPIRED)


def test_an_operators_own_schedule_is_followed():
    assert judge(DOWN, 1, EXPIRES, NOON, delays_seconds=()) == GaveUp(FailureReason.EXHAUSTED)
    assert judge(DOWN, 2, EXPIRES, NOON, delays_seconds=(1, 7200)) == RetryAt(NOON + 2 * HOURS)


def test_an_attempt_that_our_own_stop_interrupted_is_due_again_at_once():
    assert after(Unreachable(Reason.INTERRUPTED), 7) == RetryAt(NOON)
    assert after(Unreachable(Reason.INTERRUPTED), 1, now=EXPIRES + 1) == GaveUp(FailureReason.EXPIRED)


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_lengthens_the_delay(status):
    assert after(answered(status, b"Retry-After: 600")) == RetryAt(NOON + 600_000)
    assert after(answered(status, b"retry-after:" + http_date(NOON + 600_000))) == RetryAt(NOON + 600_000)


def test_retry_after_never_shortens_the_delay():
    assert after(answered(429, b"Retry-After: 1"), 6) == RetryAt(NOON + 3_600_000)
    assert after(answered(429, b"Retry-After: 0"), 6) == RetryAt(NOON + 3_600_000)


def test_a_short_retry_after_does_not_take_the_spread_away():
    assert after(answered(429, b"Retry-After: 1"), jitter=1.0, chance=0.5) == RetryAt(NOON + 45_000)


def test_retry_after_is_for_429_and_503_only_and_can_be_turned_off():
    assert after(answered(500, b"Retry-After: 600")) == RetryAt(NOON + 30_000)
    assert after(answered(429, b"Retry-After: 600"), honour_retry_after=False) == RetryAt(NOON + 30_000)


@pytest.mark.parametrize("value", [b"86400", b"99999999999999999999999", b"9" * 6000, http_date(NOON + 365 * 24 * HOURS)])
def test_a_retry_after_beyond_the_window_becomes_a_last_try_before_its_end(value):
    assert after(answered(503, b"Retry-After: " + value)) == RetryAt(EXPIRES - LAST_CALL_MS)


def test_near_the_windows_end_the_plain_schedule_stands_although_more_was_asked():
    now = EXPIRES - 31_000
    assert after(answered(503, b"Retry-After: 600"), 1, now=now) == RetryAt(now + 30_000)


NOT_SAID = [
    b"",
    b"-5",
    b"+5",
    b"1.5",
    b"1e3",
    b"soon",
    b"\xd9\xa3",
    b"12 34",
    b"Sun, 99 Nov 2026 99:99:99 GMT",
    b"Sun, 22 Nov 99999 12:00:00 GMT",
    b"\x00",
    b"()" * 20,
    b"A" * 5000,
]


@pytest.mark.parametrize("value", NOT_SAID)
def test_a_retry_after_that_cannot_be_read_counts_as_not_said(value):
    assert retry_after_seconds(b"Retry-After: " + value + b"\r\n", NOON) is None


def test_a_date_that_has_passed_counts_as_not_said():
    assert retry_after_seconds(b"Retry-After: " + http_date(NOON - 1000), NOON) is None
    assert retry_after_seconds(b"Retry-After: " + http_date(NOON), NOON) is None


@pytest.mark.parametrize("date", [b"Sun, 22 Nov 2026 12:01:00 GMT", b"Sunday, 22-Nov-26 12:01:00 GMT", b"Sun Nov 22 12:01:00 2026"])
def test_all_three_of_http_s_date_formats_are_read_as_utc(date):
    assert retry_after_seconds(b"Retry-After: " + date, NOON) == 60


def test_a_date_within_a_second_counts_as_the_whole_second():
    assert retry_after_seconds(b"Retry-After: Sun, 22 Nov 2026 12:01:00 GMT", NOON + 1) == 60
    assert retry_after_seconds(b"Retry-After: Sun, 22 Nov 2026 12:01:00 GMT", NOON - 1) == 61


def test_of_two_retry_afters_the_first_counts_and_other_lines_do_not_disturb():
    headers = b"HTTP/1.1 429 Too Many\r\nX-Retry-After: 1\r\n broken\r\nRETRY-AFTER:  7 \r\nRetry-After: 900\r\n\r\n"
    assert retry_after_seconds(headers, NOON) == 7
    assert retry_after_seconds(headers.replace(b"\r\n", b"\n"), NOON) == 7


outcomes = st.one_of(
    st.builds(Unreachable, st.sampled_from(Reason)),
    st.builds(Answered, st.integers(100, 999), st.binary(max_size=80)),
    st.builds(lambda status, value: answered(status, b"Retry-After: " + value), st.sampled_from([429, 503]), st.binary(max_size=40)),
    st.builds(lambda status, n: answered(status, b"Retry-After: %d" % n), st.sampled_from([429, 503]), st.integers(0, 10**12)),
)
numbers, ages = st.integers(1, 8), st.integers(0, 7 * HOURS)
chances = st.floats(0, 1, exclude_max=True)


@given(outcome=outcomes, number=numbers, age=ages, jitter=st.floats(0, 10), chance=chances)
def test_a_retry_is_never_in_the_past_and_never_past_the_window(outcome, number, age, jitter, chance):
    now = NOON + age
    verdict = after(outcome, number, now=now, jitter=jitter, chance=chance)
    if isinstance(verdict, RetryAt):
        assert now <= verdict.at <= EXPIRES


@given(outcome=outcomes, number=numbers, age=ages, jitter=st.floats(0, 10), chance=chances)
def test_jitter_and_retry_after_only_delay_and_never_cost_an_attempt(outcome, number, age, jitter, chance):
    plain = after(outcome, number, now=NOON + age, honour_retry_after=False)
    verdict = after(outcome, number, now=NOON + age, jitter=jitter, chance=chance)
    if isinstance(plain, RetryAt):
        assert isinstance(verdict, RetryAt)
        assert verdict.at >= plain.at
    else:
        assert verdict == plain


@given(seconds=st.integers(0, 20_000), number=st.integers(1, 6), jitter=st.floats(0, 1), chance=chances)
def test_we_never_come_back_before_the_receiver_said(seconds, number, jitter, chance):
    verdict = after(answered(429, b"Retry-After: %d" % seconds), number, jitter=jitter, chance=chance)
    assert isinstance(verdict, RetryAt)
    assert verdict.at >= NOON + seconds * 1000


@given(headers=st.binary(max_size=200), now=st.integers(0, 2**45))
def test_no_header_of_a_receiver_breaks_the_reading(headers, now):
    for said in (retry_after_seconds(headers, now), retry_after_seconds(b"Retry-After: " + headers, now)):
        assert said is None or said >= 0


@given(text=st.text(alphabet="0123456789 :,-+()GMTSunNov", max_size=40))
def test_no_date_like_text_of_a_receiver_breaks_the_reading(text):
    said = retry_after_seconds(b"Retry-After: " + text.encode(), NOON)
    assert said is None or said >= 0
