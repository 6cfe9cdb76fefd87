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


def parse(text: str, dialect: Dialect) -> dict[str, Query]:
    """Read `-- name: x` sections; `:name` becomes `?1` (SQLite) or `%(name)s` (psycopg).

    `-- piece: x` is text for `{x}` in the statements after it. `-- choice: x` is such a text with options, one to a paragraph that
    starts with its name: a statement named `page_{x}` is made once for each. Nothing else is ever put into a statement.
    """
    parts = _HEAD.split(text)
    pieces: dict[str, str] = {}
    choices: dict[str, dict[str, str]] = {}
    queries: dict[str, Query] = {}
    for kind, head, section in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        body = "\n".join(line for line in section.splitlines() if not line.lstrip().startswith("--")).strip()
        if kind == "piece":
            pieces[head] = body
        elif kind == "choice":
            options = _OPTION.split(body)
            choices[head] = {option: words.strip() for option, words in zip(options[1::2], options[2::2], strict=True)}
        else:
            for name, chosen in _variants(head, choices):
                if name in queries:
                    raise ValueError(f"two statements are named {name}")
                queries[name] = _compile(name, _filled(body, pieces | chosen), dialect)
    return queries


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
    queries = parse(here.joinpath("queries.sql").read_text(), dialect)
    if dialect == "postgres":
        for name, query in parse(here.joinpath("queries.postgres.sql").read_text(), dialect).items():
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
