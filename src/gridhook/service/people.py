"""The people of the console: who they are, how they prove it, and for how long that holds."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets as chance
from dataclasses import dataclass, field

import msgspec

from gridhook.clock import Clock
from gridhook.config import Settings
from gridhook.errors import Invalid, NotFound, Unauthenticated
from gridhook.limits import TimedCache
from gridhook.model import Instant, Link, LinkPurpose, Membership, Person, Role, Session
from gridhook.rules import contexts, ids
from gridhook.service.inputs import ENTROPY_BYTES
from gridhook.store.promises import Store
from gridhook.vault import SealBroken, Vault

TOKEN_BYTES = 32
SEEN_EVERY_MS = 60_000  # how exactly it is known when a session was last in use
LONGEST_AGENT = 200
LINK_PATH = "/console/link/"  # where the web takes links

# What a mailbox can look like, and not more: whether it exists is nobody's business here, nothing is mailed.
_EMAIL = re.compile(r"[^\s@\x00-\x20\x7f]{1,64}@[^\s@\x00-\x20\x7f]{1,190}")


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who looks at a page, proven by a session's cookie."""

    session: Session
    memberships: tuple[Membership, ...]
    token: str = field(repr=False)

    @property
    def email(self) -> str:
        return self.session.email

    @property
    def is_operator(self) -> bool:
        return self.session.is_operator

    @property
    def csrf(self) -> str:
        """What every form of this session carries; another site cannot know it."""
        return hmac.digest(self.token.encode(), b"gridhook console form", "sha256").hex()

    def role(self, account_id: str) -> Role | None:
        """None: this account is none of theirs. Operators may do in every account what its admins may."""
        if self.is_operator:
            return Role.ADMIN
        return next((one.role for one in self.memberships if one.account_id == account_id), None)


@dataclass(frozen=True, slots=True)
class Invitation:
    """url: works once, until `expires_at`; whoever has it is that person."""

    url: str = field(repr=False)
    expires_at: Instant
    purpose: LinkPurpose


