"""A log as a page of it: what a person narrowed it down to, where the page begins, and the ways on from there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar
from urllib.parse import urlencode

from gridhook.errors import Invalid
from gridhook.model import Instant
from gridhook.web.call import Call
from gridhook.web.cursors import Position, around, cursor, read_cursor
from gridhook.web.pages import times
from gridhook.web.pages.forms import sentence
from gridhook.web.reading import checked_span

STRETCHES = 4  # of a long log that are looked at for one page, should the first hold no match

F = TypeVar("F")
R = TypeVar("R")
V = TypeVar("V")

Look: TypeAlias = Callable[[Position | None, Position | None, int], Awaitable[tuple[Sequence[R], Position | None]]]
"""(before, after, limit) -> the rows of one stretch of a log in the direction asked for, and where it goes on."""


@dataclass(frozen=True, slots=True)
class Asked(Generic[F]):
    """What a log is narrowed down to: the fields as they stand in the address, and what they mean. errors: of which field, what."""

    fields: Mapping[str, str]
    filter: F
    errors: Mapping[str, str]

    @property
    def is_any(self) -> bool:
        return not self.fields

    def query(self, **more: str) -> str:
        """Of an address that shows this; empty for all."""
        text = urlencode({**self.fields, **more})
        return f"?{text}" if text else ""


@dataclass(frozen=True, slots=True)
class Part(Generic[R]):
    """Rows, newest first. here: of the query, what says where this page begins. older, newer: addresses, None where there is nothing."""

    rows: list[R]
    here: Mapping[str, str]
    is_top: bool
    older: str | None
    newer: str | None


class Fields:
    """The fields that say something. What cannot be read is an error of its field, and has no value."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self.texts = {name: text.strip() for name, text in given.items() if text.strip()}
        self.errors: dict[str, str] = {}

    def read(self, name: str, reader: Callable[[str | None], V]) -> V | None:
        try:
            return reader(self.texts.get(name))
        except Invalid as refusal:
            self.errors[name] = sentence(refusal.message)
            return None

    def one_of(self, name: str, words: Collection[str], what: str) -> str | None:
        """A word of a closed set."""
        text = self.texts.get(name)
        if text is None or text in words:
            return text
        self.errors[name] = f"There is no such {what}."
        return None

    def span(self) -> tuple[Instant | None, Instant | None]:
        """(since, until)"""
        since, until = (times.read(self.texts, name, self.errors) for name in ("since", "until"))
        try:
            checked_span(since, until)
        except Invalid as refusal:
            self.errors["until"] = sentence(refusal.message)
        return since, until


def arguments(call: Call, names: Collection[str]) -> Fields:
    return Fields({name: call.argument(name) or "" for name in names})


async def part_of(call: Call, log: str, path: str, asked: Asked[F], look: Look[R], place: Callable[[R], Position], *, size: int) -> Part[R]:
    """The part of a log that an address asks for; empty while the address has errors. log: whose (of cursors). path: of the page."""
    older, newer = call.argument("cursor"), call.argument("newer")
    before, after = read_cursor(older, log), None if older else read_cursor(newer, log, "newer")
    rows, following = ([], None) if asked.errors else await walk(look, before, after, size)
    next_at, newer_at = around([place(row) for row in rows], following, before=before, after=after)
    is_top = before is None and after is None
    return Part(
        rows,
        {"cursor": older} if older else {"newer": newer} if newer else {},
        is_top,
        None if next_at is None else path + asked.query(cursor=cursor(next_at, log)),
        None if is_top or newer_at is None else path + asked.query(newer=cursor(newer_at, log)),
    )


async def walk(look: Look[R], before: Position | None, after: Position | None, size: int) -> tuple[list[R], Position | None]:
    """Up to `size` rows, newest first, and where it goes on in the direction asked for: a look sees one stretch of the log only."""
    found: list[R] = []
    following = None
    for _ in range(STRETCHES):
        rows, following = await look(before, after, size - len(found))
        found += rows
        if following is None or len(found) >= size:
            break
        before, after = (following, None) if after is None else (None, following)
    return (found if after is None else found[::-1]), following
