"""Certificates of an authority that must go, replaced before their time by those of the one that signs now."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace

from gridhook.errors import Conflict, GridhookError, NotFound
from gridhook.model import Authority, Certificate, Instant
from gridhook.rules.certificates import CertificateState, state_of
from gridhook.service.authorities import Authorities
from gridhook.service.certificates import Certificates
from gridhook.store.promises import Store

PAGE = 200
END_OF_TIME: Instant = 1 << 62
GIVE_UP_AFTER = 10  # failures in a row: then it is not the webhooks that are the trouble
TRIES = 3  # when somebody else rotates the same webhook at the same time


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose certificates shall be replaced.

    from_id: those of this authority; None: of every one but the one that signs. account_id: of this account only. keep_fallback: what is
    replaced is fallen back on for seven days, as after any rotation; without it the keys of the old ones are destroyed at once, also of
    those that had been replaced before.
    """

    signs: Authority
    from_id: str | None = None
    account_id: str | None = None
    keep_fallback: bool = True

    def names(self, certificate: Certificate) -> bool:
        return certificate.authority_id == self.from_id if self.from_id else certificate.authority_id != self.signs.id


@dataclass(frozen=True, slots=True)
class Due:
    """One certificate that must go. is_fallback: it was replaced already, and is still fallen back on. is_needed: the receiver has not been
    seen to take the one that replaced it."""

    account_id: str
    webhook_id: str
    certificate_id: str
    authority_id: str
    is_fallback: bool = False
    is_needed: bool = False


@dataclass(slots=True)
class Result:
    moved: int = 0
    retired: int = 0  # fallbacks
    spared: int = 0  # deleted, switched to a Private Key or renewed by somebody else meanwhile
    failed: list[tuple[Due, str]] = field(default_factory=list)  # with the reason
    left: int = 0  # not tried any more, after GIVE_UP_AFTER failures in a row


@dataclass(frozen=True, slots=True)
class Old:
    """An authority that signs no more. in_use: a certificate of it is presented or fallen back on, so it cannot be removed yet."""

    authority: Authority
    in_use: bool


class Reissue:
    """Bound to rows, as renewals are: each certificate is replaced in a transaction of its own, and only if it is still the one presented.
    So it can be stopped and run again, and run beside servers that rotate and renew."""

    def __init__(self, *, store: Store, authorities: Authorities, certificates: Certificates) -> None:
        self._store = store
        self._authorities = authorities
        self._certificates = certificates

    async def wanted(self, *, from_id: str | None = None, account_id: str | None = None, keep_fallback: bool = True) -> Wanted:
        """Raises `NotFound` for an unknown account or authority, or when there is none; `Conflict` when `from_id` signs itself."""
        if account_id is not None:
            await self._store.account(account_id)
        standing = await self._authorities.listed()
        signs = await self._authorities.signing()
        if signs is None:
            raise NotFound("there is no certificate authority that could sign: make one with `gridhook ca create`")
        if from_id == signs.id:
            raise Conflict(f"authority {from_id} signs itself: first make its successor with `gridhook ca roll --signs-in 0s`")
        if from_id is not None and from_id not in {one.id for one in standing}:
            raise NotFound(f"no authority {from_id}; `gridhook ca show` lists those that stand")
        return Wanted(signs, from_id, account_id, keep_fallback)

    async def due(self, wanted: Wanted) -> list[Due]:
        """What is to be done now, soonest to expire first."""
        found = []
        async for presented in self._presented():
            if wanted.account_id not in (None, presented.account_id):
                continue
            if wanted.names(presented):
                found.append(_due(presented))
            elif not wanted.keep_fallback:
                found += await self._fallbacks(presented, wanted)
        return found

    async def run(self, wanted: Wanted, due: Sequence[Due], told: Callable[[], object]) -> Result:
        """told: is called after each. Raises `Unavailable` when the authority cannot sign: then nothing was changed."""
        await self._authorities.current(self._store.clock.now())
        result = Result()
        in_a_row = 0
        for number, one in enumerate(due, 1):
            try:
                await self._settle(one, wanted, result)
                in_a_row = 0
            except GridhookError as trouble:
                result.failed.append((one, str(trouble)))
                in_a_row += 1
            told()
            if in_a_row == GIVE_UP_AFTER:
                result.left = len(due) - number
                break
        return result

    async def old(self, wanted: Wanted) -> list[Old]:
        """The authorities that can go, or could if none of their certificates were in use."""
        now = self._store.clock.now()
        return [
            Old(one, await self._store.certificate_in_use(one.id, now=now) is not None)
            for one in await self._authorities.listed()
            # One that will sign later was not what the certificates were moved from.
            if one.id != wanted.signs.id and (one.id == wanted.from_id if wanted.from_id else one.signs_from_at <= now)
        ]

    async def _presented(self) -> AsyncIterator[Certificate]:
        after: tuple[Instant, str] | None = None
        while True:
            page = await self._store.expiring_certificates(before=END_OF_TIME, after=after, limit=PAGE)
            for certificate in page:
                yield certificate
            if len(page) < PAGE:
                return
            after = (page[-1].expires_at, page[-1].id)

    async def _fallbacks(self, presented: Certificate, wanted: Wanted) -> list[Due]:
        now = self._store.clock.now()
        try:
            listed = await self._store.certificates(presented.account_id, presented.webhook_id)
        except NotFound:
            return []  # deleted meanwhile
        return [_due(one, replaced_by=presented) for one in listed if state_of(one, now) is CertificateState.FALLBACK and wanted.names(one)]

    async def _settle(self, due: Due, wanted: Wanted, result: Result) -> None:
        try:
            if not due.is_fallback:
                moved = await self._move(due, wanted)
                result.moved += moved
                result.spared += not moved
                return
            retired = await self._store.retire_fallback(due.account_id, due.webhook_id, due.certificate_id, now=self._store.clock.now())
            result.retired += retired
            result.spared += not retired
        except NotFound:
            result.spared += 1  # deleted meanwhile

    async def _move(self, due: Due, wanted: Wanted) -> bool:
        """False: there is nothing to move any more."""
        replacing = due.certificate_id
        for _ in range(TRIES):
            try:
                await self._certificates.rotate(due.account_id, due.webhook_id, replacing=replacing, keep_fallback=wanted.keep_fallback)
                return True
            except Conflict:
                # Somebody was faster; but a server that had the authority before at hand may have issued one more of it.
                presented = await self._certificates.presented(due.account_id, due.webhook_id)
                if presented is None or not wanted.names(presented):
                    return False
                if presented.id == replacing:
                    raise  # nobody was: it is refused for another reason
                replacing = presented.id
        raise Conflict("it is rotated again and again by somebody else")


def _due(certificate: Certificate, *, replaced_by: Certificate | None = None) -> Due:
    named = Due(certificate.account_id, certificate.webhook_id, certificate.id, certificate.authority_id)
    return named if replaced_by is None else replace(named, is_fallback=True, is_needed=replaced_by.accepted_at is None)
