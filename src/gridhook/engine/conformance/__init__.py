"""Tries a receiver that one owns: plays the sender against it, probe by probe, and says what a robust receiver does.

The requests are those of a real sender, through the real transport: same guard, same limits, same bytes. Their events are invented,
which only the metadata of their pass tells: a receiver that acts on events will act on these.
"""

from __future__ import annotations

import secrets as chance
from collections.abc import AsyncIterator, Callable

from gridhook.clock import Clock
from gridhook.config import Settings
from gridhook.engine.conformance.findings import Finding, Mark
from gridhook.engine.conformance.play import Play, check_keys
from gridhook.engine.conformance.probes import PROBES, Probe
from gridhook.rules.addresses import Target
from gridhook.transport.wire import Transport

__all__ = ["SLOW_SECONDS", "Finding", "Mark", "Probe", "check_keys", "examine", "probes"]

SLOW_SECONDS = 5.0  # a third of what a delivery may take: what is slower on a quiet day is too slow on a busy one


def probes(*, signing: bool) -> tuple[Probe, ...]:
    """Those that a trial consists of, in order. signing: the receiver checks signatures."""
    return tuple(probe for probe in PROBES if signing or not probe.needs_signing)


async def examine(
    transport: Transport,
    target: Target,
    *,
    private_key: str,
    signing_key: str | None = None,
    settings: Settings,
    clock: Clock,
    slow_seconds: float = SLOW_SECONDS,
    starting: Callable[[Probe], None] = lambda probe: None,
) -> AsyncIterator[Finding]:
    """One finding per probe, each as soon as it is known. Takes a moment with a quick receiver, some minutes with one that hangs.

    private_key, signing_key: those that the receiver expects; raises ValueError as `check_keys` does. With a signing key, deliveries
        are signed (Standard Webhooks), and it is tried whether signatures are checked.
    starting: told of each probe as its turn comes.
    """
    play = Play(
        transport,
        target,
        private_key=private_key,
        signing_key=signing_key,
        settings=settings,
        clock=clock,
        slow_seconds=slow_seconds,
        entropy=chance.token_bytes,
    )
    for probe in probes(signing=signing_key is not None):
        starting(probe)
        if play.hopeless and probe.needs_answers:
            yield Finding(probe.name, probe.title, Mark.SKIPPED, probe.expected, advice=play.hopeless)
            continue
        result = await probe.run(play)
        yield Finding(probe.name, probe.title, result.mark, probe.expected, result.sent, result.came_back, result.advice, result.took_ms)
