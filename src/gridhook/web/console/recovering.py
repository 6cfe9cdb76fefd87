"""Sending again: one delivery, or all that match."""

from __future__ import annotations

from gridhook.errors import Invalid, NotFound
from gridhook.model import DeliveryFilter, DeliveryState
from gridhook.service import Service
from gridhook.web.auth import Authenticator
from gridhook.web.call import Call, is_id
from gridhook.web.console import NOT_FOUND, ONE, Section, number_of
from gridhook.web.console.log import NO_DELIVERY
from gridhook.web.cursors import LIMIT, MOST
from gridhook.web.operations import Access, Answer, Body, Parameter, operation
from gridhook.web.problems import Reply, reply
from gridhook.web.reading import Query, read_body, read_instant, read_text, read_type
from gridhook.web.routes import Route
from gridhook.web.shapes import deliveries
from gridhook.web.shapes import recoveries as shapes

TAG = "Redelivery"
JSON = "application/json"
NO_RECOVERY = "Recovery not found"
_NO_RECOVERY = {404: "There is no such webhook or recovery, or it is another account's."}


class Recovering(Section):
    @operation(
        "redeliver",
        TAG,
        "Send one delivery again",
        "With the same event id, so that receivers that de-duplicate stay right, and on a schedule of its own. One that is queued still "
        "is made now instead of later.",
        access=Access.ACCOUNT,
        answers={202: Answer("It is due now.", deliveries.RedeliveryShown)},
        refusals={
            404: "There is no such webhook or delivery, or it is another account's.",
            409: "The webhook is pending or paused, an attempt runs, another delivery of the event waits, or its payload was dropped.",
        },
    )
    async def redeliver(self, call: Call) -> Reply:
        caller = await self._authenticate(call)
        webhook = await self._webhook(caller.account_id, call)
        wanted = number_of(call.params["delivery_id"], NO_DELIVERY)
        try:
            done = await self._service.redelivery.redeliver(caller.account_id, webhook.id, wanted)
        except NotFound:
            raise NotFound(NO_DELIVERY) from None
        return reply(202, deliveries.RedeliveryShown(delivery=deliveries.delivery(done.delivery), brought_forward=done.brought_forward))

    @operation(
        "startRecovery",
        TAG,
        "Send again all that match",
        "Failed deliveries, unless `states` says otherwise. Runs by itself at a bounded rate, survives restarts, can be cancelled; look "
        "again for its progress. What waits already, or was received meanwhile, is passed over.",
        access=Access.ACCOUNT,
        body=Body(
            {JSON: shapes.NewRecovery},
            {
                "since an outage": (JSON, {"since": "2026-11-22T08:00:00Z", "until": "2026-11-22T09:30:00Z"}),
                "one type, gently": (JSON, {"type": "ag.access_pass.issued", "rate_per_second": 5}),
            },
            required=False,
        ),
        answers={202: Answer("It runs.", shapes.Recovery)},
        refusals={
            **NOT_FOUND,
            409: "The webhook is pending or paused, or another recovery of it runs.",
            422: "A member is unknown or breaks a rule; `field` names it.",
        },
    )
    async def start(self, call: Call) -> Reply:
        caller = await self._authenticate(call)
        webhook = await self._webhook(caller.account_id, call)
        wanted = read_body(caller.body, shapes.NewRecovery)
        filter = DeliveryFilter(
            states=tuple(DeliveryState(state) for state in dict.fromkeys(wanted.states or ())),
            event_type=read_type(wanted.type),
            result=_result(wanted.result),
            since=read_instant(wanted.since, "since"),
            until=read_instant(wanted.until, "until"),
        )
        recovery = await self._service.redelivery.recover(caller.account_id, webhook.id, filter, rate_per_second=wanted.rate_per_second)
        return reply(202, shapes.recovery(recovery))

    @operation(
        "listRecoveries",
        TAG,
        "List recoveries",
        "Newest first, with their progress.",
        access=Access.ACCOUNT,
        parameters=(Parameter("limit", "1 to 100. Out of range: the nearest; anything else: 50.", {"type": "integer", "default": LIMIT}),),
        answers={200: Answer("The newest.", shapes.Recoveries)},
        refusals=NOT_FOUND,
    )
    async def list(self, call: Call) -> Reply:
        caller = await self._authenticate(call)
        webhook = await self._webhook(caller.account_id, call)
        limit = Query(call).integer("limit", LIMIT, 1, MOST)
        found = await self._service.store.recoveries(caller.account_id, webhook.id, limit=limit)
        return reply(200, shapes.Recoveries(recoveries=[shapes.recovery(one) for one in found]))

    @operation(
        "getRecovery",
        TAG,
        "Show one recovery",
        "How far it is.",
        access=Access.ACCOUNT,
        answers={200: Answer("The recovery.", shapes.Recovery)},
        refusals=_NO_RECOVERY,
    )
    async def get(self, call: Call) -> Reply:
        caller = await self._authenticate(call)
        webhook = await self._webhook(caller.account_id, call)
        recovery_id = _recovery_id(call)
        try:
            found = await self._service.store.recovery(caller.account_id, webhook.id, recovery_id)
        except NotFound:
            raise NotFound(NO_RECOVERY) from None
        return reply(200, shapes.recovery(found))

    @operation(
        "cancelRecovery",
        TAG,
        "Cancel a recovery",
        "What it queued already goes on. One that has ended stays as it is.",
        access=Access.ACCOUNT,
        answers={200: Answer("The recovery as it is now.", shapes.Recovery)},
        refusals=_NO_RECOVERY,
    )
    async def cancel(self, call: Call) -> Reply:
        caller = await self._authenticate(call)
        webhook = await self._webhook(caller.account_id, call)
        recovery_id = _recovery_id(call)
        try:
            found = await self._service.redelivery.cancel(caller.account_id, webhook.id, recovery_id)
        except NotFound:
            raise NotFound(NO_RECOVERY) from None
        return reply(200, shapes.recovery(found))


def _result(text: str | None) -> str | None:
    """An empty one is neither any nor one that there is."""
    if text == "":
        raise Invalid("result", "must be a status such as 503, or a reason; leave it out for any")
    return read_text(text, "result")


def _recovery_id(call: Call) -> str:
    recovery_id = call.params["recovery_id"]
    if not is_id(recovery_id):
        raise NotFound(NO_RECOVERY)
    return recovery_id


def routes(service: Service, authenticate: Authenticator) -> list[Route]:
    recovering = Recovering(service, authenticate)
    return [
        Route(ONE + "/deliveries/{delivery_id}/redeliver", {"POST": recovering.redeliver}),
        Route(ONE + "/recoveries", {"GET": recovering.list, "POST": recovering.start}),
        Route(ONE + "/recoveries/{recovery_id}", {"GET": recovering.get, "DELETE": recovering.cancel}),
    ]
