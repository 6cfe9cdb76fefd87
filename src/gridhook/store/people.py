"""Who may use the console: people, the accounts they belong to, one-time links, sessions."""

from __future__ import annotations

from gridhook.errors import Conflict, NotFound
from gridhook.model import Instant, Link, LinkPurpose, Membership, Person, Role, Sealed, Session
from gridhook.store.database import Connection, Row

UNKNOWN = "nobody here has this address"


def add_person(connection: Connection, person: Person) -> None:
    if not connection.change(
        "add_person", id=person.id, email=person.email, is_operator=int(person.is_operator), created_at=person.created_at
    ):
        raise Conflict(f"{person.email} is known already")


def person(connection: Connection, *, id: str = "", email: str = "") -> Person:
    rows = connection.rows("person", id=id, email=email)
    if not rows:
        raise NotFound(UNKNOWN)
    return _person_from(rows[0])


def password(connection: Connection, email: str) -> tuple[Person, str | None]:
    rows = connection.rows("person", id="", email=email)
    if not rows:
        raise NotFound(UNKNOWN)
    return _person_from(rows[0]), rows[0][3]


def people(connection: Connection) -> list[Person]:
    return [_person_from(row) for row in connection.rows("people")]


def members(connection: Connection, account_id: str) -> list[tuple[Person, Role]]:
    return [(_person_from(row), Role(row[-1])) for row in connection.rows("members", account_id=account_id)]


def memberships(connection: Connection, person_id: str) -> list[Membership]:
    return [Membership(account_id, Role(role)) for account_id, role in connection.rows("memberships_of", person_id=person_id)]


def set_operator(connection: Connection, person_id: str, is_operator: bool) -> None:
    if not connection.change("set_operator", id=person_id, is_operator=int(is_operator)):
        raise NotFound(UNKNOWN)


def set_password(connection: Connection, person_id: str, password: str, but: bytes) -> None:
    if not connection.change("set_password", id=person_id, password=password):
        raise NotFound(UNKNOWN)
    connection.change("forget_links", person_id=person_id)
    connection.change("end_sessions", person_id=person_id, but=but)


def rehash(connection: Connection, person_id: str, before: str, password: str) -> None:
    connection.change("rehash_password", id=person_id, before=before, password=password)


def remove_person(connection: Connection, person_id: str) -> None:
    if not connection.change("remove_person", id=person_id):
        raise NotFound(UNKNOWN)
    connection.change("remove_memberships", person_id=person_id)
    connection.change("forget_links", person_id=person_id)
    connection.change("end_sessions", person_id=person_id, but=b"")


def add_membership(connection: Connection, person_id: str, membership: Membership, now: Instant) -> None:
    if not connection.change("lock_person", id=person_id):
        raise NotFound(UNKNOWN)
    if not connection.rows("account", account_id=membership.account_id):
        raise NotFound(f"no account {membership.account_id}")
    connection.change("add_membership", account_id=membership.account_id, person_id=person_id, role=membership.role.value, created_at=now)


def remove_membership(connection: Connection, person_id: str, account_id: str) -> None:
    if not connection.change("remove_membership", account_id=account_id, person_id=person_id):
        raise NotFound(f"is not a member of account {account_id}")


def add_link(connection: Connection, digest: bytes, link: Link, now: Instant, expires_at: Instant) -> None:
    if not connection.change("lock_person", id=link.person_id):
        raise NotFound(UNKNOWN)
    connection.change("forget_links", person_id=link.person_id)
    connection.change("forget_old_links", now=now)
    connection.change(
        "add_link", digest=digest, person_id=link.person_id, purpose=link.purpose.value, created_at=now, expires_at=expires_at
    )


def link(connection: Connection, digest: bytes, now: Instant) -> Link:
    rows = connection.rows("link", digest=digest, now=now)
    if not rows:
        raise NotFound("this link was used already, or its time is over")
    return Link(rows[0][0], LinkPurpose(rows[0][1]))


def use_link(connection: Connection, digest: bytes, now: Instant) -> Link:
    found = link(connection, digest, now)
    if not connection.change("use_link", digest=digest, now=now):
        raise NotFound("this link was used already, or its time is over")
    return found


def add_session(connection: Connection, session: Session, now: Instant) -> None:
    connection.change("forget_sessions", now=now)
    if not connection.change("lock_person", id=session.person_id):
        raise NotFound(UNKNOWN)
    connection.change(
        "add_session",
        digest=session.digest,
        person_id=session.person_id,
        agent=session.agent,
        created_at=session.created_at,
        expires_at=session.expires_at,
    )
    connection.change("note_sign_in", id=session.person_id, now=now)


def session(connection: Connection, digest: bytes, now: Instant, seen_after: Instant) -> tuple[Session, list[Membership]]:
    rows = connection.rows("session", digest=digest, now=now, seen_after=seen_after)
    if not rows:
        raise NotFound("this session is over")
    found = _session_from(rows[0])
    return found, memberships(connection, found.person_id)


def sessions(connection: Connection, person_id: str, now: Instant, seen_after: Instant) -> list[Session]:
    return [_session_from(row) for row in connection.rows("sessions_of", person_id=person_id, now=now, seen_after=seen_after)]


def touch_session(connection: Connection, digest: bytes, now: Instant) -> None:
    connection.change("touch_session", digest=digest, now=now)


def end_session(connection: Connection, person_id: str, digest: bytes) -> None:
    connection.change("end_session", person_id=person_id, digest=digest)


def end_sessions(connection: Connection, person_id: str, but: bytes) -> int:
    return connection.change("end_sessions", person_id=person_id, but=but)


def set_flash(connection: Connection, digest: bytes, path: str, flash: Sealed) -> None:
    connection.change("set_flash", digest=digest, path=path, flash=flash.blob)


def flash(connection: Connection, digest: bytes, path: str) -> Sealed | None:
    rows = connection.rows("flash", digest=digest, path=path)
    return Sealed(bytes(rows[0][0])) if rows else None


def take_flash(connection: Connection, digest: bytes, path: str, flash: Sealed) -> bool:
    return bool(connection.change("take_flash", digest=digest, path=path, flash=flash.blob))


def _person_from(row: Row) -> Person:
    return Person(
        id=row[0], email=row[1], is_operator=bool(row[2]), has_password=row[3] is not None, created_at=row[4], signed_in_at=row[5]
    )


def _session_from(row: Row) -> Session:
    digest, person_id, agent, created_at, seen_at, expires_at, email, is_operator = row
    return Session(bytes(digest), person_id, agent, created_at, seen_at, expires_at, email, bool(is_operator))
