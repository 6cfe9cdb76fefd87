"""Text for a terminal: nothing that a stranger sent may move its cursor, colour it or reorder it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import IO, Any

import click

from gridhook.model import Instant
from gridhook.rules.instants import rfc3339


class Failure(click.ClickException):
    """Ends the command with exit code 1 and one line on standard error."""

    def show(self, file: IO[Any] | None = None) -> None:
        # Drivers speak in several lines.
        click.echo(f"error: {safe(chr(32).join(self.message.split()))}", file=file, err=file is None)


def safe(text: str) -> str:
    """Everything unprintable escaped: control characters, line ends, direction overrides, lone surrogates."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def safe_bytes(data: bytes, limit: int) -> str:
    """Bytes as one line of safe text, cut after `limit` bytes. UTF-8 stays readable."""
    text = safe(data[:limit].decode("utf-8", "backslashreplace"))
    return text + "..." if len(data) > limit else text


def json_line(value: Any) -> str:
    """One line of JSON in printable ASCII, so that it is as safe on a terminal as in a pipe."""
    return json.dumps(value, default=str).replace("\x7f", "\\u007f")


def pretty_json(value: Any) -> str:
    """Indented JSON; line by line safe, with readable non-ASCII text."""
    return "\n".join(safe(line) for line in json.dumps(value, indent=2, ensure_ascii=False).splitlines())


def instant(at: Instant | None) -> str:
    return "-" if at is None else rfc3339(at)


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns as wide as their widest cell, the last one free. Cells are made safe here."""
    cells = [[safe(str(cell)) for cell in row] for row in rows]
    widths = [max([len(title), *(len(row[i]) for row in cells)]) for i, title in enumerate(header)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (list(header), *cells)]
    return "\n".join(lines)
