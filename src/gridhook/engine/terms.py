"""What the settings say to the rules, as values that the rules take."""

from __future__ import annotations

from gridhook.config import Settings
from gridhook.rules.cloudevents import Terms


def terms_from(settings: Settings) -> Terms:
    """On which events are accepted."""
    return Terms(
        window_ms=settings.retry_window_seconds * 1000,
        skew_ms=settings.clock_skew_seconds * 1000,
        source=settings.source,
        base_url=settings.base_url,
        max_bytes=settings.max_event_bytes,
    )
