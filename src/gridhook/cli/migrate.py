"""`gridhook migrate`: the database's schema, brought up to this release."""

from __future__ import annotations

import asyncio

import click

from gridhook.config import Settings


@click.command()
def migrate() -> None:
    """Bring the database up to this release's schema; `serve` does the same when it starts.

    To be run once, before the first new process starts, where several share one PostgreSQL. A database that is newer than this
    release is refused and left alone.
    """
    from gridhook.app import COUNTERS_MOVED, load_vault
    from gridhook.store import open_store

    settings = Settings.from_environment()
    load_vault(settings)  # a new embedded database and its master key are made together
    store = open_store(settings, migrate=True)

    async def run() -> None:
        try:
            behind = await store.open()
            if behind:
                click.echo(f"warning: {COUNTERS_MOVED}: {', '.join(behind)}", err=True)
        finally:
            await store.close()

    asyncio.run(run())
    click.echo(f"the {settings.database_kind} database has this release's schema")
