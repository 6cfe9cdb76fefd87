"""Signing in with a password: limited, and alike for everybody who is not let in.

Who guesses is slowed down by address, and all guessers together. That alone would let a stranger lock somebody out by guessing badly in
their name. So a browser that signed in with an address before (it keeps a sealed cookie that says so) has limits of its own, which no
stranger can use up, and the correct password gets in from there in the middle of an attack. A browser that is new to the address must
wait like the stranger: to let a correct password through would be to check every guess. An operator's link is the way around.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets as chance
import time
from dataclasses import dataclass, field

import msgspec

from gridhook.config import Settings
from gridhook.errors import Forbidden, Invalid, NotFound, TooMany
from gridhook.limits import Budget
from gridhook.model import Instant, LinkPurpose, Person, Sealed
from gridhook.rules import contexts
from gridhook.service.passwords import Passwords, checked_password
from gridhook.service.people import People, Visitor, checked_email
from gridhook.store.promises import Store
from gridhook.vault import SealBroken, Vault

MINUTE_SECONDS = 60.0
DAY_SECONDS = 86_400.0
MOST_PER_DAY = 100  # wrong passwords for one address: NIST SP 800-63B s5.2.2
KNOWN_BROWSER_DAYS = 180
BROWSERS = 5  # of one person, known to us, that sign in as fast as they may
NOT_LET_IN = "this address and password do not belong together, or nobody here has this address"


@dataclass(frozen=True, slots=True)
class Entered:
    """token: the new session's cookie. browser: what the browser keeps to be known as one that signed in before."""

    person: Person
    token: str = field(repr=False)
    browser: str = field(repr=False)


class NotLetIn(Forbidden):
    """The same for an unknown address, for somebody without a password and for a wrong one. person: None when the address is unknown."""

    def __init__(self, person: Person | None) -> None:
        super().__init__(NOT_LET_IN)
        self.person = person


class Door:
    def __init__(self, *, store: Store, vault: Vault, settings: Settings, people: People) -> None:
        self._store = store
        self._vault = vault
        self._people = people
        self._passwords = Passwords()
        self._by_minute = Budget(settings.sign_ins_per_minute, MINUTE_SECONDS)
        self._by_day = Budget(MOST_PER_DAY, DAY_SECONDS)
        self._by_person = Budget(settings.sign_ins_per_minute * BROWSERS, MINUTE_SECONDS)
        self._all = Budget(settings.all_sign_ins_per_minute, MINUTE_SECONDS)

    async def sign_in(self, email: str, password: str, agent: str, browser: str = "") -> Entered:
        """browser: what it kept from last time. Raises `NotLetIn`, `TooMany`."""
        email = email.strip().lower()
        self._spend(email, browser)
        person, kept = await self._find(email)
        if not await self._passwords.matches(kept, password) or person is None or kept is None:
            raise NotLetIn(person)
        if self._passwords.is_outdated(kept):
            renewed = await self._passwords.hash(password)
            await self._store.rehash(person.id, before=kept, password=renewed)
            kept = renewed
        entered = await self.enter(person, agent)
        if (await self._find(email))[1] != kept:
            # It was changed while we compared: its change ended all sessions, and this one came too late to be ended.
            await self._people.end(entered.token)
            raise NotLetIn(person)
        return entered

    async def set_password(self, token: str, password: str, agent: str) -> Entered:
        """By a link, which is used up unless the password is refused. Every earlier session ends. Raises `Invalid`, `NotFound`."""
        _, person = await self._people.link(token)
        hashed = await self._passwords.hash(checked_password(password, person.email))
        person = await self._people.use_link(token, LinkPurpose.PASSWORD)
        await self._store.set_password(person.id, hashed)
        return await self.enter(person, agent)

    async def change_password(self, visitor: Visitor, old: str, new: str) -> None:
        """Every other session of theirs ends. Raises `Invalid`, `TooMany`."""
        person_id = visitor.session.person_id
        _take([(self._by_minute, f"change|{person_id}"), (self._by_day, f"change|{person_id}")])
        new = checked_password(new, visitor.email)
        _, kept = await self._find(visitor.email)
        if kept is None:
            raise Invalid("old", "you have none yet: ask for a link to set one")
        if not await self._passwords.matches(kept, old):
            raise Invalid("old", "is not your present password")
        await self._store.set_password(person_id, await self._passwords.hash(new), but=visitor.session.digest)

    async def enter(self, person: Person, agent: str) -> Entered:
        """For somebody who has proven who they are."""
        return Entered(person, await self._people.open(person.id, agent), self._known(person.email))

    async def by_address(self, email: str) -> Person | None:
        """Whom a provider vouched for; None when nobody here has this address."""
        return (await self._find(email))[0]

    async def _find(self, email: str) -> tuple[Person | None, str | None]:
        try:
            return await self._store.password(checked_email(email))
        except (NotFound, Invalid):
            return None, None

    # --- limits ---

    def _spend(self, email: str, browser: str) -> None:
        """Raises `TooMany`. The addresses' own limits come first: guessing at one must not use up what is for all."""
        known_as = self._known_as(browser, email)
        if known_as is not None:
            own = f"browser|{known_as}"
            # Each time that one signs in makes one more known browser: their limits together are not to be without limit.
            _take([(self._by_minute, own), (self._by_day, own), (self._by_person, email)])
        else:
            address = f"address|{hashlib.sha256(email.encode()).hexdigest()}"
            _take([(self._by_minute, address), (self._by_day, address), (self._all, "")])

    def _known(self, email: str) -> str:
        said = msgspec.json.encode([email, self._store.clock.now(), chance.token_hex(8)])
        return base64.urlsafe_b64encode(self._vault.seal(said, contexts.known_browser()).blob).decode().rstrip("=")

    def _known_as(self, browser: str, email: str) -> str | None:
        """What tells this browser from others; None when it never signed in with this address, or long ago."""
        if not browser or len(browser) > 2000:
            return None
        try:
            blob = base64.urlsafe_b64decode(browser + "=" * (-len(browser) % 4))
            said: tuple[str, Instant, str] = msgspec.json.decode(
                self._vault.open_bytes(Sealed(blob), contexts.known_browser()), type=tuple[str, Instant, str]
            )
        except (SealBroken, binascii.Error, ValueError):
            return None
        is_fresh = self._store.clock.now() - said[1] < KNOWN_BROWSER_DAYS * DAY_SECONDS * 1000
        return said[2] if said[0] == email and is_fresh else None


def _take(budgets: list[tuple[Budget, str]]) -> None:
    """From each, or from none. What one of them refuses must leave nothing in the others: they remember a number of addresses, and a
    flood of made-up ones would have them forget those that are guessed at."""
    now = time.monotonic()
    for budget, key in budgets:
        wait = budget.wait(key, now)
        if wait > 0:
            seconds = int(wait) + 1
            raise TooMany(f"too many attempts; try again in {_words(seconds)}, or ask an operator for a link", seconds)
    for budget, key in budgets:
        budget.take(key, now)


def _words(seconds: int) -> str:
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60 + 1} minutes"
