"""Named SQL statements: portable ones, and those that a database overrides under the same name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal, TypeAlias

Dialect: TypeAlias = Literal["sqlite", "postgres"]

_HEAD = re.compile(r"^-- (name|piece|choice): ([\w{}]+)$", re.MULTILINE)
_HOLE = re.compile(r"\{(\w+)\}")
_OPTION = re.compile(r"^(\w+): ", re.MULTILINE)
# A string literal, a comment, or a `::type` cast is passed over; only a single colon starts a name.
_TOKEN = re.compile(r"'[^']*'|--[^\n]*|::|:([a-z_][a-z0-9_]*)|%")


@dataclass(frozen=True, slots=True)
class Query:
    """One statement. `names` are its parameters in the order of their first appearance, which is the order of a row in `many`."""

    name: str
    sql: str
    names: tuple[str, ...]


def parse(text: str, dialect: Dialect, pieces: Mapping[str, str] | None = None) -> dict[str, Query]:
    """Read `-- name: x` sections; `:name` becomes `?1` (SQLite) or `%(name)s` (psycopg).

    `-- piece: x` is text for `{x}` in the statements after it. `-- choice: x` is such a text with options, one to a paragraph that
    starts with its name: a statement named `page_{x}` is made once for each. Nothing else is ever put into a statement.
    pieces: of the other file; they win over those of this one.
    """
    known = {head: body for kind, head, body in _sections(text) if kind == "piece"} | dict(pieces or {})
    choices: dict[str, dict[str, str]] = {}
    queries: dict[str, Query] = {}
    for kind, head, body in _sections(text):
        if kind == "choice":
            options = _OPTION.split(body)
            choices[head] = {option: words.strip() for option, words in zip(options[1::2], options[2::2], strict=True)}
        elif kind == "name":
            for name, chosen in _variants(head, choices):
                if name in queries:
                    raise ValueError(f"two statements are named {name}")
                queries[name] = _compile(name, _filled(body, known | chosen), dialect)
    return queries


def _sections(text: str) -> list[tuple[str, str, str]]:
    """(kind, head, body without comments) of each."""
    parts = _HEAD.split(text)
    found: list[tuple[str, str, str]] = []
    for kind, head, section in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        found.append((kind, head, "\n".join(line for line in section.splitlines() if not line.lstrip().startswith("--")).strip()))
    return found


def _variants(head: str, choices: Mapping[str, Mapping[str, str]]) -> list[tuple[str, dict[str, str]]]:
    hole = _HOLE.search(head)
    if hole is None:
        return [(head, {})]
    return [(head.replace(hole[0], option), {hole[1]: words}) for option, words in choices[hole[1]].items()]


def _filled(body: str, words: Mapping[str, str]) -> str:
    return _HOLE.sub(lambda hole: words[hole[1]], body)


def load(dialect: Dialect) -> Mapping[str, Query]:
    """All statements of one database. An override keeps the parameters of what it replaces, so that callers need not know of it."""
    here = files("gridhook.store")
    text, overrides = here.joinpath("queries.sql").read_text(), here.joinpath("queries.postgres.sql").read_text()
    if dialect == "sqlite":
        return parse(text, dialect)
    pieces = {head: body for kind, head, body in _sections(overrides) if kind == "piece"}
    queries = parse(text, dialect, pieces)
    for name, query in parse(overrides, dialect).items():
        if name in queries and queries[name].names != query.names:
            raise ValueError(f"{name}: the override takes {query.names}, the portable statement {queries[name].names}")
        queries[name] = query
    return queries


def _compile(name: str, body: str, dialect: Dialect) -> Query:
    names: list[str] = []

    def token(match: re.Match[str]) -> str:
        found = match.group(1)
        if found is None:
            return "%%" if match.group(0) == "%" and dialect == "postgres" else match.group(0)
        if found not in names:
            names.append(found)
        return f"?{names.index(found) + 1}" if dialect == "sqlite" else f"%({found})s"

    sql = _TOKEN.sub(token, body)
    if sql.startswith("COPY "):  # its columns are its parameters
        names = sql.partition("(")[2].partition(")")[0].replace(",", " ").split()
    return Query(name, sql, tuple(names))
