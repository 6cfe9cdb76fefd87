"""The rare writes about accounts, their secrets, publishers' keys and the installation itself. Each judges before it writes."""

from __future__ import annotations

from gridhook.errors import Conflict, NotFound
from gridhook.model import Account, AccountSecret, Instant, PublisherKey
from gridhook.store.database import Connection
from gridhook.store.rows import clean

LIVE_SECRETS = 2


def add_account(connection: Connection, account: Account) -> None:
    if not connection.change(
        "add_account", id=account.id, name=clean(account.name), enterprise=int(account.enterprise), created_at=account.created_at
    ):
        raise Conflict(f"account {account.id} exists already")


def set_enterprise(connection: Connection, account_id: str, enterprise: bool) -> None:
    if not connection.change("set_enterprise", account_id=account_id, enterprise=int(enterprise)):
        raise NotFound(f"no account {account_id}")


def add_secret(connection: Connection, secret: AccountSecret) -> None:
    if not connection.change("lock_account", account_id=secret.account_id):
        raise NotFound(f"no account {secret.account_id}")
    if len(connection.rows("secrets", account_id=secret.account_id)) >= LIVE_SECRETS:
        raise Conflict(f"account {secret.account_id} has {LIVE_SECRETS} live secrets already; revoke one first")
    if not connection.change(
        "add_secret", account_id=secret.account_id, id=secret.id, sealed=secret.sealed.blob, created_at=secret.created_at
    ):
        raise Conflict(f"secret {secret.id} exists already")


def revoke_secret(connection: Connection, account_id: str, secret_id: str, now: Instant) -> None:
    connection.change("lock_account", account_id=account_id)
    live = [row[1] for row in connection.rows("secrets", account_id=account_id)]
    if secret_id not in live:
        raise NotFound(f"no live secret {secret_id}")
    if len(live) == 1:
        raise Conflict(f"{secret_id} is the only live secret of account {account_id}; add another first")
    connection.change("revoke_secret", account_id=account_id, id=secret_id, now=now, nothing=b"")


def add_publisher_key(connection: Connection, key: PublisherKey, digest: bytes) -> None:
    if not connection.change(
        "add_publisher_key", id=key.id, account_id=key.account_id, name=clean(key.name), digest=digest, created_at=key.created_at
    ):
        raise Conflict(f"publisher key {key.id} exists already")


def revoke_publisher_key(connection: Connection, key_id: str, now: Instant) -> None:
    if not connection.change("revoke_publisher_key", id=key_id, now=now):
        raise NotFound(f"no live publisher key {key_id}")


def set_meta_once(connection: Connection, key: str, value: bytes) -> bytes:
    connection.change("set_meta_once", key=key, value=value)
    ((kept,),) = connection.rows("meta", key=key)
    return bytes(kept)
