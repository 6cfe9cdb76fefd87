"""The log of a webhook: attempts, deliveries, events, what did not arrive, and counters by the minute."""

from __future__ import annotations

from gridhook.errors import Invalid, NotFound
from gridhook.model import AttemptFilter, AttemptKind, DeliveryFilter, DeliveryState, Reason
from gridhook.rules.catalogue import EVENT_TYPES
from gridhook.rules.instants import rfc3339
from gridhook.service import Service
from gridhook.store.promises import AttemptDetail
from gridhook.web.auth import Authenticator
from gridhook.web.call import Call
from gridhook.web.console import NOT_FOUND, ONE, Section, number_of
from gridhook.web.cursors import LIMIT, MOST, Position, around, cursor, read_cursor
from gridhook.web.operations import Access, Answer, Parameter, operation
from gridhook.web.problems import Reply, reply
from gridhook.web.reading import Query, checked_span, read_outcome, read_status
from gridhook.web.routes import Route
from gridhook.web.shapes import attempts as attempt_shapes
from gridhook.web.shapes import deliveries as shapes
from gridhook.web.shapes import health

TAG = "Log"
NO_ATTEMPT = "Attempt not found"
NO_DELIVERY = "Delivery not found"
NO_EVENT = "Event not found"
DAY_MS = 86_400_000
MINUTES_KEPT_MS = 8 * DAY_MS

_TIME = {"type": "string", "format": "date-time"}
_EVENT_TYPE = Parameter("type", "Only events of this type.", {"type": "string", "enum": [*EVENT_TYPES]})
_EVENT_ID = Parameter("event_id", "Only the event with this id.")
_SINCE = Parameter("since", "At or after this time (RFC 3339; write `+` as %2B).", _TIME)
_UNTIL = Parameter("until", "Before this time.", _TIME)
_PAGING = (
    Parameter("limit", "1 to 100. Out of range: the nearest; anything else: 50.", {"type": "integer", "default": LIMIT}),
    Parameter("cursor", "A `next_cursor` of this list: older ones. Empty, as every parameter: as if it were absent."),
    Parameter("newer", "A `prev_cursor` of this list: the ones next above it. Not together with `cursor`."),
)
_QUERY = {422: "A parameter cannot be read; `field` names it."}


