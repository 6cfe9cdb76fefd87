"""A new webhook: the form, the check of its URL, and the page that shows its Private Key once and watches its verification."""

from __future__ import annotations

import hmac
import secrets as chance
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gridhook.errors import Conflict, Invalid, NotFound, TooMany
from gridhook.model import AuthMethod, Webhook
from gridhook.rules import ids, static_headers
from gridhook.rules.catalogue import EVENT_TYPES
from gridhook.rules.inspection import Inspection, shown
from gridhook.service.inputs import checked_name
from gridhook.service.webhooks import Created
from gridhook.web.call import Call
from gridhook.web.operations import page
from gridhook.web.pages import typed
from gridhook.web.pages.families import families
from gridhook.web.pages.forms import Form, sentence
from gridhook.web.pages.front import Front
from gridhook.web.pages.samples import samples
from gridhook.web.pages.verifying import CREATED, watch
from gridhook.web.pages.views import BASE, ONE, WEBHOOKS, View
from gridhook.web.problems import Reply
from gridhook.web.routes import Route

LONGEST_URL = 4096  # characters that are looked at; what is longer is refused anyway
_LABELS = {
    "name": "The name",
    "url": "The URL",
    "subscribed_events": "The choice",
    "headers": "This",
    "max_in_flight": "This",
    "rate_per_second": "This",
}


@dataclass(frozen=True, slots=True)
class Draft:
    """What a person typed, as they typed it."""

    name: str = ""
    url: str = ""
    auth_method: AuthMethod = AuthMethod.BEARER_TOKEN
    subscribed_events: tuple[str, ...] = ()
    headers: str = ""
    max_in_flight: str = ""
    rate_per_second: str = ""

    @property
    def is_advanced(self) -> bool:
        return bool(self.headers or self.max_in_flight or self.rate_per_second)


class Creating:
    def __init__(self, front: Front) -> None:
        self._front = front

    @page("seeNewWebhook", "The form for a new webhook")
    async def form(self, call: Call) -> Reply:
        view = await self._front.view(call)
        wanted = call.argument("event") or ""
        return await self._form(view, Draft(subscribed_events=(wanted,) if wanted in EVENT_TYPES else ()))

    @page("createWebhook", "Create a webhook")
    async def create(self, call: Call) -> Reply:
        view, form = await self._front.change(call)
        draft = _draft(form)
        errors: dict[str, str] = {}
        given = _checked(draft, form, errors)
        if errors:
            # All that is wrong at once, the URL included.
            inspection = await self._inspected(view, draft.url)
            if inspection is not None and not inspection.is_allowed:
                errors["url"] = _told_of(inspection)
            return await self._form(view, draft, errors, inspection)
        try:
            webhook_id, created = await self._made(view, draft, given, form.text("once"))
        except Invalid as refusal:
            field = refusal.field.partition("/")[0]
            inspection = await self._inspected(view, draft.url) if field == "url" else None
            is_told = inspection is not None and not inspection.is_allowed
            words = _told_of(inspection) if inspection is not None and is_told else _sentence(field, refusal.message)
            return await self._form(view, draft, {field if field in _LABELS else "": words}, inspection)
        except (Conflict, TooMany) as refusal:
            return await self._form(view, draft, {"": _sentence("", str(refusal))}, status=refusal.status)
        there = ONE.format(account_id=view.account.id, webhook_id=webhook_id) + f"/{CREATED}"
        if created is None:
            return self._front.go(there)
        self._front.note(view, "created a webhook", webhook=webhook_id)
        return await self._front.done(view, there, is_new="yes", **({"private_key": created.private_key} if created.private_key else {}))

    @page("seeCreatedWebhook", "A new webhook: its Private Key, shown once, and its verification")
    async def created(self, call: Call) -> Reply:
        view = await self._front.view(call)
        webhook = await self._front.webhook(view, call)
        certificate = None
        if webhook.auth_method is AuthMethod.MTLS:
            certificate = await self._front.service.certificates.presented(view.account.id, webhook.id)
        found = await watch(self._front, webhook, CREATED)
        return await self._front.show(
            view, "webhook_created.html", webhook=webhook, certificate=certificate, watch=found, is_news=False, samples=samples()
        )

    @page("checkUrl", "What the guard thinks of a URL")
    async def check(self, call: Call) -> Reply:
        """For htmx, as one leaves the field. Costs as much as any check: viewers have no use for it."""
        view = await self._front.view(call)
        if not view.may_change:
            raise NotFound("only admins of this account register URLs")
        url = (call.argument("url") or "").strip()[:LONGEST_URL]
        inspection = await self._front.service.webhooks.check(view.account.id, url) if url else None
        is_proving = call.argument("auth_method") == AuthMethod.MTLS
        return self._front.fragment(view, "url_check.html", **_url_check(inspection, is_proving))

    # --- pieces -------------------------------------------------------------------------------------------------

    async def _form(
        self,
        view: View,
        draft: Draft,
        errors: Mapping[str, str] | None = None,
        inspection: Inspection | None = None,
        status: int = 422,
    ) -> Reply:
        return await self._front.show(
            view,
            "webhook_new.html",
            status=status if errors else 200,
            draft=draft,
            errors=errors or {},
            families=families(),
            once=chance.token_hex(16),
            **_url_check(inspection, draft.auth_method is AuthMethod.MTLS),
        )

    async def _inspected(self, view: View, url: str) -> Inspection | None:
        """None also when too many were asked for: the refusal alone must do then."""
        try:
            return await self._front.service.webhooks.check(view.account.id, url[:LONGEST_URL])
        except TooMany:
            return None

    async def _made(self, view: View, draft: Draft, given: Mapping[str, Any], once: str) -> tuple[str, Created | None]:
        """The new webhook; None beside the id of the one that this very form made already.

        A double click sends a form twice, and a reload may. The id is made from the form's own mark and the session, so the second
        one finds it taken, whichever process it comes to. A form that was changed in between is another one.
        """
        create: Callable[..., Any] = self._front.service.webhooks.create
        if once:
            webhook_id = ids.webhook_id(hmac.digest(view.visitor.csrf.encode(), once.encode(), "sha256")[: ids.ID_BYTES])
            try:
                created: Created = await create(view.account.id, webhook_id=webhook_id, **given)
                return webhook_id, created
            except Conflict:
                before = await self._known(view, webhook_id)
                if before is not None and _is_of(before, given):
                    return webhook_id, None
        created = await create(view.account.id, **given)
        return created.webhook.id, created

    async def _known(self, view: View, webhook_id: str) -> Webhook | None:
        try:
            return await self._front.service.store.webhook(view.account.id, webhook_id)
        except NotFound:
            return None


