"""`gridhook reseal`: the second step of changing master keys."""

from __future__ import annotations

import click

from gridhook.cli.database import with_service
from gridhook.cli.terminal import Failure
from gridhook.model import Sealed
from gridhook.service import Service
from gridhook.vault import SealBroken

MOST_NAMED = 10
STEP = 100  # secrets per transaction: short ones, a running server writes in between


@click.command()
def reseal() -> None:
    """Seal every stored secret under the first master key, after a new one was put in front.

    Works while the server runs, once each process of it has the new key. When it has ended, no stored secret needs the old key
    any more, and its line can go.
    """

    damaged: set[str] = set()

    async def work(service: Service) -> int:
        def anew(row: str, sealed: Sealed) -> Sealed | None:
            try:
                return service.vault.reseal(row, sealed)
            except SealBroken:
                damaged.add(row)
                return None

        total = 0
        while changed := await service.store.reseal(STEP, anew):
            total += changed
        return total

    click.echo(f"{with_service(work)} secrets sealed anew under the first master key")
    if damaged:
        named = ", ".join(sorted(damaged)[:MOST_NAMED])
        raise Failure(f"{len(damaged)} do not open and were left as they are: {named}; `gridhook doctor` says what to do")