class Log(Section):
    @operation(
        "listAttempts",
        TAG,
        "List attempts",
        "Every request that was made, every handshake and every test, newest first. A page may be short or empty and still have a "
        "`next_cursor`: a call looks at a bounded stretch of the log. Pages stay stable while new attempts arrive. An attempt is placed by "
        "when it began and appears when it ends, so one that took long can appear below newer ones.",
        access=Access.ACCOUNT,
        parameters=(
            _EVENT_TYPE,
            _EVENT_ID,
            Parameter("outcome", "Whether it was received (200 or 201).", {"type": "string", "enum": ["delivered", "failed"]}),
            Parameter(
                "status", "A status such as 404, or a class such as 4xx.", {"type": "string", "pattern": "^[1-9]([0-9]{2}|[xX]{2})$"}
            ),
            Parameter("reason", "Why no status came.", {"type": "string", "enum": [*Reason]}),
            Parameter("kind", "What for.", {"type": "string", "enum": [*AttemptKind]}),
            _SINCE,
            _UNTIL,
            *_PAGING,
        ),
        answers={200: Answer("One page.", attempt_shapes.AttemptPage)},
        refusals={**NOT_FOUND, **_QUERY},
    )
    async def attempts(self, call: Call) -> Reply:
        caller = await self._authenticate(call)
        webhook = await self._webhook(caller.account_id, call)
        query = Query(call)
        before, after = _positions(query, webhook.id)
        page = await self._service.store.attempts(
            caller.account_id,
            webhook.id,
            before=before,
            after=after,
            filter=_attempt_filter(query),
            limit=query.integer("limit", LIMIT, 1, MOST),
        )
        rows = page.attempts if after is None else page.attempts[::-1]
        following, newer = around([(row.started_at, row.id) for row in rows], page.next, before=before, after=after)
        return reply(
            200,
            attempt_shapes.AttemptPage(
                attempts=[attempt_shapes.shown(row) for row in rows],
                next_cursor=_cursor(following, webhook.id),
                prev_cursor=_cursor(newer, webhook.id),
            ),
        )

    @operation(
        "getAttempt",
        TAG,
        "Show one attempt in full",
        "With what was sent and a `curl` command that repeats it; the Private Key is read from $PRIVATE_KEY, the URL's query from $QUERY, "
        "and your own headers' values are masked.",
        access=Access.ACCOUNT,
        answers={200: Answer("The attempt.", attempt_shapes.AttemptDetail)},
        refusals={404: "There is no such webhook or attempt, or it is another account's."},
    )
    async def attempt(self, call: Call) -> Reply:
        caller = await self._authenticate(call)
        webhook = await self._webhook(caller.account_id, call)
        found = await self._attempt(caller.account_id, webhook.id, number_of(call.params["attempt_id"], NO_ATTEMPT))
        detail = await self._service.webhooks.detail(caller.account_id, webhook.id, most=0)
        return reply(200, attempt_shapes.in_full(found, detail.headers, [one.certificate for one in detail.certificates]))

    @operation(
        "listDeliveries",
        TAG,
        "List deliveries",
        "Events owed to this webhook and how they stand, newest first. Pages as of attempts. `since` and `until` are about when the "
        "delivery was made.",
        access=Access.ACCOUNT,
        parameters=(
            Parameter("state", "How it stands.", {"type": "string", "enum": [*DeliveryState]}),
            _EVENT_TYPE,
            _EVENT_ID,
            Parameter("result", "What its last attempt brought: a status such as 503, or a reason.", example="timeout"),
            _SINCE,
            _UNTIL,
            *_PAGING,
        ),
        answers={200: Answer("One page.", shapes.DeliveryPage)},
        refusals={**NOT_FOUND, **_QUERY},
    )
    async def deliveries(self, call: Call) -> Reply:
        caller = await self._authenticate(call)
        webhook = await self._webhook(caller.account_id, call)
        query = Query(call)
        log = f"{webhook.id}/deliveries"
        before, after = _positions(query, log)
        page = await self._service.store.deliveries(
            caller.account_id,
            webhook.id,
            before=before,
            after=after,
            filter=_delivery_filter(query),
            limit=query.integer("limit", LIMIT, 1, MOST),
            now=self._service.clock.now(),
        )
        rows = page.deliveries if after is None else page.deliveries[::-1]
        following, newer = around([(row.created_at, row.id) for row in rows], page.next, before=before, after=after)
        return reply(
            200,
            shapes.DeliveryPage(
                deliveries=[shapes.delivery(row) for row in rows], next_cursor=_cursor(following, log), prev_cursor=_cursor(newer, log)
            ),
        )

    @operation(
        "getDelivery",
        TAG,
        "Show one delivery",
        "How it stands; for its attempts, list attempts by its event.",
        access=Access.ACCOUNT,
        answers={200: Answer("The delivery.", shapes.Delivery)},
        refusals={404: "There is no such webhook or delivery, or it is another account's."},
    )
    async def delivery(self, call: Call) -> Reply:
        caller = await self._authenticate(call)
        webhook = await self._webhook(caller.account_id, call)
        wanted = number_of(call.params["delivery_id"], NO_DELIVERY)
        try:
            found = await self._service.store.delivery(caller.account_id, webhook.id, wanted, now=self._service.clock.now())
        except NotFound:
            raise NotFound(NO_DELIVERY) from None
        return reply(200, shapes.delivery(found))

    @operation(
        "getEvent",
        TAG,
        "Show one event",
        "As it is sent, with its delivery to each webhook.",
        access=Access.ACCOUNT,
        answers={200: Answer("The event.", shapes.EventDetail)},
        refusals={404: "There is no such event, it is another account's, or it is past retention."},
    )
    async def event(self, call: Call) -> Reply:
        caller = await self._authenticate(call)
        event_id = call.params["event_id"]
        if not event_id.isprintable() or len(event_id) > 255:
            raise NotFound(NO_EVENT)
        try:
            found = await self._service.store.event(caller.account_id, event_id, now=self._service.clock.now())
        except NotFound:
            raise NotFound(NO_EVENT) from None
        return reply(200, shapes.event(found))

    @operation(
        "listUndelivered",
        TAG,
        "Show what did not arrive, by reason",
        "Held, queued and failed deliveries, counted by state and by what their last attempt brought.",
        access=Access.ACCOUNT,
        answers={200: Answer("Most first.", shapes.UndeliveredByReason)},
        refusals=NOT_FOUND,
    )
    async def undelivered(self, call: Call) -> Reply:
        caller = await self._authenticate(call)
        webhook = await self._webhook(caller.account_id, call)
        found = await self._service.store.undelivered(caller.account_id, webhook.id)
        return reply(200, shapes.UndeliveredByReason(undelivered=[shapes.undelivered(one) for one in found]))

    @operation(
        "listMinutes",
        TAG,
        "Show counters by the minute",
        "Attempts at deliveries in each minute, for a plot.",
        access=Access.ACCOUNT,
        parameters=(Parameter("since", "From when on, at most 8 days back; absent: a day ago.", _TIME),),
        answers={200: Answer("Oldest first; empty minutes are left out.", health.Minutes)},
        refusals={**NOT_FOUND, **_QUERY},
    )
    async def minutes(self, call: Call) -> Reply:
        caller = await self._authenticate(call)
        webhook = await self._webhook(caller.account_id, call)
        now = self._service.clock.now()
        given = Query(call).instant("since")
        since = now - DAY_MS if given is None else max(given, now - MINUTES_KEPT_MS)
        found = await self._service.store.minutes(caller.account_id, webhook.id, since=since)
        return reply(200, health.Minutes(since=rfc3339(since), minutes=[health.minute(at, window) for at, window in found]))

    async def _attempt(self, account_id: str, webhook_id: str, attempt_id: int) -> AttemptDetail:
        try:
            found = await self._service.store.attempt(account_id, attempt_id)
        except NotFound:
            raise NotFound(NO_ATTEMPT) from None
        if found.attempt.webhook_id != webhook_id:
            raise NotFound(NO_ATTEMPT)
        return found


