"""Tries a receiver that one owns: plays the sender against it, probe by probe, and says what a robust receiver does.

The requests are those of a real sender, through the real transport: same guard, same limits, same bytes. Their events are invented,
but nothing in them says so (one excepted, the test event): a receiver that acts on events will act on these.
"""

from __future__ import annotations

import secrets as chance
from collections.abc import AsyncIterator, Callable

from gridhook.clock import Clock
from gridhook.config import Settings
from gridhook.engine.conformance.findings import Finding, Mark
from gridhook.engine.conformance.play import Play
from gridhook.engine.conformance.probes import PROBES, Probe
from gridhook.rules.addresses import Target
from gridhook.transport.wire import Transport

__all__ = ["PROBES", "SLOW_SECONDS", "Finding", "Mark", "Probe", "examine"]

SLOW_SECONDS = 5.0  # a third of what a delivery may take: what is slower on a quiet day is too slow on a busy one


async def examine(
    transport: Transport,
    target: Target,
    *,
    private_key: str,
    settings: Settings,
    clock: Clock,
    slow_seconds: float = SLOW_SECONDS,
    starting: Callable[[Probe], None] = lambda probe: None,
) -> AsyncIterator[Finding]:
    """One finding per probe, in the order of PROBES, each as soon as it is known. Takes a second or so with a quick receiver.

    private_key: that the receiver expects; raises ValueError when it is none that a header may carry.
    starting: told of each probe as its turn comes.
    """
    play = Play(
        transport, target, private_key=private_key, settings=settings, clock=clock, slow_seconds=slow_seconds, entropy=chance.token_bytes
    )
    for probe in PROBES:
        starting(probe)
        if play.hopeless and probe.needs_answers:
            yield Finding(probe.name, probe.title, Mark.SKIPPED, probe.expected, advice=play.hopeless)
            continue
        result = await probe.run(play)
        yield Finding(probe.name, probe.title, result.mark, probe.expected, result.sent, result.came_back, result.advice, result.took_ms)
