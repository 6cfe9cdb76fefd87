"""What the rest of the house says to the transport: one POST to make, and the limits it must end within."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol, TypeAlias

from gridhook.model import Outcome, Unreachable, Value
from gridhook.rules.addresses import Target
from gridhook.rules.inspection import Inspection

Address: TypeAlias = IPv4Address | IPv6Address


class Limits(Value, frozen=True):
    """Seconds and bytes. `connect_seconds` covers DNS, TCP and TLS; `read_seconds`, when set, starts when the connection stands
    (a clock of its own); `total_seconds` is the hard deadline over everything, enforced outside the HTTP client."""

    connect_seconds: float = 5.0
    read_seconds: float | None = None
    total_seconds: float = 15.0
    header_bytes: int = 32 * 1024
    header_fields: int = 100
    interim_answers: int = 16
    body_read_bytes: int = 64 * 1024
    body_kept_bytes: int = 16 * 1024


@dataclass(frozen=True, slots=True)
class Identity:
    """A client certificate with its key, PEM. The id is part of the connection pool's key."""

    id: str
    certificate: bytes = field(repr=False)
    private_key: bytes = field(repr=False)


class Outgoing(Value, frozen=True):
    """One POST. `headers` in order, ASCII, without Host, Content-Length, Accept-Encoding (the sender adds `identity`)."""

    target: Target
    headers: tuple[tuple[str, str], ...]
    body: bytes
    limits: Limits
    identity: Identity | None = None

    def __repr__(self) -> str:
        return f"Outgoing({self.target.url!r})"  # the headers carry the Private Key


Done: TypeAlias = Callable[[Outcome], None]


class Transport(Protocol):
    """Vets, then sends. Nothing raises: whatever happens is an Outcome."""

    def parse(self, url: str) -> Target:
        """The URL under this process's address policy; raises `Invalid("url", ...)`."""
        ...

    async def vet(self, target: Target) -> Unreachable | None:
        """Resolve and judge without sending anything: None when every address is allowed."""
        ...

    async def explain(self, url: str) -> Inspection:
        """The whole verdict on a URL, reached as for a delivery, with nothing sent to it (its DNS servers are asked)."""
        ...

    def submit(self, outgoing: Outgoing, done: Done) -> None:
        """Start the request; call `done` once, on the event loop's thread. Must be called on the event loop's thread."""
        ...

    async def send(self, outgoing: Outgoing) -> Outcome: ...

    def is_alive(self) -> bool: ...

    async def start(self) -> None: ...

    async def close(self) -> None:
        """Abort what still runs (each ends `interrupted`) and stop the thread."""
        ...