def _positions(query: Query, log: str) -> tuple[Position | None, Position | None]:
    before = read_cursor(query.text("cursor"), log)
    after = read_cursor(query.text("newer"), log, "newer")
    if before is not None and after is not None:
        raise Invalid("newer", "cannot be used together with cursor")
    return before, after


def _cursor(position: Position | None, log: str) -> str | None:
    return None if position is None else cursor(position, log)


def _attempt_filter(query: Query) -> AttemptFilter:
    since, until = query.instant("since"), query.instant("until")
    checked_span(since, until)
    status, status_class = read_status(query.text("status"))
    return AttemptFilter(
        event_type=query.type(),
        event_id=query.text("event_id"),
        succeeded=read_outcome(query.text("outcome")),
        status=status,
        status_class=status_class,
        reason=query.word("reason", Reason),
        kind=query.word("kind", AttemptKind),
        since=since,
        until=until,
    )


def _delivery_filter(query: Query) -> DeliveryFilter:
    since, until = query.instant("since"), query.instant("until")
    checked_span(since, until)
    state = query.word("state", DeliveryState)
    return DeliveryFilter(
        states=() if state is None else (state,),
        event_type=query.type(),
        event_id=query.text("event_id"),
        result=query.text("result"),
        since=since,
        until=until,
    )


def routes(service: Service, authenticate: Authenticator) -> list[Route]:
    log = Log(service, authenticate)
    return [
        Route(ONE + "/attempts", {"GET": log.attempts}),
        Route(ONE + "/attempts/{attempt_id}", {"GET": log.attempt}),
        Route(ONE + "/deliveries", {"GET": log.deliveries}),
        Route(ONE + "/deliveries/{delivery_id}", {"GET": log.delivery}),
        Route(ONE + "/undelivered", {"GET": log.undelivered}),
        Route(ONE + "/minutes", {"GET": log.minutes}),
        Route("/v1/console/events/{event_id}", {"GET": log.event}),
    ]
