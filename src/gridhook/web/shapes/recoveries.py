"""Recoveries: a person asked for many deliveries again."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from gridhook.model import DeliveryState, RecoveryState
from gridhook.model import Recovery as StoredRecovery
from gridhook.rules.instants import rfc3339
from gridhook.web.shapes import Shape, Time, time_of


class RecoveryFilter(Shape):
    """Which deliveries; null: any."""

    states: tuple[DeliveryState, ...]
    type: str | None
    result: str | None
    since: Time | None
    until: Time | None


class Recovery(Shape):
    """Progress: `examined` of `total` were looked at; of these, `requeued` go out again."""

    id: str
    state: RecoveryState
    filter: RecoveryFilter
    rate_per_second: float
    created_at: Time
    finished_at: Time | None
    total: Annotated[int, Meta(description="Deliveries that matched when it was asked for.")]
    examined: Annotated[int, Meta(description="Can pass `total`: what still waited then and failed meanwhile is looked at too.")]
    requeued: int
    skipped: Annotated[int, Meta(description="Waiting already, or received meanwhile.")]
    gone: Annotated[int, Meta(description="The event's payload was dropped by retention.")]


class Recoveries(Shape):
    """Newest first."""

    recoveries: list[Recovery]


class NewRecovery(Shape, forbid_unknown_fields=True):
    """Which deliveries of this webhook to make again; all that failed, when nothing is said."""

    states: Annotated[list[Literal["failed", "delivered"]] | None, Meta(description="failed (if absent) or delivered, or both")] = None
    type: Annotated[str | None, Meta(description="Only events of this type")] = None
    result: Annotated[str | None, Meta(description="Only where the last attempt brought this: a status such as 503, or a reason")] = None
    since: Annotated[Time | None, Meta(description="Only deliveries made at or after this time")] = None
    until: Annotated[Time | None, Meta(description="Only deliveries made before this time")] = None
    rate_per_second: Annotated[
        float | None, Meta(description="How many to queue again per second, at least 0.1", extra_json_schema={"minimum": 0.1})
    ] = None


def recovery(stored: StoredRecovery) -> Recovery:
    wanted = stored.filter
    return Recovery(
        id=stored.id,
        state=stored.state,
        filter=RecoveryFilter(
            states=wanted.states,
            type=wanted.event_type,
            result=wanted.result,
            since=time_of(wanted.since),
            until=time_of(wanted.until),
        ),
        rate_per_second=stored.rate_per_second,
        created_at=rfc3339(stored.created_at),
        finished_at=time_of(stored.finished_at),
        total=stored.total,
        examined=stored.examined,
        requeued=stored.requeued,
        skipped=stored.skipped,
        gone=stored.gone,
    )
