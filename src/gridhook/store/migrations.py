"""Numbered steps from an empty database to the schema that this version needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files

from gridhook.errors import Misconfigured
from gridhook.store.queries import Dialect


@dataclass(frozen=True, slots=True)
class Migration:
    """`schema/NNNN_name.sql`, or `NNNN_name.<dialect>.sql` where the databases must differ."""

    number: int
    name: str
    sql: str


def migrations(dialect: Dialect) -> list[Migration]:
    """In order; their numbers run from 1 without a gap."""
    found: dict[int, Migration] = {}
    for file in files("gridhook.store").joinpath("schema").iterdir():
        stem, _, kind = file.name.removesuffix(".sql").partition(".")
        if file.name.endswith(".sql") and kind in ("", dialect):
            number, _, name = stem.partition("_")
            found[int(number)] = Migration(int(number), name, file.read_text())
    if sorted(found) != list(range(1, len(found) + 1)):
        raise ValueError(f"the migrations are not numbered from 1 without a gap: {sorted(found)}")
    return [found[number] for number in sorted(found)]


def bring_up(dialect: Dialect, version: int, migrate: bool, apply: Callable[[Migration], None]) -> None:
    """Apply what is missing above `version`, one step at a time.

    Raises `Misconfigured` when the database is newer than this version of gridhook, or older and `migrate` is False.
    """
    known = migrations(dialect)
    if version > len(known):
        raise Misconfigured(
            f"the database's schema has version {version}, this gridhook knows up to {len(known)}: "
            "run the version that migrated it, or a newer one"
        )
    if version < len(known) and not migrate:
        raise Misconfigured(f"the database's schema has version {version}, version {len(known)} is needed: run `gridhook migrate`")
    for migration in known[version:]:
        apply(migration)
