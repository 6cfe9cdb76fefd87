"""The promise of the lease is worth something: a store that settles without looking at it is noticed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LATE_FINISHER = """
import asyncio, sys
from tests.road import sabotaged
if sys.argv[2] == "sabotaged":
    sabotaged.record_without_the_lease()
from gridhook.config import Settings
from gridhook.store import open_store
from tests.store.world import LEASE, NOON, SECOND, a_webhook, claim, event, finished, publish

async def main() -> None:
    store = open_store(Settings(data_dir=sys.argv[1]))
    await store.open()
    await a_webhook(store)
    (ours,) = (await publish(store, event("e1"), leased=True)).claims
    (theirs,) = (await claim(store, now=NOON + LEASE + SECOND)).claims
    print(*await store.record([finished(ours)]), *await store.record([finished(theirs)]))
    await store.close()

asyncio.run(main())
"""


def late_finisher(directory: Path, kind: str) -> str:
    """Whether the worker that lost its lease, then the one that has it, could settle the delivery."""
    root = Path(__file__).resolve().parent.parent.parent
    command = [sys.executable, "-c", LATE_FINISHER, str(directory), kind]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_late_finisher_changes_nothing_and_the_test_for_it_fails_on_a_store_that_ignores_the_lease(tmp_path: Path):
    assert late_finisher(tmp_path / "honest", "honest") == "False True"
    assert late_finisher(tmp_path / "broken", "sabotaged") != "False True"
