"""Certificate authorities, and the certificates of webhooks that take turns. Each write judges before it writes.

At most two certificates of a webhook have a key: the one that is presented, and the one before it until `retires_at`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from msgspec.structs import replace

from gridhook.errors import Conflict, NotFound, Stale
from gridhook.model import AuthMethod, Authority, Certificate, Instant, Sealed, Webhook
from gridhook.rules.authorities import signing
from gridhook.store import reads
from gridhook.store.database import Connection
from gridhook.store.edits import webhook_to_edit
from gridhook.store.promises import Credential
from gridhook.store.proof import add_proof, forget_proof
from gridhook.store.rows import authority_from, certificate_from

FALLBACK_MS = 7 * 86_400_000  # "old and new accepted for 7 days": AccessGrid webhook guide, mTLS

# --- authorities ------------------------------------------------------------------------------------------------


def add_authority(connection: Connection, authority: Authority, key: Sealed, first: bool) -> Authority:
    connection.change("lock_authorities", nothing=b"")
    if first:
        for standing in authorities(connection, authority.created_at):
            return standing
    if not connection.change(
        "add_authority",
        id=authority.id,
        certificate=authority.certificate,
        sealed=key.blob,
        fingerprint=authority.fingerprint,
        created_at=authority.created_at,
        signs_from_at=authority.signs_from_at,
        expires_at=authority.expires_at,
    ):
        raise Conflict(f"authority {authority.id} exists already")
    return authority


def authorities(connection: Connection, now: Instant) -> list[Authority]:
    return [authority_from(row) for row in connection.rows("authorities", now=now)]


def authority_key(connection: Connection, authority_id: str) -> Sealed:
    for (sealed,) in connection.rows("authority_key", id=authority_id):
        return Sealed(bytes(sealed))
    raise NotFound(f"no authority {authority_id}")


def certificate_in_use(connection: Connection, authority_id: str, now: Instant) -> str | None:
    for (certificate_id,) in connection.rows("authority_serves", id=authority_id, now=now):
        return str(certificate_id)
    return None


def remove_authority(connection: Connection, authority_id: str, now: Instant) -> None:
    connection.change("lock_authorities", nothing=b"")
    authority_key(connection, authority_id)
    signs = signing(authorities(connection, now), now)
    if signs is not None and signs.id == authority_id:
        raise Conflict(f"authority {authority_id} signs; roll over to another first")
    certificate_id = certificate_in_use(connection, authority_id, now)
    if certificate_id is not None:
        raise Conflict(
            f"authority {authority_id} issued {certificate_id}, which is in use: receivers must be able to check it. Move its webhooks "
            f"with `gridhook ca reissue --from {authority_id}`; what is only fallen back on goes 7 days after it was replaced"
        )
    connection.change("remove_authority", id=authority_id, now=now, nothing=b"")


# --- a webhook's certificates -----------------------------------------------------------------------------------


def certificates(connection: Connection, account_id: str, webhook_id: str) -> list[Certificate]:
    reads.webhook(connection, account_id, webhook_id)
    return _all(connection, account_id, webhook_id)


def presented_certificates(connection: Connection, account_id: str, webhook_ids: Sequence[str]) -> dict[str, Certificate]:
    rows = connection.rows("presented_certificates", account_id=account_id, webhook_ids=json.dumps(list(webhook_ids)))
    return {found.webhook_id: found for found in map(certificate_from, rows)}


def add_certificate(
    connection: Connection, certificate: Certificate, key: Sealed, replacing: str | None, keep_fallback: bool, now: Instant
) -> list[Certificate]:
    account_id, webhook_id = certificate.account_id, certificate.webhook_id
    webhook = webhook_to_edit(connection, account_id, webhook_id)
    if webhook.auth_method is not AuthMethod.MTLS:
        raise Conflict(f"webhook {webhook_id} proves itself with a key; it presents no certificate")
    existing = _all(connection, account_id, webhook_id)
    _refuse_known(existing, certificate)
    presented = [one for one in existing if one.replaced_at is None]
    if replacing is not None and [one.id for one in presented] != [replacing]:
        raise Conflict(f"certificate {replacing} is not the one that is presented any more")
    fallbacks = _fallbacks(existing, now)
    for one in presented:
        if not keep_fallback:
            for old in (one, *fallbacks):
                _replace(connection, old, now, retires_at=now)
        elif one.accepted_at is None and fallbacks:
            _replace(connection, one, now, retires_at=now)
        else:
            for older in fallbacks:
                _replace(connection, older, now, retires_at=now)
            # One that ends before its seven days are over is of no use after that.
            _replace(connection, one, now, retires_at=min(now + FALLBACK_MS, max(now, one.expires_at)))
    # Of two that are made in the same instant, the later one is presented.
    created_at = max([certificate.created_at, *(one.created_at + 1 for one in existing)])
    add_proof(connection, webhook, Credential(certificate.id, key), replace(certificate, created_at=created_at), now)
    return _all(connection, account_id, webhook_id)


def cancel_certificate(connection: Connection, account_id: str, webhook_id: str, certificate_id: str, now: Instant) -> Certificate:
    webhook_to_edit(connection, account_id, webhook_id)
    existing = _all(connection, account_id, webhook_id)
    wanted = [one for one in existing if one.id == certificate_id]
    if not wanted:
        raise NotFound(f"no certificate {certificate_id}")
    (cancelled,) = wanted
    if cancelled.replaced_at is not None:
        raise Conflict(f"certificate {certificate_id} is not the one that is presented")
    if cancelled.accepted_at is not None:
        raise Conflict(f"the receiver has accepted certificate {certificate_id}; issue another to replace it")
    fallbacks = _fallbacks(existing, now)
    if not fallbacks:
        raise Conflict(f"there is no certificate to fall back on; issue another to replace {certificate_id}")
    again = {"account_id": account_id, "webhook_id": webhook_id, "id": fallbacks[0].id}
    if not connection.change("retire_credential", retires_at=None, **again):
        raise Conflict(f"the key of certificate {fallbacks[0].id} is gone; issue another certificate to replace {certificate_id}")
    connection.change("present_again", **again)
    _replace(connection, cancelled, now, retires_at=now)
    return replace(fallbacks[0], replaced_at=None, retires_at=None)


def retire_fallback(connection: Connection, account_id: str, webhook_id: str, certificate_id: str, now: Instant) -> bool:
    webhook_to_edit(connection, account_id, webhook_id)
    for one in _fallbacks(_all(connection, account_id, webhook_id), now):
        if one.id == certificate_id:
            _replace(connection, one, now, retires_at=now)
            return True
    return False


def note_notice(connection: Connection, certificate: Certificate, days: int) -> None:
    connection.change("note_notice", account_id=certificate.account_id, webhook_id=certificate.webhook_id, id=certificate.id, days=days)


def retire_certificates(connection: Connection, now: Instant, limit: int) -> int:
    rows = connection.rows("retired_certificates", now=now, limit=limit)
    return sum(
        connection.change("retire_certificate", account_id=account_id, webhook_id=webhook_id, id=id, now=now)
        for account_id, webhook_id, id in rows
    )


def expiring_certificates(connection: Connection, before: Instant, after: tuple[Instant, str] | None, limit: int) -> list[Certificate]:
    after_at, after_id = after or (-1, "")
    rows = connection.rows("expiring_certificates", before=before, after_at=after_at, after_id=after_id, limit=limit)
    return [certificate_from(row) for row in rows]


def switch_auth(
    connection: Connection,
    account_id: str,
    webhook_id: str,
    method: AuthMethod,
    credential: Credential,
    certificate: Certificate | None,
    revision: int,
    now: Instant,
) -> Webhook:
    before = webhook_to_edit(connection, account_id, webhook_id)
    if revision != before.revision:
        raise Stale(f"webhook {webhook_id} was changed meanwhile (revision {before.revision}, not {revision}): read it again, then decide")
    if method is before.auth_method:
        raise Conflict(f"webhook {webhook_id} uses {method.value} already")
    if certificate is not None:
        _refuse_known(_all(connection, account_id, webhook_id), certificate)
    forget_proof(connection, before, now)
    connection.change("switch_auth", account_id=account_id, webhook_id=webhook_id, auth_method=method.value)
    after = webhook_to_edit(connection, account_id, webhook_id)
    add_proof(connection, after, credential, certificate, now)
    return after


def _all(connection: Connection, account_id: str, webhook_id: str) -> list[Certificate]:
    return [certificate_from(row) for row in connection.rows("certificates", account_id=account_id, webhook_id=webhook_id)]


def _refuse_known(existing: list[Certificate], certificate: Certificate) -> None:
    """Before anything is written: `add_proof` would find it out when what it replaces is gone already."""
    if any(one.id == certificate.id for one in existing):
        raise Conflict(f"certificate {certificate.id} exists already")


def _fallbacks(existing: list[Certificate], now: Instant) -> list[Certificate]:
    """The one that is fallen back on, if any. A list, because that there is never a second one is our own doing."""
    return [one for one in existing if one.replaced_at is not None and one.retires_at is not None and one.retires_at > now]


def _replace(connection: Connection, certificate: Certificate, now: Instant, *, retires_at: Instant) -> None:
    """From `retires_at` on it serves for nothing; its key is destroyed at once if that is now, else by `retire_certificates`."""
    which = {"account_id": certificate.account_id, "webhook_id": certificate.webhook_id, "id": certificate.id}
    connection.change("replace_certificate", now=now, retires_at=retires_at, **which)
    if retires_at <= now:
        connection.change("forget_credential", **which)
    else:
        connection.change("retire_credential", retires_at=retires_at, **which)