def _draft(form: Form) -> Draft:
    method = form.text("auth_method")
    return Draft(
        name=form.text("name"),
        url=form.text("url"),
        auth_method=AuthMethod(method) if method in list(AuthMethod) else AuthMethod.BEARER_TOKEN,
        subscribed_events=tuple(form.all("subscribed_events")),
        headers=form.text("headers"),
        max_in_flight=form.text("max_in_flight"),
        rate_per_second=form.text("rate_per_second"),
    )


def _checked(draft: Draft, form: Form, errors: dict[str, str]) -> dict[str, Any]:
    """What the service is asked for; what is wrong goes into `errors`. The URL is left to the service, which asks DNS."""
    given: dict[str, Any] = {"url": draft.url, "auth_method": draft.auth_method}

    def check(field: str, read: Callable[[], object]) -> None:
        try:
            given[field] = read()
        except Invalid as refusal:
            errors[field] = _sentence(field, refusal.message, refusal.field)

    check("name", lambda: checked_name(draft.name))
    check("subscribed_events", lambda: typed.chosen_events(draft.subscribed_events))
    check("headers", lambda: _headers(draft.headers))
    check("max_in_flight", lambda: typed.max_in_flight(form))
    check("rate_per_second", lambda: typed.rate_per_second(form))
    return given


def _headers(text: str) -> dict[str, str]:
    """`Name: value`, one per line."""
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        name, colon, value = line.partition(":")
        if not colon:
            raise Invalid("headers", f"has no colon in line {number}: write one header per line, such as X-Team: doors")
        if name.strip() in found:
            raise Invalid("headers", f"names {name.strip()[: static_headers.MAX_NAME_CHARS]} twice")
        found[name.strip()] = value.strip()
    return static_headers.check_headers(found)


def _sentence(field: str, message: str, at: str = "") -> str:
    """`The name is required ...`; of a header, whose field is `headers/X-Team`: `X-Team cannot be set ...`."""
    subject = at.partition("/")[2] or _LABELS.get(field, "")
    return sentence(f"{subject} {message}".strip())


def _told_of(inspection: Inspection) -> str:
    refused = inspection.refused
    return "" if refused is None else _sentence("", refused.detail or refused.reason.value.replace("_", " "))


def _url_check(inspection: Inspection | None, is_proving: bool) -> dict[str, Any]:
    """found: see `rules.inspection.shown`. needs_https: this URL cannot be had with the authentication that was chosen."""
    found = None if inspection is None else shown(inspection)
    needs_https = is_proving and found is not None and found["target"] is not None and found["target"]["scheme"] != "https"
    return {"found": found, "needs_https": needs_https}


def _is_of(webhook: Webhook, given: Mapping[str, Any]) -> bool:
    """Whether this webhook is what was asked for."""
    ours = (webhook.name, webhook.url, webhook.auth_method, webhook.subscribed_events)
    return ours == tuple(given[name] for name in ("name", "url", "auth_method", "subscribed_events"))


def routes(front: Front) -> list[Route]:
    pages = Creating(front)
    return [
        Route(WEBHOOKS + "/new", {"GET": pages.form, "POST": pages.create}),
        Route(ONE + f"/{CREATED}", {"GET": pages.created}),
        Route(BASE + "/check-url", {"GET": pages.check}),
    ]
