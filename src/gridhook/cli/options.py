"""What many commands ask for alike: whose webhook, how long, since when, how many at most."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from gridhook.clock import SystemClock
from gridhook.model import Instant
from gridhook.rules.instants import parse_rfc3339

F = TypeVar("F", bound=Callable[..., Any])

NONE = "none"
UNIT_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
LONGEST_MS = 36_500 * 86_400_000  # a century: instants stay such as can be written
_DURATION = re.compile(r"(?:[0-9]{1,9}[smhd])+", re.ASCII)
_PART = re.compile(r"([0-9]+)([smhd])", re.ASCII)


def duration_ms(text: str) -> int:
    """Milliseconds of `90s`, `15m`, `2h`, `7d`, `1h30m`. Raises `ValueError` with a sentence."""
    if not _DURATION.fullmatch(text):
        raise ValueError("must be a duration such as 90s, 15m, 2h, 7d or 1h30m")
    found = sum(int(count) * UNIT_MS[unit] for count, unit in _PART.findall(text))
    if found > LONGEST_MS:
        raise ValueError("must be at most 36500d")
    return found


class InOrder(click.Group):
    """A group whose help lists its commands in the order in which they are used, not by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


class Number(click.FloatRange):
    """Neither infinite nor no number, which a range of floats lets pass."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail("must be a number", param, ctx)
        return found


# Types of options: a function that takes the text, or says what is wrong with it. Its name is what the help shows.


def text(given: str) -> str:
    """An id or a name, which is never empty: a shell variable that was not set must not mean "all of them"."""
    if not given.strip():
        raise click.BadParameter("is empty; is the shell variable set that should hold it?")
    try:
        given.encode()
    except UnicodeEncodeError:  # Python keeps a byte that is not UTF-8 as half a surrogate pair
        raise click.BadParameter("is not UTF-8") from None
    return given


def duration(text: str) -> int:
    """Milliseconds."""
    try:
        return duration_ms(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def time(text: str) -> Instant:
    try:
        return parse_rfc3339(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def time_or_ago(text: str) -> Instant:
    """A duration counts back from now."""
    if _DURATION.fullmatch(text):
        return max(0, SystemClock().now() - duration_ms(text))
    try:
        return parse_rfc3339(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}, or a duration such as 2h, counted back from now") from None


def number(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise click.BadParameter("must be a number")
    return int(text) if text.isdecimal() else found


def number_or_none(text: str) -> float | str:
    """NONE: there shall be no limit."""
    try:
        return NONE if text == NONE else number(text)
    except click.BadParameter:
        raise click.BadParameter("must be a number, or none") from None


def header(text: str) -> tuple[str, str]:
    """(name, value) of `Name=value`; the value may hold more of `=`, and may be empty."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise click.BadParameter("must be Name=value")
    return name.strip(), value


webhook = click.argument("webhook_id", metavar="WEBHOOK", type=text)
account = click.option("--account", type=text, envvar="PUBLISHER_ACCOUNT", required=True, show_envvar=True, help="Whose: the account's id.")
# Not --url, as in `gridhook publish`: here a URL is a webhook's.
server = click.option("--server", envvar="PUBLISHER_URL", show_envvar=True, help="The running server; left out: http://<GRIDHOOK_LISTEN>.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON: one object, or one per line.")
since = click.option("--since", type=time_or_ago, help="Not before: RFC 3339, or a duration back from now such as 2h.")
until = click.option("--until", type=time_or_ago, help="Before this: likewise.")


def needs_server(command: F) -> F:
    """The options of a command that the running server carries out."""
    return account(server(as_json(command)))


def looks(command: F) -> F:
    """The options of a command that reads the database."""
    return account(as_json(command))
