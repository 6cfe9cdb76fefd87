"""What a webhook's requests carry beside its credential: static headers and signing keys, kept together as one sealed value. Pure.

One value, so that a claim brings it along in one column and the road pays for it only where a customer uses it.
"""

from __future__ import annotations

import msgspec

from gridhook.model import Instant, Value


class SigningKey(Value, frozen=True):
    """A Standard Webhooks key. `expires_at` None: the newest, which signs until another takes its place."""

    id: str
    secret: str
    created_at: Instant
    expires_at: Instant | None = None

    def __repr__(self) -> str:
        return f"SigningKey({self.id!r})"


class Extras(Value, frozen=True):
    headers: tuple[tuple[str, str], ...] = ()
    signing_keys: tuple[SigningKey, ...] = ()  # newest first

    def __repr__(self) -> str:
        return f"Extras({len(self.headers)} headers, {len(self.signing_keys)} signing keys)"  # values are secrets

    @property
    def is_empty(self) -> bool:
        return not self.headers and not self.signing_keys

    def live_keys(self, now: Instant) -> tuple[SigningKey, ...]:
        """Those that sign now, newest first: during an overlap the replaced one too."""
        return tuple(key for key in self.signing_keys if key.expires_at is None or key.expires_at > now)


_decoder = msgspec.json.Decoder(Extras)


def to_text(extras: Extras) -> str:
    """As it is sealed."""
    return msgspec.json.encode(extras).decode()


def from_text(text: str) -> Extras:
    return _decoder.decode(text)
