"""`gridhook reseal`: the second step of changing master keys."""

from __future__ import annotations

import click

from gridhook.cli.database import with_service
from gridhook.service import Service

STEP = 100  # secrets per transaction: short ones, a running server writes in between


@click.command()
def reseal() -> None:
    """Seal every stored secret under the first master key, after a new one was put in front.

    Works while the server runs, once each process of it has the new key. When it has ended, no stored secret needs the old key
    any more, and its line can go.
    """

    async def work(service: Service) -> int:
        total = 0
        while changed := await service.store.reseal(STEP, service.vault.reseal):
            total += changed
        return total

    click.echo(f"{with_service(work)} secrets sealed anew under the first master key")
