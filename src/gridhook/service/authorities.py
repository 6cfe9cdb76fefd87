"""The verbs on our certificate authorities: made on first need, published before they sign, rolled over, imported, removed."""

from __future__ import annotations

import secrets as chance
from dataclasses import dataclass, field

from gridhook import authority as x509
from gridhook.clock import Clock
from gridhook.config import Settings
from gridhook.errors import Conflict, Invalid, Unavailable
from gridhook.model import Authority, Certificate, Instant, Sealed
from gridhook.rules import authorities as rules
from gridhook.rules import contexts, ids
from gridhook.service.inputs import ENTROPY_BYTES
from gridhook.store.promises import Credential, Store
from gridhook.telemetry import Log
from gridhook.vault import SealBroken, Vault

NAME = "gridhook webhook CA"
LONGEST_NOTICE_MS = 365 * 86_400_000
END_OF_TIME: Instant = 2**62
DEFAULT_NOTICE_MS = 7 * 86_400_000  # how long a new authority is published before it signs, unless one says otherwise


@dataclass(frozen=True, slots=True)
class Signer:
    """An authority with its key (PEM)."""

    authority: Authority
    key: bytes = field(repr=False)


async def opened(store: Store, vault: Vault, authority: Authority) -> Signer:
    """With its key. Raises `Unavailable` when that does not open, or when what is kept cannot sign."""
    sealed = await store.authority_key(authority.id)
    try:
        key = vault.open_bytes(sealed, contexts.authority_key(authority.id))
        x509.check_signs(authority, key)
    except SealBroken:
        raise Unavailable("the key of the certificate authority could not be decrypted") from None
    except Invalid:
        # Not as it is: that would blame the caller, who gave neither certificate nor key.
        raise Unavailable("what is kept of the certificate authority was altered") from None
    return Signer(authority, key)


class Authorities:
    def __init__(self, *, store: Store, vault: Vault, settings: Settings, log: Log) -> None:
        self._store = store
        self._vault = vault
        self._settings = settings
        self._log = log
        self._clock: Clock = store.clock
        self._damaged: set[str] = set()  # those that the log told of
        self._signer: Signer | None = None  # the last one that was opened

    async def current(self, now: Instant) -> Signer:
        """The authority that signs now; made when there never was one. Raises `Unavailable` when it cannot sign."""
        signs = rules.signing(await self._store.authorities(), now)
        if signs is None:
            signs = await self._first(now)
            # The very first, or the one after an authority that was let expire: then no receiver trusts it, and none was warned.
            self._log.warning("an authority was made that signs at once: receivers must trust it first", authority=signs.id)
        if self._signer is None or self._signer.authority != signs:
            try:
                self._signer = await opened(self._store, self._vault, signs)
            except Unavailable as trouble:
                # Who asked can do nothing about it; who operates must hear of it.
                self._log.error("no certificate can be issued", authority=signs.id, error=str(trouble))
                raise
        return self._signer

    async def issue(self, account_id: str, webhook_id: str) -> tuple[Certificate, Credential]:
        """A new client certificate for this webhook, and the sealed pair of certificate and key of the same id; nothing is stored."""
        now = self._clock.now()
        signer = await self.current(now)
        certificate_id = ids.certificate_id(chance.token_bytes(ENTROPY_BYTES))
        certificate, key = x509.issue(
            signer.authority,
            signer.key,
            account_id=account_id,
            webhook_id=webhook_id,
            certificate_id=certificate_id,
            now=now,
            days=self._settings.certificate_days,
        )
        context = contexts.certificate_key(account_id, webhook_id, certificate_id)
        return certificate, Credential(certificate_id, self._vault.seal(x509.to_text(certificate.chain, key), context))

    async def bundle(self) -> bytes:
        """What receivers must trust: all authorities that stand, as PEM, the newest first. Made when there never was one.

        Without those whose certificate was damaged: one bad block can cost a receiver the whole file. Raises `Unavailable` when all are.
        """
        standing = await self.listed() or [await self._first(self._clock.now())]
        intact = [one for one in standing if x509.is_intact(one)]
        for one in standing:
            if one not in intact and one.id not in self._damaged:
                self._damaged.add(one.id)
                self._log.error("the certificate of an authority was damaged in the database: it is not published", authority=one.id)
        if not intact:
            raise Unavailable("the certificates of our authorities cannot be read at the moment")
        return b"".join(one.certificate for one in intact)

    async def listed(self) -> list[Authority]:
        """Those that are published, newest first."""
        return await self._store.authorities()

    async def signing(self) -> Authority | None:
        """Which of them signs now."""
        return rules.signing(await self.listed(), self._clock.now())

    async def create(self) -> Authority:
        """The first one, explicitly. Raises `Conflict` when there is one."""
        if standing := await self.listed():
            raise Conflict(f"there is an authority already ({standing[0].id}); to replace it, roll over")
        return await self._first(self._clock.now())

    async def roll(self, *, signs_in_ms: int = DEFAULT_NOTICE_MS) -> Authority:
        """A new authority, published now, which signs `signs_in_ms` later: by then receivers must know it. The one before stays published
        until it is removed."""
        now = self._clock.now()
        return await self._store.add_authority(*self._made(now, now + await self._notice(signs_in_ms)))

    async def import_(self, certificate_pem: bytes, key_pem: bytes, *, signs_in_ms: int = DEFAULT_NOTICE_MS) -> Authority:
        """An authority that was made elsewhere, as `roll`. Raises `Invalid`, naming `certificate` or `key`; `Conflict` when it is here."""
        now = self._clock.now()
        signs_from_at = now + await self._notice(signs_in_ms)
        authority, key = x509.import_authority(certificate_pem, key_pem, now=now, signs_from_at=signs_from_at)
        for one in await self.listed():
            if one.fingerprint == authority.fingerprint:
                raise Conflict(f"this certificate is that of authority {one.id} already")
        return await self._store.add_authority(authority, self._sealed(authority, key))

    async def remove(self, authority_id: str) -> None:
        """Publish it no longer, and destroy its key.

        Raises `NotFound`; `Conflict` while it signs, or while a webhook uses a certificate of it.
        """
        await self._store.remove_authority(authority_id, now=self._clock.now())
        self._signer = None

    async def _first(self, now: Instant) -> Authority:
        """Raises `Unavailable` when there must have been one before: what another issues would be refused by all receivers."""
        orphans = await self._store.expiring_certificates(before=END_OF_TIME, after=(now, ""), limit=1)
        if orphans:
            trouble = "the authority of certificates that webhooks present is not in the database"
            self._log.error(f"{trouble}: no other is made; see `gridhook doctor`", authority=orphans[0].authority_id)
            raise Unavailable(trouble)
        return await self._store.add_authority(*self._made(now, now), first=True)

    async def _notice(self, signs_in_ms: int) -> int:
        """The first one has nobody to take over from: it signs at once. Raises `Invalid("signs_in")`."""
        if signs_in_ms > LONGEST_NOTICE_MS:
            raise Invalid("signs_in", "must be at most 365d: an authority lasts for ten years, and must sign for most of them")
        return signs_in_ms if await self.listed() else 0

    def _made(self, now: Instant, signs_from_at: Instant) -> tuple[Authority, Sealed]:
        authority, key = x509.new_authority(NAME, now=now, signs_from_at=signs_from_at)
        return authority, self._sealed(authority, key)

    def _sealed(self, authority: Authority, key: bytes) -> Sealed:
        return self._vault.seal(key, contexts.authority_key(authority.id))
