"""Recover: many deliveries at once. How many match is told before one confirms; then one sees how far it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from gridhook.errors import Conflict, Invalid, NotFound
from gridhook.model import DeliveryFilter, DeliveryState, Recovery, RecoveryState, Webhook
from gridhook.rules.catalogue import EVENT_TYPES
from gridhook.web.call import Call, is_id
from gridhook.web.operations import page
from gridhook.web.pages import logs, times
from gridhook.web.pages.forms import sentence
from gridhook.web.pages.front import Front
from gridhook.web.pages.views import ONE, View
from gridhook.web.problems import Reply
from gridhook.web.reading import read_text
from gridhook.web.routes import Route

RECOVERIES = ONE + "/deliveries/recoveries"
RECOVER = ONE + "/deliveries/recover"
SHOWN = 5
FIELDS = ("which", "result", "type", "since", "until", "rate")
_STATES = {
    "failed": (DeliveryState.FAILED,),
    "result": (DeliveryState.FAILED,),
    "all": (DeliveryState.FAILED, DeliveryState.DELIVERED),
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person asks for, as it stands in the form; what it means; and what is wrong with it."""

    fields: Mapping[str, str]
    filter: DeliveryFilter
    rate: float | None
    errors: dict[str, str]

    @property
    def query(self) -> str:
        return urlencode(self.fields)


@dataclass(frozen=True, slots=True)
class Foretold:
    """`seconds`: that it takes at this rate to queue them all."""

    total: int
    rate: float
    seconds: int


async def shown_recoveries(front: Front, view: View, webhook: Webhook) -> dict[str, Any]:
    """What `recoveries.html` shows."""
    found = await front.service.store.recoveries(view.account.id, webhook.id, limit=SHOWN)
    return {
        "recoveries": found,
        "is_recovering": any(one.state is RecoveryState.RUNNING for one in found),
        "recoveries_at": RECOVERIES.format(account_id=view.account.id, webhook_id=webhook.id),
    }


