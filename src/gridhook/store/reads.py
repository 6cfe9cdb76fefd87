"""What the store shows. Nothing here writes."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Sequence

from gridhook.errors import NotFound
from gridhook.model import Account, AccountSecret, Instant, PublisherKey, Webhook, WebhookFilter, WebhookState
from gridhook.store.database import Connection
from gridhook.store.promises import AccountPage, CredentialInfo, Lane, WebhookCounts, WebhookPage, Work
from gridhook.store.rows import NO_FALLBACK, account_from, clean, fallback_from, publisher_key_from, sealed_from, secret_from, webhook_from

_WILD = re.compile(r"[%_!]")  # what LIKE would take for a pattern
_SMALL = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def lanes(connection: Connection, limit: int, after: tuple[str, str]) -> list[Lane]:
    return [Lane(*row) for row in connection.rows("lanes", account_id=after[0], webhook_id=after[1], limit=limit)]


def unproven(connection: Connection, limit: int) -> list[tuple[str, str]]:
    return [(account_id, webhook_id) for account_id, webhook_id in connection.rows("unproven", limit=limit)]


def webhook(connection: Connection, account_id: str, webhook_id: str) -> Webhook:
    rows = connection.rows("webhook", account_id=account_id, webhook_id=webhook_id)
    if not rows:
        raise NotFound(f"no webhook {webhook_id}")
    return webhook_from(rows[0])


def webhooks_by_ids(connection: Connection, account_id: str, webhook_ids: Sequence[str]) -> dict[str, Webhook]:
    rows = connection.rows("webhooks_by_ids", account_id=account_id, webhook_ids=json.dumps(list(webhook_ids)))
    return {found.id: found for found in map(webhook_from, rows)}


def webhooks(connection: Connection, account_id: str, offset: int, limit: int, filter: WebhookFilter) -> WebhookPage:
    is_failing = filter.state is WebhookState.FAILING
    which = {
        "account_id": account_id,
        "text": _anywhere(filter.text),
        "url_text": _anywhere(filter.text) if filter.in_url else None,
        "auth_method": filter.auth_method,
        "state": None if is_failing else filter.state,
        "failing": 1 if is_failing else None,
    }
    page = connection.rows("webhook_page", limit=limit, offset=offset, **which)
    ((total,),) = connection.rows("webhooks_matching", **which)
    return WebhookPage([webhook_from(row) for row in page], total)


def _anywhere(text: str | None) -> str | None:
    """For LIKE: what has this somewhere, in the small letters that both databases know for what a column holds: those of ASCII."""
    return None if text is None else "%" + _WILD.sub(r"!\g<0>", clean(text)).translate(_SMALL) + "%"


def is_proving(connection: Connection, account_id: str, webhook_id: str) -> bool:
    return any(row[0] for row in connection.rows("is_proving", account_id=account_id, webhook_id=webhook_id))


def counts(connection: Connection, account_id: str, webhook_id: str, most: int) -> WebhookCounts:
    ((held, held_until),) = connection.rows("count_held", account_id=account_id, webhook_id=webhook_id, most=most)
    ((queued, queued_until),) = connection.rows("count_queued", account_id=account_id, webhook_id=webhook_id, most=most)
    return WebhookCounts(held, queued, min((at for at in (held_until, queued_until) if at is not None), default=None), held_until)


def held(connection: Connection, account_id: str, webhook_ids: Sequence[str], most: int) -> dict[str, tuple[int, Instant]]:
    rows = connection.rows("held", account_id=account_id, webhook_ids=json.dumps(list(webhook_ids)), most=most)
    return {id: (count, until) for id, count, until in rows if count}


def work(connection: Connection, account_id: str, webhook_id: str, now: Instant) -> Work:
    rows = connection.rows("work", account_id=account_id, webhook_id=webhook_id, now=now)
    if not rows:
        raise NotFound(f"no webhook {webhook_id}")
    *columns, credential_id, sealed, _ = rows[0]
    fallback = fallback_from(*rows[1][-3:]) if len(rows) > 1 else NO_FALLBACK
    return Work(webhook_from(tuple(columns)), credential_id, sealed_from(sealed), *fallback)


def credentials(connection: Connection, account_id: str, webhook_id: str) -> list[CredentialInfo]:
    webhook(connection, account_id, webhook_id)
    return [CredentialInfo(*row) for row in connection.rows("credentials", account_id=account_id, webhook_id=webhook_id)]


def account(connection: Connection, account_id: str) -> Account:
    rows = connection.rows("account", account_id=account_id)
    if not rows:
        raise NotFound(f"no account {account_id}")
    return account_from(rows[0])


def accounts(connection: Connection) -> list[Account]:
    return [account_from(row) for row in connection.rows("accounts")]


def accounts_found(connection: Connection, text: str | None, person_id: str | None, offset: int, limit: int) -> AccountPage:
    which = {"text": _anywhere(text), "person_id": person_id}
    page = connection.rows("account_page", limit=limit, offset=offset, **which)
    ((total,),) = connection.rows("accounts_matching", **which)
    return AccountPage([account_from(row) for row in page], total)


def secrets(connection: Connection, account_id: str) -> list[AccountSecret]:
    return [secret_from(row) for row in connection.rows("secrets", account_id=account_id)]


def publisher_keys(connection: Connection) -> list[PublisherKey]:
    return [publisher_key_from(row) for row in connection.rows("publisher_keys")]


def publisher_key(connection: Connection, digest: bytes) -> PublisherKey | None:
    rows = connection.rows("publisher_key", digest=digest)
    return publisher_key_from(rows[0]) if rows else None


def meta(connection: Connection, key: str) -> bytes | None:
    rows = connection.rows("meta", key=key)
    return bytes(rows[0][0]) if rows else None
