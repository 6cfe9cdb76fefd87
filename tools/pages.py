"""The generated pages of docs/: `make docs` writes them, tests/test_house.py finds them stale.

What the code already says once (settings with unit, default and doc) is not written a second time by hand.
"""

from __future__ import annotations

from pathlib import Path

from gridhook.config import Settings

ROOT = Path(__file__).resolve().parent.parent


def settings_page() -> str:
    """docs/settings.md, from `Settings.describe()`."""
    lines = [
        "# Settings",
        "",
        "<!-- Written by `make docs` from src/gridhook/config.py; do not edit. -->",
        "",
        "gridhook is configured by environment variables. The unit stands at the end of a name (`_SECONDS`, `_BYTES`); lists are",
        "comma-separated; booleans are `true` or `false`. A variable that starts with `GRIDHOOK_` and is not in this table",
        "stops the start, so that a mistyped name cannot pass unseen. `gridhook serve --help` prints the same table.",
        "",
        "| variable | default | meaning |",
        "|---|---|---|",
    ]
    lines += [f"| `{name}` | {f'`{default}`' if default else 'empty'} | {_cell(doc)} |" for name, default, doc in Settings.describe()]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """Text that stays within one cell of a Markdown table: `<x>` would vanish as an HTML tag, `|` would end the cell."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace(">", "&gt;")


PAGES = {ROOT / "docs" / "settings.md": settings_page}


if __name__ == "__main__":
    for path, page in PAGES.items():
        path.write_text(page())
        print(path.relative_to(ROOT))
