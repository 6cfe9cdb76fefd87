"""What the guard thinks of a URL. The same members as `rules.inspection.shown` makes."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from gridhook.model import Reason
from gridhook.web.shapes import Shape


class CheckedTarget(Shape):
    """The URL taken apart, as requests would use it."""

    url: str
    scheme: str
    host: str
    port: int
    path: str


class CheckedAddress(Shape):
    address: str
    allowed: bool
    range: Annotated[str | None, Meta(description="The range that refuses it.")]
    why: str | None


class CheckedDns(Shape):
    aliases: list[str]
    ttl_seconds: int
    lookup_ms: Annotated[float | None, Meta(description="null: a fresh answer was at hand.")]


class CheckedUrl(Shape):
    """Whether a delivery to this URL would be sent at this moment; nothing was sent to it."""

    url: str
    allowed: bool
    reason: Reason | None
    detail: str | None
    target: Annotated[CheckedTarget | None, Meta(description="null: it is no URL that we send to.")]
    addresses: list[CheckedAddress]
    dns: Annotated[CheckedDns | None, Meta(description="null: the host is an address, or was not looked up.")]
    remedies: Annotated[list[str], Meta(description="What to change, one sentence each.")]
    notes: list[str]
