"""What every verb checks alike, and what it hands out once."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field

from gridhook.errors import Invalid
from gridhook.model import Instant, LaneLimits

MAX_NAME = 120
SECRET_BYTES = 32
ENTROPY_BYTES = 16
MOST_IN_FLIGHT = 10_000
RATES = (0.1, 100_000.0)


@dataclass(frozen=True, slots=True)
class Issued:
    """A new secret or key: its id, and the text that is shown once. `activates_at`: of a webhook's Private Key, when it comes into use."""

    id: str
    text: str = field(repr=False)
    activates_at: Instant | None = None


def checked_name(name: object) -> str:
    text = name.strip() if isinstance(name, str) else ""
    # Spaces of no width, joiners and marks alone leave nothing to read, and nothing to click on.
    if not any(unicodedata.category(character)[0] in "LNPS" for character in text):
        raise Invalid("name", "is required: a label that people recognise, for example Production badge sync")
    if len(text) > MAX_NAME:
        raise Invalid("name", f"has {len(text)} characters; at most {MAX_NAME}")
    if any(ord(c) < 32 or ord(c) == 127 or 0xD800 <= ord(c) <= 0xDFFF for c in text):
        raise Invalid("name", "must not contain control characters")
    return text


def checked_limits(max_in_flight: int | None, rate_per_second: float | None) -> LaneLimits | None:
    """None: the customer wants none beside ours."""
    if max_in_flight is not None and not 1 <= max_in_flight <= MOST_IN_FLIGHT:
        raise Invalid("max_in_flight", f"must lie between 1 and {MOST_IN_FLIGHT}, or be null; to stop deliveries, pause the webhook")
    # Written so that nan fails too.
    if rate_per_second is not None and not RATES[0] <= rate_per_second <= RATES[1]:
        raise Invalid(
            "rate_per_second", f"must lie between {RATES[0]:g} and {RATES[1]:g}, or be null; to stop deliveries, pause the webhook"
        )
    if max_in_flight is None and rate_per_second is None:
        return None
    return LaneLimits(max_in_flight, rate_per_second)
