"""What docs/ repeats from the code, written from the code: `make docs` writes it, tests/test_house.py notices when it is stale.

Whole pages: docs/settings.md, docs/commands.md. Tables inside hand-written pages: whatever stands between `<!-- table: NAME -->` and
`<!-- end of table -->`, for each NAME in TABLES.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from pathlib import Path

import click

from gridhook.cli import main as command_line
from gridhook.config import Settings
from gridhook.rules.catalogue import EVENT_TYPES
from gridhook.rules.diagnosis import ECHOES, REASONS, Diagnosis

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"

MARKED = re.compile(r"(<!-- table: ([a-z-]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def pages() -> Iterator[tuple[Path, str]]:
    """(path, what it should hold) of every page that is generated, wholly or in part."""
    yield DOCS / "settings.md", settings_page()
    yield DOCS / "commands.md", commands_page()
    for path in [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]:
        text = path.read_text()
        if MARKED.search(text):
            yield path, MARKED.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}{found[3]}", text)


def settings_page() -> str:
    return f"""# Settings

<!-- Written by `make docs` from src/gridhook/config.py; do not edit. -->

gridhook is configured by environment variables. The unit stands at the end of a name (`_SECONDS`, `_BYTES`); lists are
comma-separated; booleans are `true` or `false`. A variable that starts with `GRIDHOOK_` and is not in this table
stops the start, so that a mistyped name cannot pass unseen. `gridhook serve --help` prints the same table.

{settings_table()}"""


def settings_table() -> str:
    return _table(
        ("variable", "default", "meaning"), ((f"`{name}`", _code(default), _cell(doc)) for name, default, doc in Settings.describe())
    )


def commands_page() -> str:
    parts = [
        "# Commands",
        "<!-- Written by `make docs` from src/gridhook/cli; do not edit. -->",
        "Every command reads the settings of [settings.md](settings.md). `--help` after any of them prints what stands here.",
    ]
    for context, command in commands():
        parts.append(f"## `{context.command_path}`\n\n```text\n{command.get_help(context)}\n```")
    return "\n\n".join(parts) + "\n"


def commands() -> Iterator[tuple[click.Context, click.Command]]:
    """Every command that a user can type, groups included, in the order of `--help`."""
    # As people meet them, but for a fixed width: the page must not depend on the terminal in which it is written.
    settings = {**command_line.context_settings, "terminal_width": 100, "max_content_width": 100}
    yield from _below(click.Context(command_line, info_name="gridhook", **settings), command_line)


def _below(context: click.Context, command: click.Command) -> Iterator[tuple[click.Context, click.Command]]:
    yield context, command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None and not inner.hidden:
                yield from _below(click.Context(inner, parent=context, info_name=name), inner)


def _diagnoses(name: str, diagnoses: Iterable[tuple[StrEnum, Diagnosis]]) -> str:
    return _table((name, "what happened", "what to do"), ((f"`{key}`", _cell(d.summary), _cell(d.remedy)) for key, d in diagnoses))


def _schedule() -> str:
    delays: tuple[int, ...] = Settings().retry_delays_seconds
    rows = [("1", "at once"), *((str(number), _duration(delay)) for number, delay in enumerate(delays, 2))]
    return _table(("attempt", "delay after the previous"), rows)


TABLES: dict[str, Callable[[], str]] = {
    "settings": settings_table,
    "reasons": lambda: _diagnoses("reason", REASONS.items()),
    "echoes": lambda: _diagnoses("verification", ECHOES.items()),
    "schedule": _schedule,
    "event-types": lambda: _table(("type",), ((f"`{name}`",) for name in EVENT_TYPES)),
}


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in [head, ("---",) * len(head), *rows])


def _code(text: str) -> str:
    return f"`{text}`" if text else "empty"


def _cell(text: str) -> str:
    """Text that stays within one cell of a Markdown table: `<x>` would vanish as an HTML tag, `|` would end the cell."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace(">", "&gt;")


def _duration(seconds: int) -> str:
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


if __name__ == "__main__":
    for path, text in pages():
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(f"wrote {path.relative_to(ROOT)}")
