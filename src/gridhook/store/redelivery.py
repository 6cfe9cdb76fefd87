"""Once more: one delivery that a person asked for, or many, step by step, at a rate."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from gridhook.errors import Conflict, NotFound
from gridhook.model import DeliveryFilter, Instant, Origin, Recovery, RecoveryState, Webhook
from gridhook.store.database import Connection, Row
from gridhook.store.history import FIRST, Key, bounded, deliveries_log, delivery, delivery_params, page
from gridhook.store.leases import DELIVERED, FAILED, HELD, QUEUED
from gridhook.store.promises import ANY_DELIVERY, Redelivered
from gridhook.store.rows import clean, webhook_from

MOST_COUNTED = 1_000_000  # deliveries that are looked at to foretell how many a recovery will send
MOST_AT_ONCE = 1_000  # deliveries that one step judges: others write in between


# --- one --------------------------------------------------------------------------------------------------------


def redeliver(connection: Connection, account_id: str, webhook_id: str, delivery_id: int, now: Instant, window_ms: int) -> Redelivered:
    webhook = _webhook(connection, account_id, webhook_id)
    name = {"account_id": account_id, "webhook_id": webhook_id, "id": bounded(delivery_id)}
    rows = connection.rows("redeliverable", **name)
    if not rows:
        raise NotFound(f"no delivery {delivery_id}")
    _refuse_unless_sendable(webhook)
    event_seq, state, is_leased, due_at, expires_at = rows[0]
    if state == HELD:
        raise Conflict(f"delivery {delivery_id} is held and goes out by itself as soon as it may; there is nothing to redeliver")
    if state == QUEUED and is_leased:
        if due_at > now:
            raise Conflict(f"an attempt of delivery {delivery_id} is running; wait for its outcome, then ask again if it failed")
        # Its worker was lost and it is due already. The claim decides what becomes of it, for it must log the lost attempt first.
        return Redelivered(delivery(connection, account_id, webhook_id, delivery_id, now), True)
    if state == QUEUED and expires_at > now:
        connection.change("bring_forward", id=delivery_id, now=now)
        return Redelivered(delivery(connection, account_id, webhook_id, delivery_id, now), True)
    payloads = _locked(connection, [event_seq])
    others = [twin for twin in _twins(connection, webhook_id, [event_seq]) if twin.id != delivery_id]
    waiting = next((twin for twin in others if twin.state in (HELD, QUEUED)), None)
    if waiting is not None:
        raise Conflict(f"delivery {waiting.id} of the same event waits for this webhook already; redeliver that one to bring it forward")
    if not payloads.get(event_seq):
        raise Conflict(
            f"the event of delivery {delivery_id} is older than payloads are kept (GRIDHOOK_KEEP_BODIES_DAYS): "
            "it cannot be sent again; publish it anew, under a new id, if it is still wanted"
        )
    if state == QUEUED:
        connection.change("expire_queued", id=delivery_id, now=now)
    connection.change("mark_redelivered", ids=json.dumps([event_seq]), webhook_id=webhook_id)
    (id,) = connection.ids("deliveries", 1)
    life = (now, now + window_ms, now)
    connection.many("deliver_again", [(id, account_id, webhook_id, event_seq, *life, Origin.REDELIVERY.value, None)])
    return Redelivered(delivery(connection, account_id, webhook_id, id, now), False)


def _webhook(connection: Connection, account_id: str, webhook_id: str) -> Webhook:
    rows = connection.rows("webhook", account_id=account_id, webhook_id=webhook_id)
    if not rows:
        raise NotFound(f"no webhook {webhook_id}")
    return webhook_from(rows[0])


def _refuse_unless_sendable(webhook: Webhook) -> None:
    if not webhook.is_verified:
        raise Conflict(f"webhook {webhook.id} is pending: nothing is sent before its URL is verified; verify it first, then ask again")
    if webhook.paused_at is not None:
        raise Conflict(f"webhook {webhook.id} is paused; resume it first, then ask again")


# --- what stands beside it --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Twin:
    """A delivery of the same event to the same webhook."""

    event_seq: int
    id: int
    state: str
    recovery_id: str | None


def _locked(connection: Connection, seqs: Iterable[int]) -> dict[int, int]:
    """Bytes of payload of each of these events that exists. Until the commit nobody else adds deliveries to them or empties them."""
    return dict(connection.rows("lock_events", ids=json.dumps(sorted(set(seqs)))))


def _twins(connection: Connection, webhook_id: str, seqs: Iterable[int]) -> list[_Twin]:
    return [_Twin(*row) for row in connection.rows("twins", ids=json.dumps(sorted(set(seqs))), webhook_id=webhook_id)]


# --- many -------------------------------------------------------------------------------------------------------


def foretell(connection: Connection, recovery: Recovery) -> int:
    """How many deliveries match now, among the first million of the stretch."""
    log, _ = deliveries_log(connection, recovery.account_id, recovery.webhook_id, recovery.filter)
    if log is None:
        return 0
    params = delivery_params(recovery.account_id, recovery.webhook_id, recovery.filter)
    start, end = _stretch(recovery)
    if log not in ("log", "failed"):  # few: counted by turning the pages
        return len(page(connection, f"deliveries_{log}", params, "after", start, end, MOST_COUNTED, is_bounded=True)[0])
    place = {"at": start[0], "id": start[1], "end_at": end[0], "end_id": end[1], "most": MOST_COUNTED}
    ((total,),) = connection.rows(f"deliveries_{log}_count", **(params | place))
    return int(total)


def add_recovery(connection: Connection, recovery: Recovery, total: int) -> Recovery:
    _refuse_unless_sendable(_webhook(connection, recovery.account_id, recovery.webhook_id))
    after_at, after_id = _stretch(recovery)[0]
    if not connection.change(
        "add_recovery",
        account_id=recovery.account_id,
        webhook_id=recovery.webhook_id,
        id=recovery.id,
        filter=msgspec.json.encode(recovery.filter).decode(),
        rate_per_second=recovery.rate_per_second,
        created_at=recovery.created_at,
        after_at=after_at,
        after_id=after_id,
        total=total,
    ):
        raise Conflict(f"a recovery of webhook {recovery.webhook_id} runs already; wait for its end, or cancel it")
    return _recovery(connection, recovery.account_id, recovery.webhook_id, recovery.id)


def _stretch(recovery: Recovery) -> tuple[Key, Key]:
    """What it walks: what was made from `since` on and before it was asked for. What it makes itself is younger."""
    since, until = recovery.filter.since, recovery.filter.until
    start = FIRST if since is None else (bounded(since), 0)
    end = min(recovery.created_at, recovery.created_at if until is None else bounded(until))
    return start, (end, 0)


def recovery(connection: Connection, account_id: str, webhook_id: str, recovery_id: str) -> Recovery:
    return _recovery(connection, account_id, webhook_id, clean(recovery_id))


def _recovery(connection: Connection, account_id: str, webhook_id: str, recovery_id: str) -> Recovery:
    rows = connection.rows("recovery", account_id=account_id, webhook_id=webhook_id, id=recovery_id)
    if not rows:
        raise NotFound(f"no recovery {recovery_id}")
    return _recovery_from(rows[0])


def recoveries(connection: Connection, account_id: str, webhook_id: str, limit: int) -> list[Recovery]:
    return [_recovery_from(row) for row in connection.rows("recoveries", account_id=account_id, webhook_id=webhook_id, limit=limit)]


def running_recoveries(connection: Connection, now: Instant, limit: int) -> list[tuple[str, str, str]]:
    return [(account_id, webhook_id, id) for account_id, webhook_id, id in connection.rows("running_recoveries", now=now, limit=limit)]


def cancel_recovery(connection: Connection, account_id: str, webhook_id: str, recovery_id: str, now: Instant) -> Recovery:
    name = {"account_id": account_id, "webhook_id": webhook_id, "id": clean(recovery_id)}
    connection.change("end_recovery", **name, state=RecoveryState.CANCELLED.value, now=now)
    return recovery(connection, account_id, webhook_id, recovery_id)


def recover(
    connection: Connection, account_id: str, webhook_id: str, recovery_id: str, now: Instant, step_ms: int, window_ms: int
) -> Recovery:
    name = {"account_id": account_id, "webhook_id": webhook_id, "id": recovery_id}
    place = connection.rows("recovery_to_step", **name, now=now)
    found = _recovery(connection, account_id, webhook_id, recovery_id)
    if not place:
        return found
    webhooks = connection.rows("webhook", account_id=account_id, webhook_id=webhook_id)
    if not webhooks:
        connection.change("end_recovery", **name, state=RecoveryState.CANCELLED.value, now=now)
        return _recovery(connection, account_id, webhook_id, recovery_id)
    webhook = webhook_from(webhooks[0])
    if webhook.is_verified and webhook.paused_at is None:
        step = _step(connection, found, place[0], max(1, int(found.rate_per_second * step_ms / 1000)))
        _deliver_again(connection, found, step.seqs, now, window_ms)
    else:
        step = _Step(place[0], rests=True)
    requeued, rests_ms = len(step.seqs), step_ms if step.rests else 0
    connection.change(
        "move_recovery",
        **name,
        after_at=step.after[0],
        after_id=step.after[1],
        next_step_at=now + max(rests_ms, math.ceil(requeued * 1000 / found.rate_per_second)),
        examined=requeued + step.skipped + step.gone,
        requeued=requeued,
        skipped=step.skipped,
        gone=step.gone,
    )
    if step.is_last:
        connection.change("end_recovery", **name, state=RecoveryState.DONE.value, now=now)
    return _recovery(connection, account_id, webhook_id, recovery_id)


@dataclass(slots=True)
class _Step:
    after: Key
    seqs: dict[int, None] = field(default_factory=dict)  # of the events to be delivered again, in order
    skipped: int = 0
    gone: int = 0
    rests: bool = False
    is_last: bool = False


def _step(connection: Connection, recovery: Recovery, after: Key, most: int) -> _Step:
    """Judges the next deliveries that match, up to the `most`th that is to be delivered again."""
    log, rest = deliveries_log(connection, recovery.account_id, recovery.webhook_id, recovery.filter)
    if log is None:
        return _Step(after, is_last=True)
    params = delivery_params(recovery.account_id, recovery.webhook_id, recovery.filter)
    end = _stretch(recovery)[1]
    keys, next = page(connection, f"deliveries_{log}", params, "after", after, end, MOST_AT_ONCE, is_bounded=rest == ANY_DELIVERY)
    candidates = connection.rows("recovery_candidates", ids=json.dumps([id for _, id in keys]))
    payloads = _locked(connection, (seq for _, _, seq, _ in candidates))
    twins: dict[int, list[_Twin]] = {}
    for twin in _twins(connection, recovery.webhook_id, payloads):
        twins.setdefault(twin.event_seq, []).append(twin)
    step = _Step(after)
    for at, id, seq, state in candidates:
        if seq in step.seqs or _needs_no_other(state, twins.get(seq, ()), recovery.id):
            step.skipped += 1
        elif not payloads.get(seq):
            step.gone += 1
        elif len(step.seqs) < most:
            step.seqs[seq] = None
        else:
            return step
        step.after = (at, id)
    return replace(step, after=next or step.after, is_last=next is None)


def _needs_no_other(state: str, twins: Sequence[_Twin], recovery_id: str) -> bool:
    """Whether one waits already, or this recovery sent one (for the first of several failed ones), or a failed one arrived by another."""
    return state in (HELD, QUEUED) or any(
        twin.state in (HELD, QUEUED) or twin.recovery_id == recovery_id or (state == FAILED and twin.state == DELIVERED) for twin in twins
    )


def _deliver_again(connection: Connection, recovery: Recovery, seqs: Collection[int], now: Instant, window_ms: int) -> None:
    # Never older than the recovery, should our clock have stepped back: what it makes it must not find again.
    created_at = max(now, recovery.created_at)
    ids = connection.ids("deliveries", len(seqs))
    rows: list[Row] = [
        (id, recovery.account_id, recovery.webhook_id, seq, now, now + window_ms, created_at, Origin.RECOVERY.value, recovery.id)
        for id, seq in zip(ids, seqs, strict=True)
    ]
    if rows:
        connection.change("mark_redelivered", ids=json.dumps(list(seqs)), webhook_id=recovery.webhook_id)
        connection.many("deliver_again", rows)


def _recovery_from(row: Row) -> Recovery:
    account_id, webhook_id, id, filter, rate_per_second, created_at, state, finished_at, *counts = row
    wanted = msgspec.json.decode(filter, type=DeliveryFilter)
    return Recovery(account_id, webhook_id, id, wanted, rate_per_second, created_at, RecoveryState(state), finished_at, *counts)
