"""`gridhook doctor`: is this machine fit to serve, and what to do if not."""

from __future__ import annotations

import asyncio
import sys

import click

from gridhook.cli.checks import Finding, Level, examine
from gridhook.cli.terminal import json_line, safe
from gridhook.config import Settings
from gridhook.errors import Misconfigured


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object per finding.")
def doctor(as_json: bool) -> None:
    """Check settings, master key, database, disk, clock, open files, DNS and CA bundle. Changes nothing.

    Exit code 1 when anything is FAIL; a warning alone is 0. Run it as the user and with the environment of the server.
    """
    failed = asyncio.run(_report(as_json))
    if failed:
        sys.exit(1)


async def _report(as_json: bool) -> bool:
    try:
        settings = Settings.from_environment()
    except Misconfigured as error:
        _say(Finding("configuration", Level.FAIL, str(error), "see `gridhook serve --help` for every setting"), as_json)
        return True
    failed = False
    async for finding in examine(settings):
        _say(finding, as_json)
        failed = failed or finding.level is Level.FAIL
    return failed


def _say(finding: Finding, as_json: bool) -> None:
    if as_json:
        shown = {"check": finding.check, "level": finding.level.lower(), "message": finding.message, "remedy": finding.remedy}
        click.echo(json_line(shown))
        return
    click.echo(f"{finding.level:4}  {finding.check:14}  {safe(finding.message)}")
    if finding.remedy:
        click.echo(f"      {'':14}  -> {safe(finding.remedy)}")
