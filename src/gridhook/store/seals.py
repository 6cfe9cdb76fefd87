"""Every secret that is stored sealed, whatever table it is in: to be looked at, and to be sealed anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from gridhook.model import AuthMethod, Sealed
from gridhook.rules import contexts
from gridhook.store.database import Connection


@dataclass(frozen=True, slots=True)
class Stored:
    """context: what the secret is bound to, which also names its row. where: the keys of that row. reseal: the statement that
    replaces the secret."""

    context: str
    sealed: Sealed
    reseal: str
    where: dict[str, Any]


def stored(connection: Connection) -> Iterator[Stored]:
    for account_id, id, sealed in connection.rows("sealed_secrets"):
        where = {"account_id": account_id, "id": id}
        yield Stored(contexts.account_secret(account_id, id), Sealed(bytes(sealed)), "reseal_secret", where)
    for account_id, webhook_id, id, auth_method, sealed in connection.rows("sealed_credentials"):
        context = contexts.certificate_key if AuthMethod(auth_method) is AuthMethod.MTLS else contexts.private_key
        where = {"account_id": account_id, "webhook_id": webhook_id, "id": id}
        yield Stored(context(account_id, webhook_id, id), Sealed(bytes(sealed)), "reseal_credential", where)
    for account_id, id, sealed in connection.rows("sealed_extras"):
        where = {"account_id": account_id, "id": id}
        yield Stored(contexts.extras(account_id, id), Sealed(bytes(sealed)), "reseal_extras", where)
    for id, sealed in connection.rows("sealed_authorities"):
        yield Stored(contexts.authority_key(id), Sealed(bytes(sealed)), "reseal_authority", {"id": id})


def sealed(connection: Connection) -> list[tuple[str, Sealed]]:
    return [(one.context, one.sealed) for one in stored(connection)]


def reseal(connection: Connection, limit: int, change: Callable[[str, Sealed], Sealed | None]) -> int:
    changed = 0
    for one in stored(connection):
        if changed >= limit:
            break
        new = change(one.context, one.sealed)
        if new is not None:
            changed += connection.change(one.reseal, sealed=new.blob, old=one.sealed.blob, **one.where)
    return changed
