"""When is a certificate told to expire, renewed, and how does it stand?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gridhook.model import Certificate, Instant
from gridhook.rules.certificates import NOTICE_DAYS, CertificateState, days_left, is_renewal_due, notices_due, state_of

NOON = 1_795_348_800_000
HOUR = 3_600_000
DAY = 24 * HOUR
YEAR = 365 * DAY


def made(
    days: float = 365, *, told: int | None = None, replaced_at: Instant | None = None, retires_at: Instant | None = None
) -> Certificate:
    return Certificate(
        "acc", "wh", "crt", "ca", "01", "ff", b"", NOON - HOUR, NOON + int(days * DAY), NOON, None, replaced_at, retires_at, told
    )


END = made().expires_at


@pytest.mark.parametrize(
    ("before", "told", "due"),
    [
        (30 * DAY + 1, None, ()),
        (30 * DAY, None, (30,)),
        (30 * DAY, 30, ()),
        (14 * DAY + 1, 30, ()),
        (14 * DAY, 30, (14,)),
        (7 * DAY, 14, (7,)),
        (DAY, 7, (1,)),
        (DAY, 1, ()),
        (1, 1, ()),
        (1, None, (30, 14, 7, 1)),  # we were away for a month: each is told all the same, the earliest first
        (6 * DAY, 30, (14, 7)),
        (40 * DAY, 14, ()),  # the clock stepped back: what was told is not told again
        (20 * DAY, 14, ()),
        (0, None, ()),  # it has expired: it does not expire any more
        (-DAY, 7, ()),
    ],
)
def test_a_notice_is_due_from_its_day_on_until_it_was_told(before: int, told: int | None, due: tuple[int, ...]) -> None:
    assert notices_due(made(told=told), END - before) == due


@pytest.mark.parametrize(("days", "due"), [(30.0, (14, 7, 1)), (10, (7, 1)), (7, (1,)), (0.5, ()), (31, (30, 14, 7, 1))])
def test_a_certificate_for_ten_days_is_not_about_to_expire_in_thirty(days: float, due: tuple[int, ...]) -> None:
    certificate = made(days)
    assert notices_due(certificate, certificate.expires_at - 1) == due


@pytest.mark.parametrize(
    ("before", "days"),
    [
        (30 * DAY, 30),
        (30 * DAY - 60_000, 30),  # a minute late, as looks are: the notice says its own number
        (30 * DAY - HOUR - 1, 29),
        (29 * DAY + HOUR, 29),
        (DAY, 1),
        (DAY - 60_000, 1),
        (20 * HOUR, 0),
        (0, 0),
        (-DAY, 0),
    ],
)
def test_whole_days_are_left_rounded_down(before: int, days: int) -> None:
    assert days_left(made(), END - before) == days


@pytest.mark.parametrize(
    ("lives", "before", "setting", "due"),
    [
        (365, 30 * DAY + 1, 30, False),
        (365, 30 * DAY, 30, True),
        (365, -DAY, 30, True),  # one that expired is replaced too
        (365, DAY, 0, False),  # 0: never
        (365, -DAY, 0, False),
        (40, 30 * DAY, 30, False),  # in the first half of a short life: not yet
        (40, 20 * DAY, 30, True),
        (10, 5 * DAY + 1, 30, False),
        (10, 5 * DAY, 30, True),
    ],
)
def test_renewal_is_due_so_many_days_before_the_end_and_never_in_the_first_half_of_a_life(
    lives: int, before: int, setting: int, due: bool
) -> None:
    certificate = made(lives)
    at = certificate.expires_at - before
    assert is_renewal_due(certificate, at, setting) is due
    assert not is_renewal_due(replace(certificate, replaced_at=NOON, retires_at=at + DAY), at, setting), "replaced already"


@pytest.mark.parametrize(
    ("replaced_at", "retires_at", "now", "state"),
    [
        (None, None, NOON, CertificateState.PRESENTED),
        (None, None, END - 1, CertificateState.PRESENTED),
        (None, None, END, CertificateState.EXPIRED),
        (NOON, NOON + 7 * DAY, NOON, CertificateState.FALLBACK),
        (NOON, NOON + 7 * DAY, NOON + 7 * DAY - 1, CertificateState.FALLBACK),
        (NOON, NOON + 7 * DAY, NOON + 7 * DAY, CertificateState.RETIRED),
        (NOON, NOON, NOON, CertificateState.RETIRED),
        (NOON, NOON + 7 * DAY, END, CertificateState.RETIRED),
    ],
)
def test_how_a_certificate_stands_follows_from_the_clock_alone(
    replaced_at: Instant | None, retires_at: Instant | None, now: Instant, state: CertificateState
) -> None:
    assert state_of(made(replaced_at=replaced_at, retires_at=retires_at), now) is state


def looked(certificate: Certificate, moments: list[Instant]) -> list[int]:
    """What is told when the clock shows these moments, one after the other; in between we may have been restarted: all that is
    remembered stands in the certificate."""
    told: list[int] = []
    for now in moments:
        for days in notices_due(certificate, now):
            told.append(days)
            if certificate.noticed_days is None or certificate.noticed_days > days:  # what the store writes down
                certificate = replace(certificate, noticed_days=days)
    return told


moments = st.integers(-2 * DAY, YEAR + 40 * DAY) | st.sampled_from([YEAR - days * DAY + off for days in NOTICE_DAYS for off in (-1, 0, 1)])


@given(st.lists(moments, max_size=30))
def test_whatever_the_clock_does_no_notice_is_told_twice_and_they_come_in_their_order(offsets: list[int]) -> None:
    told = looked(made(), [NOON + offset for offset in offsets])
    assert told == sorted(set(told), reverse=True)


@given(st.lists(moments, max_size=30))
def test_whatever_the_clock_does_each_notice_whose_time_was_seen_was_told_and_no_other(offsets: list[int]) -> None:
    seen = [NOON + offset for offset in offsets]
    latest = max((now for now in seen if now < END), default=NOON)  # past the end nothing is told, and nothing used up
    assert looked(made(), seen) == [days for days in NOTICE_DAYS if END - days * DAY <= latest]


@given(st.lists(moments, max_size=30), st.integers(0, DAY - 1))
def test_after_any_disorder_a_clock_that_goes_right_leaves_no_notice_untold(offsets: list[int], late: int) -> None:
    days = [END - n * DAY + late for n in range(40, 0, -1)]
    told = looked(made(), [*(NOON + offset for offset in offsets), *days])
    assert told == list(NOTICE_DAYS)


@given(st.integers(1, 3650), st.integers(0, 3649), st.integers(-DAY, 3651 * DAY))
def test_a_certificate_that_was_just_made_is_never_due_for_renewal(lives: int, setting: int, offset: int) -> None:
    certificate = made(lives)
    assert not is_renewal_due(certificate, NOON, setting)
    now = NOON + offset
    if is_renewal_due(certificate, now, setting):
        assert certificate.expires_at - now <= setting * DAY, "so that a look at what ends soon finds it"
