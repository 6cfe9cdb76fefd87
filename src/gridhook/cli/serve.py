"""`gridhook serve`: the server, until it is told to stop."""

from __future__ import annotations

import click
import uvloop

from gridhook.config import Settings


class WithSettings(click.Command):
    """A command whose --help ends with the table of all settings."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Settings, from the environment"):
            formatter.write_dl([(name, f"{doc} [{default or 'empty'}]") for name, default, doc in Settings.describe()], col_max=34)


@click.command(cls=WithSettings)
def serve() -> None:
    """Run the server until SIGTERM or SIGINT.

    Then it stops accepting, finishes what is in flight within GRIDHOOK_DRAIN_SECONDS, hands the rest back uncounted, and exits 0.
    Lists are comma-separated; an unknown GRIDHOOK_ variable is an error.
    """
    settings = Settings.from_environment()
    from gridhook.app import serve as run

    uvloop.run(run(settings))
