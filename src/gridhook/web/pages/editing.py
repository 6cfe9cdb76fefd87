"""Changing a webhook's name, URL, events, limits and headers of its own; two people at it at once do not undo each other's work."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec
from msgspec import UNSET

from gridhook.errors import Invalid, Stale, TooMany
from gridhook.model import Webhook
from gridhook.rules import static_headers
from gridhook.service.inputs import checked_name
from gridhook.service.webhooks import Changes
from gridhook.web.call import Call
from gridhook.web.operations import page
from gridhook.web.pages import typed
from gridhook.web.pages.forms import Form
from gridhook.web.pages.front import Front
from gridhook.web.pages.settings import SETTINGS, Draft, Editor, News, address, sentence, show
from gridhook.web.problems import Reply
from gridhook.web.routes import Route

V = TypeVar("V")

TRIES = 3  # when others go on changing what is not in this form
_LABELS = {
    "name": "Name",
    "url": "URL",
    "subscribed_events": "Events",
    "max_in_flight": "Most requests at a time",
    "rate_per_second": "Most requests per second",
}
_SUBJECTS = {"name": "The name", "url": "The URL", "subscribed_events": "The choice", "max_in_flight": "This", "rate_per_second": "This"}
_MANY = "Please look at the marked fields: nothing was changed."
_NEWS = (
    "Somebody else changed this webhook while you were editing. Nothing of yours was saved yet: look at what changed, then save again. "
    "Fields that you did not touch show the new state."
)
_PLAIN = "x"  # a value that no rule minds


class Editing:
    def __init__(self, front: Front) -> None:
        self._front = front

    @page("editWebhook", "Edit a webhook")
    async def edit(self, call: Call) -> Reply:
        view, form = await self._front.change(call)
        draft = _draft(form)
        seen = _seen(form.raw("seen"))
        revision = int(form.number("revision") or 0)
        errors: dict[str, str] = {}
        limits = _checked(draft, form, errors)
        for _ in range(TRIES):
            webhook = await self._front.webhook(view, call)
            now_is = Draft.of(webhook)
            if webhook.revision != revision:
                news = _news(seen, now_is)
                if news:
                    merged = _merged(draft, seen, now_is)
                    told = Editor(merged, webhook.revision, now_is, news)
                    return await show(self._front, view, call, status=412, errors={**errors, "edit": _NEWS}, editor=told)
                revision = webhook.revision  # what changed is none of this form's
            editor = Editor(draft, revision, seen)
            if errors:
                return await show(self._front, view, call, status=422, errors={**errors, "edit": _MANY}, editor=editor)
            try:
                edited = await self._front.service.webhooks.edit(
                    view.account.id, webhook.id, _changes(draft, webhook, limits), revision=revision
                )
            except Invalid as refusal:
                field = refusal.field if refusal.field in _LABELS else "edit"
                errors = {"edit": _MANY, field: sentence(refusal, _SUBJECTS.get(field, ""))}
                return await show(self._front, view, call, status=422, errors=errors, editor=editor)
            except TooMany as refusal:
                return await show(self._front, view, call, status=refusal.status, errors={"edit": sentence(refusal)}, editor=editor)
            except Stale:
                continue
            return await self._saved(call, webhook, edited)
        raise Stale("others go on changing this webhook: look at it again, then decide")

    @page("setHeader", "Add or replace a header of a webhook")
    async def set_header(self, call: Call) -> Reply:
        view, form = await self._front.change(call)
        webhook = await self._front.webhook(view, call)
        name, value = form.text("header_name"), form.text("header_value")
        errors: dict[str, str] = {}
        if not name:
            errors["header_name"] = "The name is required: letters, digits and hyphens, such as X-Team."
        else:
            try:
                static_headers.check_headers({name: _PLAIN})
            except Invalid as refusal:
                errors["header_name"] = sentence(refusal, _header(refusal, "It"))
        if not errors:
            try:
                await self._front.service.webhooks.edit(view.account.id, webhook.id, Changes(headers={name: value}))
            except Invalid as refusal:
                errors["header_value"] = sentence(refusal, "The value" if "/" in refusal.field else "The headers")
        if errors:
            # The value is not given back: it may be a secret, and pages are kept by browsers.
            return await show(self._front, view, call, status=422, errors=errors, typed={"header_name": name})
        self._front.note(view, "set a header", webhook=webhook.id, header=name)
        return await self._front.done(view, address(view, webhook.id), notice=f"Deliveries carry {name} from now on.")

    @page("removeHeader", "Remove a header of a webhook")
    async def remove_header(self, call: Call) -> Reply:
        view, form = await self._front.change(call)
        webhook = await self._front.webhook(view, call)
        name = form.text("header_name")
        await self._front.service.webhooks.edit(view.account.id, webhook.id, Changes(headers={name: None}))
        self._front.note(view, "removed a header", webhook=webhook.id, header=name)
        return await self._front.done(view, address(view, webhook.id), notice=f"Deliveries carry {name} no more.")

    async def _saved(self, call: Call, before: Webhook, after: Webhook) -> Reply:
        view = await self._front.view(call)
        here = address(view, after.id)
        if after.revision == before.revision:
            return await self._front.done(view, here, notice="Nothing to save: it is all as it was.")
        self._front.note(view, "edited a webhook", webhook=after.id)
        if after.url_version != before.url_version:
            words = "Saved. The webhook is Pending until the new URL has answered our challenge; deliveries are held until then."
            return await self._front.done(view, here, notice=words)
        return await self._front.done(view, here, notice="Saved.")


def _draft(form: Form) -> Draft:
    return Draft(
        form.text("name"),
        form.text("url"),
        tuple(form.all("subscribed_events")),
        form.text("max_in_flight"),
        form.text("rate_per_second"),
    )


def _seen(text: str) -> Draft:
    """What the form showed at first. It is what we put there, or the page is too old: then all counts as changed."""
    try:
        return msgspec.json.decode(text, type=Draft)
    except msgspec.MsgspecError:
        return Draft("", "", (), "", "")


def _checked(draft: Draft, form: Form, errors: dict[str, str]) -> tuple[int | None, float | None]:
    """The limits; what is wrong goes into `errors`."""

    def check(field: str, read: Callable[[], V]) -> V | None:
        try:
            return read()
        except Invalid as refusal:
            errors[field] = sentence(refusal, _SUBJECTS[field])
            return None

    check("name", lambda: checked_name(draft.name))
    check("subscribed_events", lambda: typed.chosen_events(draft.subscribed_events))
    return (
        check("max_in_flight", lambda: typed.max_in_flight(form)),
        check("rate_per_second", lambda: typed.rate_per_second(form)),
    )


def _changes(draft: Draft, before: Webhook, limits: tuple[int | None, float | None]) -> Changes:
    # Boxes come in the catalogue's order: another order alone is no change.
    events = UNSET if set(draft.subscribed_events) == set(before.subscribed_events) else draft.subscribed_events
    return Changes(name=draft.name, url=draft.url, subscribed_events=events, max_in_flight=limits[0], rate_per_second=limits[1])


def _news(seen: Draft, now_is: Draft) -> list[News]:
    """What is not as this form's person saw it."""
    found = []
    for field, label in _LABELS.items():
        before, after = getattr(seen, field), getattr(now_is, field)
        if field == "subscribed_events":
            added, removed = set(after) - set(before), set(before) - set(after)
            words = [f"{did} {', '.join(sorted(names))}" for did, names in (("added", added), ("removed", removed)) if names]
            if words:
                found.append(News(label, "; ".join(words)))
        elif before != after:
            found.append(News(label, f"was {before or 'empty'}, is {after or 'empty'} now"))
    return found


def _merged(draft: Draft, seen: Draft, now_is: Draft) -> Draft:
    """What the person typed; where they changed nothing, what it is now."""
    kept = {field: getattr(now_is if _same(getattr(draft, field), getattr(seen, field)) else draft, field) for field in _LABELS}
    return Draft(**kept)


def _same(one: object, other: object) -> bool:
    return set(one) == set(other) if isinstance(one, tuple) and isinstance(other, tuple) else one == other


def _header(refusal: Invalid, otherwise: str) -> str:
    return refusal.field.partition("/")[2] or otherwise


def routes(front: Front) -> list[Route]:
    pages = Editing(front)
    return [
        Route(SETTINGS, {"POST": pages.edit}),
        Route(SETTINGS + "/headers", {"POST": pages.set_header}),
        Route(SETTINGS + "/headers/remove", {"POST": pages.remove_header}),
    ]
