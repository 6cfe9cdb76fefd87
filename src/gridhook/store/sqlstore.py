"""The store: every promise as a write for the writer's thread or a read on a reader's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import closing, suppress
from typing import Any, TypeVar, cast

from msgspec import UnsetType

from gridhook.clock import Clock
from gridhook.errors import NotFound
from gridhook.model import (
    Account,
    AccountSecret,
    Attempt,
    AttemptFilter,
    AuthMethod,
    Authority,
    Certificate,
    Claim,
    Delivery,
    DeliveryFilter,
    Finished,
    Health,
    Instant,
    Link,
    Membership,
    NewEvent,
    Person,
    PublisherKey,
    Recovery,
    Role,
    Sealed,
    Session,
    Webhook,
    WebhookFilter,
    Window,
)
from gridhook.store import (
    accounts,
    certificates,
    credentials,
    edits,
    health,
    history,
    people,
    publishing,
    reads,
    redelivery,
    road,
    seals,
    standing,
)
from gridhook.store.database import Connection, Driver
from gridhook.store.frozen import Watch
from gridhook.store.promises import (
    ALL,
    ANY_ATTEMPT,
    ANY_DELIVERY,
    ANY_WEBHOOK,
    MOST_UNDELIVERED,
    AccountPage,
    AttemptDetail,
    AttemptPage,
    Challenge,
    Claimed,
    Credential,
    CredentialInfo,
    DeliveryPage,
    EventDetail,
    GiveBack,
    Lane,
    Load,
    Pruned,
    Published,
    Redelivered,
    Reserve,
    Retention,
    Standing,
    Subscriber,
    Undelivered,
    Want,
    WebhookCounts,
    WebhookEdit,
    WebhookPage,
    Work,
)
from gridhook.store.readers import Readers
from gridhook.store.retention import MINUTES_KEPT_MS, Forgetting, Old, forget
from gridhook.store.writer import Operation, Writer

T = TypeVar("T")


class SqlStore:
    """Keeps `promises.Store` on any database that a `Driver` can reach."""

    def __init__(
        self,
        driver: Driver,
        clock: Clock,
        *,
        max_attempts: int,
        group_commit_events: int,
        prepare: Callable[[], None],
        mend: bool,
    ) -> None:
        self.clock = clock
        self._driver = driver
        self._prepare = prepare
        self._mend = mend
        self._max_attempts = max_attempts
        self._writer = Writer(driver, self._work, group_commit_events)
        self._readers = Readers(driver)
        self._watch = Watch(driver, self._writer, self._readers)
        self._forgetting = Forgetting()
        self._unforgotten: Old | None = None  # what a step found that the database did not take: it is not found a second time
        self._pruning = asyncio.Lock()
        self._open = False

    # --- life ---------------------------------------------------------------------------------------------------

    async def open(self) -> dict[str, int]:
        behind = await asyncio.to_thread(self._start)
        self._open = True
        return behind

    def _start(self) -> dict[str, int]:
        self._prepare()
        behind = self._counters_behind()
        self._writer.start()
        self._watch.start()
        return behind

    def _counters_behind(self) -> dict[str, int]:
        with closing(self._driver.connect(read_only=True)) as connection:
            behind = {kind: last + 1 - next for kind, next, last in connection.rows("counters_behind")}
        if behind and self._mend:
            with closing(self._driver.connect()) as connection:
                connection.begin()
                for kind, size in behind.items():
                    connection.change("skip_ids", name=kind, size=size)
                connection.commit()
        return behind

    async def close(self) -> None:
        if not self._open:
            return
        self._open = False
        await asyncio.to_thread(self._stop)

    def _stop(self) -> None:
        self._writer.stop()
        self._readers.close()
        self._watch.stop()
        self._driver.close()

    def is_alive(self) -> bool:
        return self._open and self._writer.is_alive()

    def trouble(self) -> str | None:
        return self._writer.trouble()

    def backlog(self) -> int:
        return self._writer.backlog()

    def on_commit(self, tell: Callable[[int], None]) -> None:
        self._writer.tell = tell

    # --- the writer's side --------------------------------------------------------------------------------------

    def _work(self, connection: Connection, operations: Sequence[Operation]) -> Sequence[object]:
        """One group, sorted by rank: records, releases, publishes, claims, then other edits."""
        records = [one for one in operations if isinstance(one, road.Record)]
        releases = [one for one in operations if isinstance(one, road.Release)]
        publishes = [one for one in operations if isinstance(one, publishing.Publish)]
        results: list[object] = []
        kept: list[Attempt] = []
        if records:
            answers, kept = road.record(connection, records)
            results += answers
        if releases:
            results += road.release(connection, releases)
        if publishes:
            results += publishing.publish(connection, publishes)
        for operation in operations[len(results) :]:
            if isinstance(operation, road.Claiming):
                results.append(road.claim(connection, operation, self._max_attempts))
            else:
                results.append(cast(edits.Edit, operation).attempt(connection))
        # Last: on PostgreSQL processes that count for the same webhook wait for each other from here to the commit.
        health.count(connection, kept)
        return results

    async def _edited(self, change: Callable[..., T], *arguments: Any) -> T:
        return cast(T, await self._writer.submit(edits.Edit(lambda connection: change(connection, *arguments))))

    async def _all_steps(self, step: Callable[..., int], *arguments: Any) -> None:
        """Repeats a bounded edit until it finds nothing more, letting others write in between. Should we die half-way, claims
        and `settle_held` judge the remaining rows one by one."""
        while await self._edited(step, *arguments):
            pass

    # --- the road -----------------------------------------------------------------------------------------------

    def publish(
        self, events: Sequence[NewEvent], *, lease_ms: int, now: Instant, reserve: Reserve, give_back: GiveBack | None = None
    ) -> Coroutine[Any, Any, Published]:
        return self._claiming(publishing.Publish(events, lease_ms, now, reserve, give_back), now, give_back)

    async def record(self, finished: Sequence[Finished]) -> list[bool]:
        return cast(list[bool], await self._writer.submit(road.Record(finished)))

    def claim(self, wants: Sequence[Want], *, lease_ms: int, now: Instant) -> Coroutine[Any, Any, Claimed]:
        return self._claiming(road.Claiming(wants, lease_ms, now), now, None)

    async def release(self, claims: Sequence[Claim], *, now: Instant) -> None:
        await self._writer.submit(road.Release(claims, now))

    async def _claiming(self, operation: Operation, now: Instant, give_back: GiveBack | None) -> Any:
        """Awaits an answer that carries claims. If the caller is cancelled meanwhile, they are handed back: nobody else knows of them."""

        def hand_back(answer: Published | Claimed) -> None:
            if give_back is not None:
                for claim in answer.claims:
                    give_back(claim.account_id, claim.webhook_id)
            if answer.claims and self._open:
                self._writer.submit(road.Release(answer.claims, now))

        operation.unheard = hand_back
        future = self._writer.submit(operation)
        try:
            return await future
        except asyncio.CancelledError:
            # Cancelled between the answer and our waking up; one that is not answered yet is handed back when it is.
            if future.done() and not future.cancelled() and future.exception() is None:
                hand_back(future.result())
            raise

    async def lanes(self, *, now: Instant, limit: int, after: tuple[str, str] | None = None) -> list[Lane]:
        return await self._readers.run(reads.lanes, limit, after or ("", ""))

    async def settle_held(self, *, now: Instant, limit: int) -> tuple[int, int]:
        return await self._edited(edits.settle_held, now, limit)

    async def reclaim(self, *, now: Instant) -> int:
        return await self._edited(edits.reclaim, now)

    async def unproven(self, *, limit: int) -> list[tuple[str, str]]:
        return await self._readers.run(reads.unproven, limit)

    # --- webhooks -----------------------------------------------------------------------------------------------

    async def add_webhook(
        self, webhook: Webhook, credential: Credential | None, certificate: Certificate | None = None, *, most: int | None = None
    ) -> None:
        await self._edited(edits.add_webhook, webhook, credential, certificate, most)

    async def webhook(self, account_id: str, webhook_id: str) -> Webhook:
        return await self._readers.run(reads.webhook, account_id, webhook_id)

    async def webhooks_by_ids(self, account_id: str, webhook_ids: Sequence[str]) -> dict[str, Webhook]:
        return await self._readers.run(reads.webhooks_by_ids, account_id, webhook_ids)

    async def webhooks(self, account_id: str, *, offset: int, limit: int, filter: WebhookFilter = ANY_WEBHOOK) -> WebhookPage:
        return await self._readers.run(reads.webhooks, account_id, offset, limit, filter)

    async def is_proving(self, account_id: str, webhook_id: str) -> bool:
        return await self._readers.run(reads.is_proving, account_id, webhook_id)

    async def delete_webhook(self, account_id: str, webhook_id: str, *, revision: int | None = None, now: Instant) -> None:
        await self._edited(edits.delete_webhook, account_id, webhook_id, revision, now)
        await self._all_steps(edits.cancel_step, account_id, webhook_id)

    async def edit_webhook(
        self, account_id: str, webhook_id: str, edit: WebhookEdit, *, revision: int | None = None, now: Instant
    ) -> Webhook:
        webhook = await self._edited(edits.edit_webhook, account_id, webhook_id, edit, revision, False, now)
        if not isinstance(edit.url, UnsetType):
            await self._hold(account_id, webhook_id)
        return webhook

    async def change_url(self, account_id: str, webhook_id: str, url: str, *, now: Instant) -> Webhook:
        webhook = await self._edited(edits.edit_webhook, account_id, webhook_id, WebhookEdit(url=url), None, True, now)
        await self._hold(account_id, webhook_id)
        return webhook

    async def pause_webhook(self, account_id: str, webhook_id: str, *, now: Instant) -> Webhook:
        webhook = await self._edited(edits.pause_webhook, account_id, webhook_id, now)
        await self._hold(account_id, webhook_id)
        return webhook

    async def resume_webhook(self, account_id: str, webhook_id: str, *, now: Instant) -> Webhook:
        webhook = await self._edited(edits.resume_webhook, account_id, webhook_id)
        await self._all_steps(edits.release_step, account_id, webhook_id, now)
        return webhook

    async def _hold(self, account_id: str, webhook_id: str) -> None:
        with suppress(NotFound):  # deleted meanwhile: its deletion cancels what we would have held
            await self._all_steps(edits.hold_step, account_id, webhook_id)

    async def work(self, account_id: str, webhook_id: str, *, now: Instant) -> Work:
        return await self._readers.run(reads.work, account_id, webhook_id, now)

    # --- bearer keys --------------------------------------------------------------------------------------------

    async def add_credential(
        self, account_id: str, webhook_id: str, credential: Credential, *, activates_at: Instant, now: Instant
    ) -> None:
        await self._edited(credentials.add_credential, account_id, webhook_id, credential, activates_at, now)

    async def credentials(self, account_id: str, webhook_id: str) -> list[CredentialInfo]:
        return await self._readers.run(reads.credentials, account_id, webhook_id)

    async def cancel_credential(self, account_id: str, webhook_id: str, credential_id: str, *, now: Instant) -> None:
        await self._edited(credentials.cancel_credential, account_id, webhook_id, credential_id, now)

    # --- certificates -------------------------------------------------------------------------------------------

    async def add_authority(self, authority: Authority, key: Sealed, *, first: bool = False) -> Authority:
        return await self._edited(certificates.add_authority, authority, key, first)

    async def authorities(self) -> list[Authority]:
        return await self._readers.run(certificates.authorities, self.clock.now())

    async def authority_key(self, authority_id: str) -> Sealed:
        return await self._readers.run(certificates.authority_key, authority_id)

    async def certificate_in_use(self, authority_id: str, *, now: Instant) -> str | None:
        return await self._readers.run(certificates.certificate_in_use, authority_id, now)

    async def remove_authority(self, authority_id: str, *, now: Instant) -> None:
        await self._edited(certificates.remove_authority, authority_id, now)

    async def add_certificate(
        self, certificate: Certificate, key: Sealed, *, replacing: str | None = None, keep_fallback: bool = True, now: Instant
    ) -> list[Certificate]:
        return await self._edited(certificates.add_certificate, certificate, key, replacing, keep_fallback, now)

    async def note_notice(self, certificate: Certificate, days: int) -> None:
        await self._edited(certificates.note_notice, certificate, days)

    async def certificates(self, account_id: str, webhook_id: str) -> list[Certificate]:
        return await self._readers.run(certificates.certificates, account_id, webhook_id)

    async def presented_certificates(self, account_id: str, webhook_ids: Sequence[str]) -> dict[str, Certificate]:
        return await self._readers.run(certificates.presented_certificates, account_id, webhook_ids)

    async def cancel_certificate(self, account_id: str, webhook_id: str, certificate_id: str, *, now: Instant) -> Certificate:
        return await self._edited(certificates.cancel_certificate, account_id, webhook_id, certificate_id, now)

    async def retire_fallback(self, account_id: str, webhook_id: str, certificate_id: str, *, now: Instant) -> bool:
        return await self._edited(certificates.retire_fallback, account_id, webhook_id, certificate_id, now)

    async def retire_certificates(self, *, now: Instant, limit: int) -> int:
        return await self._edited(certificates.retire_certificates, now, limit)

    async def expiring_certificates(self, *, before: Instant, after: tuple[Instant, str] | None = None, limit: int) -> list[Certificate]:
        return await self._readers.run(certificates.expiring_certificates, before, after, limit)

    async def switch_auth(
        self,
        account_id: str,
        webhook_id: str,
        method: AuthMethod,
        credential: Credential,
        certificate: Certificate | None,
        *,
        revision: int,
        now: Instant,
    ) -> Webhook:
        return await self._edited(certificates.switch_auth, account_id, webhook_id, method, credential, certificate, revision, now)

    # --- the handshake ------------------------------------------------------------------------------------------

    async def issue_challenge(self, account_id: str, webhook_id: str, challenge_id: str, *, now: Instant) -> Challenge:
        return await self._edited(edits.issue_challenge, account_id, webhook_id, challenge_id)

    async def settle_challenge(self, challenge: Challenge, attempt: Attempt | None, *, matched: bool, now: Instant) -> bool:
        verified = await self._edited(edits.settle_challenge, challenge, attempt, matched, now)
        if verified:
            await self._all_steps(edits.release_step, challenge.account_id, challenge.webhook_id, now)
        return verified

    async def counts(self, account_id: str, webhook_id: str, *, most: int = ALL) -> WebhookCounts:
        return await self._readers.run(reads.counts, account_id, webhook_id, most)

    async def held(self, account_id: str, webhook_ids: Sequence[str], *, most: int = ALL) -> dict[str, tuple[int, Instant]]:
        return await self._readers.run(reads.held, account_id, webhook_ids, most)

    # --- health -------------------------------------------------------------------------------------------------

    async def health(self, account_id: str, webhook_ids: Sequence[str], *, now: Instant | None) -> dict[str, Health]:
        return await self._readers.run(health.health, account_id, webhook_ids, now)

    async def minutes(self, account_id: str, webhook_id: str | None, *, since: Instant) -> list[tuple[Instant, Window]]:
        return await self._readers.run(health.minutes, account_id, webhook_id, since)

    async def hours(self, account_id: str, webhook_ids: Sequence[str], *, since: Instant) -> dict[str, list[tuple[Instant, int, int]]]:
        return await self._readers.run(health.hours, account_id, webhook_ids, since)

    async def standing(self, account_id: str, *, expiring_before: Instant, limit: int) -> Standing:
        return await self._readers.run(standing.standing, account_id, expiring_before, limit)

    async def subscribers(self, account_id: str, event_type: str, *, limit: int) -> list[Subscriber]:
        return await self._readers.run(standing.subscribers, account_id, event_type, limit)

    async def troubled(self) -> tuple[dict[str, int], set[str]]:
        return await self._readers.run(standing.troubled)

    async def load(self, account_id: str, *, since: Instant) -> Load:
        return await self._readers.run(standing.load, account_id, since)

    async def recent(self, *, since: Instant, most: int) -> list[tuple[str, str, str, str, Window]]:
        return await self._readers.run(standing.recent, since, most)

    async def pulse(self, account_id: str, webhook_id: str | None, *, now: Instant) -> tuple[int | None, ...]:
        return await self._readers.run(health.pulse, account_id, webhook_id, now)

    # --- the log ------------------------------------------------------------------------------------------------

    async def attempts(
        self,
        account_id: str,
        webhook_id: str | None,
        *,
        before: tuple[Instant, int] | None = None,
        after: tuple[Instant, int] | None = None,
        filter: AttemptFilter = ANY_ATTEMPT,
        limit: int,
    ) -> AttemptPage:
        return await self._readers.run(history.attempts, account_id, webhook_id, before, after, filter, limit)

    async def attempt(self, account_id: str, attempt_id: int) -> AttemptDetail:
        return await self._readers.run(history.attempt, account_id, attempt_id)

    async def add_attempt(self, attempt: Attempt, event: NewEvent | None = None) -> int:
        return await self._edited(edits.add_attempt, attempt, event)

    async def deliveries(
        self,
        account_id: str,
        webhook_id: str,
        *,
        before: tuple[Instant, int] | None = None,
        after: tuple[Instant, int] | None = None,
        filter: DeliveryFilter = ANY_DELIVERY,
        limit: int,
        now: Instant,
    ) -> DeliveryPage:
        return await self._readers.run(history.deliveries, account_id, webhook_id, before, after, filter, limit, now)

    async def delivery(self, account_id: str, webhook_id: str, delivery_id: int, *, now: Instant) -> Delivery:
        return await self._readers.run(history.delivery, account_id, webhook_id, delivery_id, now)

    async def event(self, account_id: str, event_id: str, *, now: Instant) -> EventDetail:
        return await self._readers.run(history.event, account_id, event_id, now)

    async def undelivered(self, account_id: str, webhook_id: str, *, most: int = MOST_UNDELIVERED) -> list[Undelivered]:
        return await self._readers.run(history.undelivered, account_id, webhook_id, most)

    # --- redelivery ---------------------------------------------------------------------------------------------

    async def redeliver(self, account_id: str, webhook_id: str, delivery_id: int, *, now: Instant, window_ms: int) -> Redelivered:
        return await self._edited(redelivery.redeliver, account_id, webhook_id, delivery_id, now, window_ms)

    async def foretell(self, recovery: Recovery) -> int:
        return await self._readers.run(redelivery.foretell, recovery)

    async def add_recovery(self, recovery: Recovery) -> Recovery:
        total = await self.foretell(recovery)  # not on the writer: it may take a second
        return await self._edited(redelivery.add_recovery, recovery, total)

    async def recovery(self, account_id: str, webhook_id: str, recovery_id: str) -> Recovery:
        return await self._readers.run(redelivery.recovery, account_id, webhook_id, recovery_id)

    async def recoveries(self, account_id: str, webhook_id: str, *, limit: int) -> list[Recovery]:
        return await self._readers.run(redelivery.recoveries, account_id, webhook_id, limit)

    async def cancel_recovery(self, account_id: str, webhook_id: str, recovery_id: str, *, now: Instant) -> Recovery:
        return await self._edited(redelivery.cancel_recovery, account_id, webhook_id, recovery_id, now)

    async def running_recoveries(self, *, now: Instant, limit: int) -> list[tuple[str, str, str]]:
        return await self._readers.run(redelivery.running_recoveries, now, limit)

    async def recover(self, account_id: str, webhook_id: str, recovery_id: str, *, now: Instant, step_ms: int, window_ms: int) -> Recovery:
        return await self._edited(redelivery.recover, account_id, webhook_id, recovery_id, now, step_ms, window_ms)

    # --- retention ----------------------------------------------------------------------------------------------

    async def prune(self, retention: Retention, *, limit: int) -> Pruned:
        async with self._pruning:  # the sweeps remember where they are
            old = self._unforgotten or await self._readers.run(self._forgetting.look, retention, limit)
            self._unforgotten = old
            pruned = await self._edited(forget, old, retention, self.clock.now() - MINUTES_KEPT_MS, limit)
            self._unforgotten = None
            return pruned

    # --- accounts and keys --------------------------------------------------------------------------------------

    async def add_account(self, account: Account) -> None:
        await self._edited(accounts.add_account, account)

    async def account(self, account_id: str) -> Account:
        return await self._readers.run(reads.account, account_id)

    async def accounts(self) -> list[Account]:
        return await self._readers.run(reads.accounts)

    async def accounts_found(self, text: str | None, person_id: str | None, *, offset: int, limit: int) -> AccountPage:
        return await self._readers.run(reads.accounts_found, text, person_id, offset, limit)

    async def set_enterprise(self, account_id: str, enterprise: bool) -> None:
        await self._edited(accounts.set_enterprise, account_id, enterprise)

    async def add_secret(self, secret: AccountSecret) -> None:
        await self._edited(accounts.add_secret, secret)

    async def secrets(self, account_id: str) -> list[AccountSecret]:
        return await self._readers.run(reads.secrets, account_id)

    async def revoke_secret(self, account_id: str, secret_id: str, *, now: Instant) -> None:
        await self._edited(accounts.revoke_secret, account_id, secret_id, now)

    async def add_publisher_key(self, key: PublisherKey, digest: bytes) -> None:
        await self._edited(accounts.add_publisher_key, key, digest)

    async def publisher_keys(self) -> list[PublisherKey]:
        return await self._readers.run(reads.publisher_keys)

    async def publisher_key(self, digest: bytes) -> PublisherKey | None:
        return await self._readers.run(reads.publisher_key, digest)

    async def revoke_publisher_key(self, key_id: str, *, now: Instant) -> None:
        await self._edited(accounts.revoke_publisher_key, key_id, now)

    # --- people -------------------------------------------------------------------------------------------------

    async def add_person(self, person: Person) -> None:
        await self._edited(people.add_person, person)

    async def person(self, *, id: str = "", email: str = "") -> Person:
        return await self._readers.run(people.person, id=id, email=email)

    async def password(self, email: str) -> tuple[Person, str | None]:
        return await self._readers.run(people.password, email)

    async def people(self) -> list[Person]:
        return await self._readers.run(people.people)

    async def members(self, account_id: str) -> list[tuple[Person, Role]]:
        return await self._readers.run(people.members, account_id)

    async def memberships(self, person_id: str) -> list[Membership]:
        return await self._readers.run(people.memberships, person_id)

    async def set_operator(self, person_id: str, is_operator: bool) -> None:
        await self._edited(people.set_operator, person_id, is_operator)

    async def set_password(self, person_id: str, password: str, *, but: bytes = b"") -> None:
        await self._edited(people.set_password, person_id, password, but)

    async def rehash(self, person_id: str, *, before: str, password: str) -> None:
        await self._edited(people.rehash, person_id, before, password)

    async def remove_person(self, person_id: str) -> None:
        await self._edited(people.remove_person, person_id)

    async def add_membership(self, person_id: str, membership: Membership, *, now: Instant) -> None:
        await self._edited(people.add_membership, person_id, membership, now)

    async def remove_membership(self, person_id: str, account_id: str) -> None:
        await self._edited(people.remove_membership, person_id, account_id)

    async def add_link(self, digest: bytes, link: Link, *, now: Instant, expires_at: Instant) -> None:
        await self._edited(people.add_link, digest, link, now, expires_at)

    async def link(self, digest: bytes, *, now: Instant) -> Link:
        return await self._readers.run(people.link, digest, now)

    async def use_link(self, digest: bytes, *, now: Instant) -> Link:
        return await self._edited(people.use_link, digest, now)

    async def add_session(self, session: Session, *, now: Instant) -> None:
        await self._edited(people.add_session, session, now)

    async def session(self, digest: bytes, *, now: Instant, seen_after: Instant) -> tuple[Session, list[Membership]]:
        return await self._readers.run(people.session, digest, now, seen_after)

    async def sessions(self, person_id: str, *, now: Instant, seen_after: Instant) -> list[Session]:
        return await self._readers.run(people.sessions, person_id, now, seen_after)

    async def touch_session(self, digest: bytes, *, now: Instant) -> None:
        await self._edited(people.touch_session, digest, now)

    async def end_session(self, person_id: str, digest: bytes) -> None:
        await self._edited(people.end_session, person_id, digest)

    async def end_sessions(self, person_id: str, *, but: bytes = b"") -> int:
        return await self._edited(people.end_sessions, person_id, but)

    async def set_flash(self, digest: bytes, path: str, flash: Sealed) -> None:
        await self._edited(people.set_flash, digest, path, flash)

    async def take_flash(self, digest: bytes, path: str) -> Sealed | None:
        waiting = await self._readers.run(people.flash, digest, path)
        if waiting is None or not await self._edited(people.take_flash, digest, path, waiting):
            return None
        return waiting

    # --- the installation itself, and key rotation --------------------------------------------------------------

    async def meta(self, key: str) -> bytes | None:
        return await self._readers.run(reads.meta, key)

    async def set_meta_once(self, key: str, value: bytes) -> bytes:
        return await self._edited(accounts.set_meta_once, key, value)

    async def sealed(self) -> list[tuple[str, Sealed]]:
        return await self._readers.run(seals.sealed)

    async def reseal(self, limit: int, reseal: Callable[[str, Sealed], Sealed | None]) -> int:
        return await self._edited(seals.reseal, limit, reseal)
