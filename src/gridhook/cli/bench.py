"""`gridhook bench`: measures the road on this machine and says how it stands to its targets."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from gridhook.bench.result import Result
from gridhook.bench.scenarios import SCENARIOS, TARGETS
from gridhook.cli import options


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(SCENARIOS)))
@click.option(
    "--seconds", type=options.Number(0.5, 3600), metavar="NUMBER", default=10.0, show_default=True, help="How long each load lasts."
)
@click.option("--database", default="", help="postgresql://... of an empty database; without it, SQLite on a fresh file.")
@click.option("--directory", type=click.Path(path_type=Path), help="Where the database lies; a real disk, or the figures mean nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def bench(names: tuple[str, ...], seconds: float, database: str, directory: Path | None, as_json: bool) -> None:
    """Measure singles, batches, steady latency, draining, memory and client certificates (all of them, or those NAMED).

    Each runs against a fresh server, with a receiver and publishers on the same machine. The ids that were answered 202 are
    compared with those that arrived: exit code 1 when any is lost, or when the server still owes some of them although the bench waited for
    the first two retries.
    """
    results: dict[str, Result] = {}
    for name in names or tuple(SCENARIOS):
        base = Path(tempfile.mkdtemp(prefix="gridhook-bench-", dir=directory or Path.cwd()))
        try:
            with click.progressbar(length=1000, label=f"{name:8}", file=sys.stderr, show_eta=False) as bar:
                shown = [0]

                def progress(what: str, share: float, bar: Any = bar, shown: list[int] = shown) -> None:
                    changed, bar.label = bar.label != what, what
                    step = int(share * 1000) - shown[0]
                    if step > 0:
                        shown[0] += step
                        bar.update(step)
                    elif changed:
                        bar.render_progress()

                results[name] = SCENARIOS[name](base, database, seconds, progress)
        finally:
            shutil.rmtree(base, ignore_errors=True)
    if as_json:
        click.echo(
            json.dumps(
                {
                    name: {**r.figures, "accepted": r.accepted, "lost": r.lost, "owed": r.owed, "repeated": r.repeated}
                    for name, r in results.items()
                },
                indent=1,
            )
        )
    else:
        for name, result in results.items():
            _show(name, result)
    if any(result.lost for result in results.values()):
        click.echo("LOST EVENTS: something that was answered 202 did not arrive, and the server does not hold it any more", err=True)
    if any(result.owed for result in results.values()):
        click.echo("STILL OWED: the server holds what did not arrive and goes on trying; the bench's patience ended", err=True)
    if any(result.lost or result.owed for result in results.values()):
        sys.exit(1)


def _show(name: str, result: Result) -> None:
    fate = f"{result.lost:,} lost, {result.owed:,} still owed, {result.repeated:,} delivered twice"
    click.echo(f"\n{result.name}: {result.accepted:,} accepted, {fate}")
    for figure, value in result.figures.items():
        said = ""
        target = TARGETS.get((name, figure))
        if target is not None:
            sign, bound = target
            met = value >= bound if sign == ">=" else value <= bound
            said = f"   target {sign} {bound:g}: {'met' if met else 'MISSED'}"
        click.echo(f"  {figure:26} {value:12,.2f}{said}")
