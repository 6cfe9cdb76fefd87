"""Passwords: what one may be, and what is kept of it (Argon2id, nothing that leads back)."""

from __future__ import annotations

import asyncio
import unicodedata
from functools import cache
from typing import TYPE_CHECKING

from gridhook.errors import Invalid

if TYPE_CHECKING:
    from argon2 import PasswordHasher

SHORTEST = 12
LONGEST = 200
RULES = f"At least {SHORTEST} characters. Spaces and every script are welcome; several words that do not belong together are good."
FEWEST_DIFFERENT = 5  # characters

# OWASP's password storage cheat sheet: m=19 MiB, t=2, p=1.
MEMORY_KIB = 19 * 1024
TIMES = 2
LANES = 1
AT_ONCE = 2  # so that a flood of attempts takes 38 MiB and no more


class Passwords:
    def __init__(self) -> None:
        self._room = asyncio.Semaphore(AT_ONCE)
        self._decoy = ""

    async def hash(self, password: str) -> str:
        """In PHC form: `$argon2id$v=19$...`."""
        async with self._room:
            return await asyncio.to_thread(_hash, password)

    async def matches(self, kept: str | None, password: str) -> bool:
        """None: there is nobody, or no password yet; found out in the same time as that it is the wrong one."""
        if kept is None:
            self._decoy = self._decoy or await self.hash("nobody's password")
            await self._check(self._decoy, password)
            return False
        return await self._check(kept, password)

    def is_outdated(self, kept: str) -> bool:
        """Made with other parameters than today's."""
        return _hasher().check_needs_rehash(kept)

    async def _check(self, kept: str, password: str) -> bool:
        if len(password) > LONGEST:
            password = password[:LONGEST] + "\0"  # matches nothing, at the price of any other
        async with self._room:
            return await asyncio.to_thread(_matches, kept, password)


def checked_password(password: str, email: str) -> str:
    """Raises `Invalid`. Length is what counts; rules about kinds of characters make passwords worse (NIST SP 800-63B)."""
    normal = normalised(password)
    if len(normal) < SHORTEST:
        raise Invalid("password", f"must have at least {SHORTEST} characters; this has {len(normal)}")
    if len(normal) > LONGEST:
        raise Invalid("password", f"must have at most {LONGEST} characters")
    if len(set(normal.casefold())) < FEWEST_DIFFERENT:
        raise Invalid("password", f"repeats itself; use at least {FEWEST_DIFFERENT} different characters")
    if any(normal.casefold().startswith(part) and len(normal) < len(part) + 4 for part in (email, email.partition("@")[0])):
        raise Invalid("password", "must not be your email address")
    return normal


def normalised(password: str) -> str:
    """NFC: the same letters typed on another keyboard are the same password."""
    return unicodedata.normalize("NFC", password)


@cache
def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher, Type

    return PasswordHasher(time_cost=TIMES, memory_cost=MEMORY_KIB, parallelism=LANES, hash_len=32, salt_len=16, type=Type.ID)


def _hash(password: str) -> str:
    return _hasher().hash(normalised(password))


def _matches(kept: str, password: str) -> bool:
    from argon2.exceptions import InvalidHashError, VerificationError

    try:
        return _hasher().verify(kept, normalised(password))
    except (VerificationError, InvalidHashError):
        return False
