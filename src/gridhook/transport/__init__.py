"""Transport speaks: the one door to the network. It resolves, vets and sends; nothing else opens an outgoing socket."""

from __future__ import annotations

from gridhook.config import Settings
from gridhook.transport.guard import Guard, open_resolver, policy_from
from gridhook.transport.sender import Sender
from gridhook.transport.trust import find_ca_file
from gridhook.transport.wire import Identity, Limits, Outgoing, Transport

__all__ = ["Identity", "Limits", "Outgoing", "Transport", "open_transport"]


def open_transport(settings: Settings) -> Transport:
    """The real one, not yet started. Raises `Misconfigured` for a setting that cannot work; `close` also closes its resolver."""
    resolver = open_resolver(settings)
    return Sender(
        Guard(resolver, policy_from(settings)),
        ca_file=find_ca_file(settings.ca_file),
        idle_seconds=settings.idle_connection_seconds,
        life_seconds=settings.connection_life_seconds,
        slots=settings.slots,
        on_close=resolver.close,
    )
