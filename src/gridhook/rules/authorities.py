"""Which certificate authority signs. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from gridhook.model import Authority, Instant


def signing(standing: Sequence[Authority], now: Instant) -> Authority | None:
    """The one whose time to sign came last, of those that have neither expired nor been removed. Should none's have come, the one whose
    time comes next: no webhook is left without. None: there is none."""
    standing = [one for one in standing if one.expires_at > now]
    come = [one for one in standing if one.signs_from_at <= now]
    if come:
        return max(come, key=_turn)
    return min(standing, key=_turn, default=None)


def _turn(authority: Authority) -> tuple[Instant, Instant, str]:
    return (authority.signs_from_at, authority.created_at, authority.id)
