"""A process that publishes until it is killed, and says each id after it was answered. Run by test_durability."""

from __future__ import annotations

import asyncio
import os
import sys

from gridhook.config import Settings
from gridhook.store import open_store
from tests.store.world import event, publish


async def main(data_dir: str, database_url: str) -> None:
    store = open_store(Settings(data_dir=data_dir, database_url=database_url))
    await store.open()

    async def one(name: int) -> None:
        number = 0
        while True:
            number += 1
            answer = await publish(store, event(f"{os.getpid()}-{name}-{number}"), leased=True)
            assert len(answer.claims) == 1
            sys.stdout.write(answer.results[0].id + "\n")
            sys.stdout.flush()

    await asyncio.gather(*(one(name) for name in range(8)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
