"""How long, since when, how many: what people type, and what is refused."""

from __future__ import annotations

import click
import pytest

from gridhook.cli.client import listening_url
from gridhook.cli.options import duration, header, number_or_none, time_or_ago
from gridhook.clock import SystemClock


@pytest.mark.parametrize(
    ("text", "ms"),
    [("90s", 90_000), ("15m", 900_000), ("2h", 7_200_000), ("7d", 604_800_000), ("1h30m", 5_400_000), ("0s", 0)],
)
def test_a_duration_is_a_number_with_its_unit(text: str, ms: int):
    assert duration(text) == ms


@pytest.mark.parametrize("text", ["", "2", "h", "2 h", "-2h", "2w", "1.5h", "2H", "\u0662h", "2h\n", "P1D"])
def test_what_is_no_duration_is_refused_with_an_example(text: str):
    with pytest.raises(click.BadParameter, match="such as 90s"):
        duration(text)


def test_a_time_is_rfc_3339_or_a_duration_back_from_now():
    assert time_or_ago("1970-01-01T01:00:00+01:00") == 0
    before = SystemClock().now()
    assert before <= time_or_ago("2h") + 7_200_000 <= SystemClock().now()
    for text in ("yesterday", "2026-11-22", "2026-11-22T10:00:00"):
        with pytest.raises(click.BadParameter, match=r"RFC 3339.*or a duration"):
            time_or_ago(text)


def test_a_header_is_split_at_its_first_equals_sign():
    assert header("X-Key=a=b=") == ("X-Key", "a=b=")
    assert header("X-Key=") == ("X-Key", "")
    for text in ("X-Key", "=value"):
        with pytest.raises(click.BadParameter, match="Name=value"):
            header(text)


def test_a_limit_can_be_taken_away():
    assert (number_or_none("none"), number_or_none("20"), number_or_none("0.5")) == ("none", 20, 0.5)
    with pytest.raises(click.BadParameter):
        number_or_none("many")


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("0.0.0.0:80", "http://127.0.0.1:80"),
        ("[::]:80", "http://[::1]:80"),
        (":80", "http://127.0.0.1:80"),
        ("gridhook.internal:80", "http://gridhook.internal:80"),
    ],
)
def test_the_server_of_this_machine_is_found_by_where_it_listens(listen: str, url: str):
    assert listening_url(listen) == url
