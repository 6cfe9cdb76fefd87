"""Bearer keys that take turns: another can be made known to the receiver before it is in use, and called off until then."""

from __future__ import annotations

from gridhook.errors import Conflict, NotFound
from gridhook.model import AuthMethod, Instant
from gridhook.store.database import Connection
from gridhook.store.edits import webhook_to_edit
from gridhook.store.promises import Credential, CredentialInfo

KEPT_AFTER_MS = 3_600_000  # how long a replaced key is kept: far longer than any request that was begun with it can last


def add_credential(
    connection: Connection, account_id: str, webhook_id: str, credential: Credential, activates_at: Instant, now: Instant
) -> None:
    if webhook_to_edit(connection, account_id, webhook_id).auth_method is not AuthMethod.BEARER_TOKEN:
        raise Conflict(f"webhook {webhook_id} presents a certificate; it has no key to replace")
    lane = {"account_id": account_id, "webhook_id": webhook_id}
    existing = _all(connection, account_id, webhook_id)
    for waiting in existing[:1]:
        if waiting.activates_at > now:
            raise Conflict(f"key {waiting.id} is not in use yet; wait for it, or cancel it first")
    if any(one.id == credential.id for one in existing):
        raise Conflict(f"key {credential.id} exists already")
    activates_at = max(activates_at, now)
    connection.change("replace_credentials", forget_at=activates_at + KEPT_AFTER_MS, **lane)
    connection.change(
        "add_credential",
        id=credential.id,
        auth_method=AuthMethod.BEARER_TOKEN.value,
        sealed=credential.sealed.blob,
        # Of two keys that are in use from the same instant on, the one that was made later counts.
        created_at=max([now, *(one.created_at + 1 for one in existing)]),
        activates_at=activates_at,
        **lane,
    )


def cancel_credential(connection: Connection, account_id: str, webhook_id: str, credential_id: str, now: Instant) -> None:
    webhook_to_edit(connection, account_id, webhook_id)
    lane = {"account_id": account_id, "webhook_id": webhook_id}
    existing = _all(connection, account_id, webhook_id)
    for one in existing:
        if one.id == credential_id:
            # The only one is in use even if our clock has stepped back before it: see `fan_out`.
            if one.activates_at <= now or len(existing) == 1:
                raise Conflict(f"key {credential_id} has been in use; add another to replace it")
            connection.change("forget_credential", id=credential_id, **lane)
            connection.change("keep_credentials", forget_at=one.activates_at + KEPT_AFTER_MS, **lane)
            return
    raise NotFound(f"no key {credential_id}")


def _all(connection: Connection, account_id: str, webhook_id: str) -> list[CredentialInfo]:
    return [CredentialInfo(*row) for row in connection.rows("credentials", account_id=account_id, webhook_id=webhook_id)]