class Recovering:
    def __init__(self, front: Front) -> None:
        self._front = front

    @page("seeRecovery", "Which deliveries to recover, and how many they are")
    async def form(self, call: Call) -> Reply:
        view = await self._front.view(call)
        webhook = await self._front.webhook(view, call)
        given = {name: call.argument(name) or "" for name in FIELDS}
        wanted = _wanted(given)
        foretold = None
        # An address without a choice is the empty form; with one, it is a question.
        if given["which"] and not wanted.errors:
            try:
                foretold = _foretold(
                    await self._front.service.redelivery.foretell(view.account.id, webhook.id, wanted.filter, rate_per_second=wanted.rate)
                )
            except Invalid as refusal:
                wanted.errors[_FIELD_OF.get(refusal.field, refusal.field)] = sentence(refusal.message)
        return await self._form(view, webhook, wanted, foretold)

    @page("startRecovery", "Recover")
    async def start(self, call: Call) -> Reply:
        view, form = await self._front.change(call)
        webhook = await self._front.webhook(view, call)
        wanted = _wanted({name: form.text(name) for name in FIELDS})
        if wanted.errors:
            return await self._form(view, webhook, wanted, None)
        try:
            found = await self._front.service.redelivery.recover(view.account.id, webhook.id, wanted.filter, rate_per_second=wanted.rate)
        except Invalid as refusal:
            wanted.errors[_FIELD_OF.get(refusal.field, refusal.field)] = sentence(refusal.message)
            return await self._form(view, webhook, wanted, None)
        except Conflict as refusal:
            return await self._front.done(view, _deliveries(view, webhook), warning=f"Not started: {refusal}.")
        self._front.note(view, "started a recovery", webhook=webhook.id, recovery=found.id, total=found.total)
        return await self._front.done(
            view, _deliveries(view, webhook), notice="The recovery runs. You may leave this page: it goes on by itself."
        )

    @page("seeRecoveries", "How far recoveries are")
    async def list(self, call: Call) -> Reply:
        """For htmx."""
        view = await self._front.view(call)
        webhook = await self._front.webhook(view, call)
        here = ONE.format(account_id=view.account.id, webhook_id=webhook.id)
        return self._front.fragment(
            view, "recoveries.html", webhook=webhook, here=here, **await shown_recoveries(self._front, view, webhook)
        )

    @page("cancelRecovery", "Cancel a recovery")
    async def cancel(self, call: Call) -> Reply:
        view, _ = await self._front.change(call)
        webhook = await self._front.webhook(view, call)
        recovery_id = call.params["recovery_id"]
        if not is_id(recovery_id):
            raise NotFound("There is no such recovery.")
        found = await self._front.service.redelivery.cancel(view.account.id, webhook.id, recovery_id)
        if found.state is RecoveryState.DONE:
            return await self._front.done(view, _deliveries(view, webhook), warning="The recovery had ended already.")
        self._front.note(view, "cancelled a recovery", webhook=webhook.id, recovery=recovery_id)
        return await self._front.done(view, _deliveries(view, webhook), notice="Cancelled. What it queued already goes out all the same.")

    async def _form(self, view: View, webhook: Webhook, wanted: Wanted, foretold: Foretold | None) -> Reply:
        undelivered = await self._front.service.store.undelivered(view.account.id, webhook.id)
        results: dict[str, int] = {}
        for one in undelivered:
            if one.state is DeliveryState.FAILED and one.last_result:
                results[one.last_result] = results.get(one.last_result, 0) + one.count
        chosen = wanted.fields.get("result")
        if chosen:
            results.setdefault(chosen, 0)
        return await self._front.show(
            view,
            "recover.html",
            status=422 if wanted.errors else 200,
            webhook=webhook,
            wanted=wanted,
            foretold=foretold,
            errors=wanted.errors,
            results=results,
            types=EVENT_TYPES,
            times={name: times.as_field(wanted.fields.get(name, "")) for name in ("since", "until")},
            most=self._front.settings.recovery_per_second,
            window_ms=self._front.settings.retry_window_seconds * 1000,
            here=ONE.format(account_id=view.account.id, webhook_id=webhook.id),
            may_send=view.may_change and webhook.is_verified and webhook.paused_at is None,
        )


_FIELD_OF = {"rate_per_second": "rate", "states": "which"}


def _deliveries(view: View, webhook: Webhook) -> str:
    return ONE.format(account_id=view.account.id, webhook_id=webhook.id) + "/deliveries"


def _wanted(given: Mapping[str, str]) -> Wanted:
    fields = logs.Fields(given)
    which = fields.texts.setdefault("which", "failed")
    if which not in _STATES:
        fields.errors["which"] = "Choose what to send again."
    if which != "result":
        fields.texts.pop("result", None)
    elif "result" not in fields.texts:
        fields.errors["result"] = "Choose the result, or all that failed."
    type = fields.one_of("type", EVENT_TYPES, "event type")
    result = fields.read("result", lambda text: read_text(text, "result"))
    since, until = fields.span()
    rate = fields.read("rate", _rate)
    filter = DeliveryFilter(_STATES.get(which, ()), type, None, result, since, until)
    return Wanted(fields.texts, filter, rate, fields.errors)


def _rate(text: str | None) -> float | None:
    try:
        rate = None if text is None else float(text)
    except ValueError:
        rate = math.nan
    if rate is not None and not math.isfinite(rate):
        raise Invalid("rate", "must be a number")
    return rate


def _foretold(recovery: Recovery) -> Foretold:
    return Foretold(recovery.total, recovery.rate_per_second, math.ceil(recovery.total / recovery.rate_per_second))


def routes(front: Front) -> list[Route]:
    pages = Recovering(front)
    return [
        Route(RECOVER, {"GET": pages.form, "POST": pages.start}),
        Route(RECOVERIES, {"GET": pages.list}),
        Route(RECOVERIES + "/{recovery_id}/cancel", {"POST": pages.cancel}),
    ]
