"""Deliveries, events, and what did not arrive."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Raw

from gridhook.model import Delivery as StoredDelivery
from gridhook.model import DeliveryState, FailureReason, Origin
from gridhook.rules.instants import rfc3339
from gridhook.store.promises import EventDetail as FoundEvent
from gridhook.store.promises import Undelivered as Counted
from gridhook.web.shapes import Shape, Time, json_of, time_of


class Delivery(Shape):
    """One event owed to one webhook."""

    id: str
    webhook_id: str
    event_id: str
    event_type: str
    event_time: Time
    state: Annotated[DeliveryState, Meta(description="held: the webhook is pending or paused. queued: an attempt is due at `due_at`.")]
    failure_reason: FailureReason | None
    attempts: Annotated[int, Meta(description="Made or running.")]
    due_at: Time | None
    in_flight: Annotated[bool, Meta(description="A request runs now.")]
    expires_at: Annotated[Time, Meta(description="After this no attempt starts.")]
    created_at: Time
    last_result: Annotated[str | None, Meta(description="Of the last attempt: a status such as 503, or a reason.")]
    origin: Annotated[Origin, Meta(description="event: it was published. Otherwise a person asked for it again.")]
    recovery_id: str | None


class DeliveryPage(Shape):
    """Newest first. A page may hold fewer than `limit`, or none, and yet have a `next_cursor`: go on until it is null."""

    deliveries: list[Delivery]
    next_cursor: Annotated[str | None, Meta(description="Pass as `cursor` for older ones; null at the end.")]
    prev_cursor: Annotated[str | None, Meta(description="Pass as `newer` for newer ones, those that are yet to come too.")]


class EventDetail(Shape):
    """One event, and what became of it at each webhook."""

    id: str
    type: str
    time: Time
    accepted_at: Time
    expires_at: Annotated[Time, Meta(description="After this no attempt starts, redeliveries aside.")]
    is_test: bool
    payload: Annotated[Raw | None, Meta(description="The CloudEvent as it is sent; null: dropped by retention, or damaged.")]
    deliveries: Annotated[list[Delivery], Meta(description="By webhook, then by age.")]


class Undelivered(Shape):
    """Deliveries that did not arrive (yet) for the same reason."""

    state: DeliveryState
    failure_reason: FailureReason | None
    last_result: Annotated[str | None, Meta(description="What the last attempt brought; null: none was made.")]
    count: int
    oldest_created_at: Time
    oldest_expires_at: Annotated[Time | None, Meta(description="Of held and queued ones.")]


class UndeliveredByReason(Shape):
    """Most first."""

    undelivered: list[Undelivered]


class RedeliveryShown(Shape):
    """`delivery`: the new one; or the queued one itself, which is due now, when it was brought forward."""

    delivery: Delivery
    brought_forward: bool


def delivery(stored: StoredDelivery) -> Delivery:
    return Delivery(
        id=str(stored.id),
        webhook_id=stored.webhook_id,
        event_id=stored.event_id,
        event_type=stored.event_type,
        event_time=rfc3339(stored.event_time_at),
        state=stored.state,
        failure_reason=stored.failure_reason,
        attempts=stored.attempts,
        due_at=time_of(stored.due_at),
        in_flight=stored.in_flight,
        expires_at=rfc3339(stored.expires_at),
        created_at=rfc3339(stored.created_at),
        last_result=stored.last_result,
        origin=stored.origin,
        recovery_id=stored.recovery_id,
    )


def event(found: FoundEvent) -> EventDetail:
    stored = found.event
    return EventDetail(
        id=stored.id,
        type=stored.type,
        time=rfc3339(stored.time_at),
        accepted_at=rfc3339(stored.accepted_at),
        expires_at=rfc3339(stored.expires_at),
        is_test=stored.is_test,
        payload=json_of(stored.payload),
        deliveries=[delivery(one) for one in found.deliveries],
    )


def undelivered(counted: Counted) -> Undelivered:
    return Undelivered(
        state=counted.state,
        failure_reason=counted.failure_reason,
        last_result=counted.last_result,
        count=counted.count,
        oldest_created_at=rfc3339(counted.oldest_created_at),
        oldest_expires_at=time_of(counted.oldest_expires_at),
    )