class People:
    def __init__(self, *, store: Store, vault: Vault, settings: Settings) -> None:
        self._store = store
        self._vault = vault
        self._settings = settings
        self._clock: Clock = store.clock
        self._seen: TimedCache[bool] = TimedCache(SEEN_EVERY_MS / 1000)

    # --- who there is -------------------------------------------------------------------------------------------

    async def add(self, email: str, *, operator: bool = False, membership: Membership | None = None) -> Person:
        """Somebody new, or somebody known with one more account or another role. Raises `Invalid`, `NotFound`."""
        email = checked_email(email)
        try:
            person = await self._store.person(email=email)
        except NotFound:
            if membership is not None:
                await self._store.account(membership.account_id)
            person = Person(ids.person_id(chance.token_bytes(ENTROPY_BYTES)), email, operator, self._clock.now())
            await self._store.add_person(person)
        if operator and not person.is_operator:
            await self._store.set_operator(person.id, True)
        if membership is not None:
            await self._store.add_membership(person.id, membership, now=self._clock.now())
        return await self._store.person(id=person.id)

    async def known(self, email: str) -> Person:
        """Raises `NotFound`."""
        try:
            return await self._store.person(email=checked_email(email))
        except NotFound:
            raise NotFound(f"nobody here has the address {email}; `gridhook users add` makes people") from None

    async def demote(self, email: str) -> Person:
        """An operator no more; memberships stay."""
        await self._store.set_operator((await self.known(email)).id, False)
        return await self.known(email)

    async def remove(self, email: str, account_id: str | None = None) -> None:
        """From one account, or (None) altogether: out at their next request. Raises `NotFound`."""
        person = await self.known(email)
        if account_id is None:
            await self._store.remove_person(person.id)
        else:
            await self._store.remove_membership(person.id, account_id)

    # --- links --------------------------------------------------------------------------------------------------

    async def new_link(self, person: Person, purpose: LinkPurpose, *, seconds: int) -> str:
        """The token of a link that works once, within `seconds`; earlier ones are void."""
        token = _token()
        now = self._clock.now()
        await self._store.add_link(_digest(token), Link(person.id, purpose), now=now, expires_at=now + seconds * 1000)
        return token

    async def invite(self, person: Person, purpose: LinkPurpose) -> Invitation:
        """A link of the usual life, as it is sent to somebody."""
        seconds = int(self._settings.link_hours * 3600)
        token = await self.new_link(person, purpose, seconds=seconds)
        return Invitation(f"{self._settings.base_url}{LINK_PATH}{token}", self._clock.now() + seconds * 1000, purpose)

    async def link(self, token: str) -> tuple[LinkPurpose, Person]:
        """What it is for, and for whom; it is not used up. Raises `NotFound` when it was used or its time is over."""
        link = await self._store.link(_digest(token), now=self._clock.now())
        return link.purpose, await self._store.person(id=link.person_id)

    async def use_link(self, token: str, purpose: LinkPurpose) -> Person:
        """Works once. Raises `NotFound` when the link was used, is over, or is for something else."""
        now = self._clock.now()
        if (await self._store.link(_digest(token), now=now)).purpose is not purpose:
            raise NotFound("this link is for something else")
        link = await self._store.use_link(_digest(token), now=now)
        return await self._store.person(id=link.person_id)

    # --- sessions -----------------------------------------------------------------------------------------------

    async def visitor(self, token: str, *, by_itself: bool = False) -> Visitor:
        """Raises `Unauthenticated` when the session is over, was ended, or never was.

        by_itself: it is no person that asks, but a page that is open: that must not keep a session alive.
        """
        now = self._clock.now()
        try:
            session, memberships = await self._store.session(_digest(token), now=now, seen_after=self._seen_after(now))
        except NotFound:
            raise Unauthenticated("sign in to see this page") from None
        if not by_itself and now - session.seen_at > SEEN_EVERY_MS and self._seen.get(token) is None:
            self._seen.put(token, True)
            await self._store.touch_session(session.digest, now=now)
        return Visitor(session, tuple(memberships), token)

    async def sign_out(self, visitor: Visitor) -> None:
        await self._store.end_session(visitor.session.person_id, visitor.session.digest)

    async def sessions(self, person_id: str) -> list[Session]:
        """Those that are good, newest first."""
        now = self._clock.now()
        return await self._store.sessions(person_id, now=now, seen_after=self._seen_after(now))

    async def end_session(self, person_id: str, digest: bytes) -> None:
        await self._store.end_session(person_id, digest)

    async def end_sessions(self, person_id: str, *, but: bytes = b"") -> int:
        """All of them, but for the one with that digest; how many there were."""
        return await self._store.end_sessions(person_id, but=but)

    async def end(self, token: str) -> None:
        """The session of this cookie, whoever's it is; none is fine too."""
        if not token:
            return
        now = self._clock.now()
        try:
            session, _ = await self._store.session(_digest(token), now=now, seen_after=self._seen_after(now))
        except NotFound:
            return
        await self._store.end_session(session.person_id, session.digest)

    def _seen_after(self, now: Instant) -> Instant:
        return now - self._settings.session_idle_minutes * 60_000

    async def open(self, person_id: str, agent: str) -> str:
        """The cookie of a new session: for somebody who has proven who they are. Raises `NotFound` when they were removed meanwhile."""
        token = _token()
        now = self._clock.now()
        ends = now + int(self._settings.session_hours * 3_600_000)
        await self._store.add_session(Session(_digest(token), person_id, agent[:LONGEST_AGENT], now, now, ends), now=now)
        return token

    # --- what is shown once -------------------------------------------------------------------------------------

    async def leave(self, visitor: Visitor, path: str, told: dict[str, str]) -> None:
        """What the page at `path` shows this session when it next comes there, once: a notice, or a secret. Sealed at rest."""
        text = msgspec.json.encode(told)
        await self._store.set_flash(visitor.session.digest, path, self._vault.seal(text, contexts.flash(visitor.session.digest, path)))

    async def left(self, visitor: Visitor, path: str) -> dict[str, str]:
        """What was left for this page; empty when nothing was, or when it was shown already."""
        sealed = await self._store.take_flash(visitor.session.digest, path)
        if sealed is None:
            return {}
        try:
            return msgspec.json.decode(self._vault.open_bytes(sealed, contexts.flash(visitor.session.digest, path)), type=dict[str, str])
        except SealBroken:
            return {}  # its master key was rotated away within the hour: it was to be seen once, and was not


def checked_email(email: str) -> str:
    """In the form in which it is known: lower case. Raises `Invalid`."""
    # The Kelvin sign is a K in lower case: another mailbox must not become somebody's here.
    is_plain = all(one.isascii() or not one.lower().isascii() for one in email)
    email = email.strip().lower()
    if not is_plain or not _EMAIL.fullmatch(email) or not email.isprintable():
        raise Invalid("email", "must be an address such as ada@example.com")
    return email


def _token() -> str:
    return chance.token_urlsafe(TOKEN_BYTES)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
