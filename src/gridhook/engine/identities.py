"""Client certificates with their keys, opened once and kept ready; and what stands in their way. Nothing is ever sent without."""

from __future__ import annotations

from gridhook.authority import Pair, from_text
from gridhook.limits import Remembered
from gridhook.model import Instant, Phase, Reason, Sealed, Unreachable
from gridhook.rules import contexts
from gridhook.rules.instants import rfc3339
from gridhook.transport.wire import Identity
from gridhook.vault import SealBroken, Vault

REMEMBERED = 4096


class Identities:
    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._opened: Remembered[tuple[Pair, Identity]] = Remembered(REMEMBERED)

    def of(
        self, account_id: str, webhook_id: str, certificate_id: str | None, sealed: Sealed | None, now: Instant
    ) -> Identity | Unreachable:
        """What a request of this webhook presents. Fails closed: `Unreachable` when there is none, it does not open, or it expired."""
        if certificate_id is None or sealed is None:
            return Unreachable(Reason.CREDENTIAL_UNAVAILABLE, f"webhook {webhook_id} has no client certificate", Phase.REQUEST)
        key = f"{account_id}|{webhook_id}|{certificate_id}"
        known = self._opened.get(key)
        if known is None:
            try:
                text = self._vault.open(sealed, contexts.certificate_key(account_id, webhook_id, certificate_id))
                pair = from_text(certificate_id, text)
            except (SealBroken, ValueError):
                detail = f"the key of client certificate {certificate_id} could not be decrypted"
                return Unreachable(Reason.CREDENTIAL_UNAVAILABLE, detail, Phase.REQUEST)
            known = (pair, Identity(certificate_id, pair.certificate, pair.private_key))
            self._opened.put(key, known)
        pair, identity = known
        if pair.expires_at <= now:
            detail = f"client certificate {certificate_id} expired at {rfc3339(pair.expires_at)}"
            return Unreachable(Reason.CREDENTIAL_EXPIRED, detail, Phase.REQUEST)
        return identity
