"""A webhook's Private Key and its signing key: changed step by step, shown once, taken back, switched off."""

from __future__ import annotations

from collections.abc import Callable

from gridhook.errors import Conflict, Invalid, NotFound
from gridhook.model import Instant
from gridhook.rules.instants import parse_rfc3339
from gridhook.service.webhooks import Detail
from gridhook.web.call import Call, is_id
from gridhook.web.operations import page
from gridhook.web.pages.forms import Form
from gridhook.web.pages.front import Front
from gridhook.web.pages.settings import SETTINGS, address, detail_of, newest_key, newest_signing_key, sentence, show
from gridhook.web.pages.views import View
from gridhook.web.problems import Reply
from gridhook.web.routes import Route

NOW, LATER = "0", "at"
DELAYS = (NOW, "3600", "86400", "604800")  # seconds, as the form offers them
OVERLAPS = ("0", "3600", "86400", "604800")


class Keys:
    def __init__(self, front: Front) -> None:
        self._front = front

    @page("rotatePrivateKey", "Make a new Private Key")
    async def rotate(self, call: Call) -> Reply:
        view, form = await self._front.change(call)
        webhook = await self._front.webhook(view, call)
        typed = {"when": form.text("when"), "at": form.text("at")}
        if await self._came_late(view, call, form, newest_key):
            return self._front.go(address(view, webhook.id) + "?twice=private_key")
        try:
            at = _activation(form, self._front.service.clock.now())
            issued = await self._front.service.webhooks.rotate_key(view.account.id, webhook.id, activates_at=at)
        except Invalid as refusal:
            field = "at" if form.text("when") == LATER else "private_key"
            errors = {field: sentence(refusal, "This time")}
            return await show(self._front, view, call, status=422, errors=errors, typed=typed)
        except Conflict as refusal:
            return await show(self._front, view, call, status=409, errors={"private_key": sentence(refusal)})
        self._front.note(view, "made a new Private Key", webhook=webhook.id, key=issued.id)
        return await self._front.done(view, address(view, webhook.id), private_key=issued.text)

    @page("cancelPrivateKey", "Take back a Private Key that is not in use yet")
    async def cancel(self, call: Call) -> Reply:
        view, form = await self._front.change(call)
        webhook = await self._front.webhook(view, call)
        key_id = form.text("key_id")
        try:
            if not is_id(key_id):
                raise NotFound("this key is gone already")
            await self._front.service.webhooks.cancel_key(view.account.id, webhook.id, key_id)
        except Conflict as refusal:
            return await show(self._front, view, call, status=409, errors={"private_key": sentence(refusal)})
        except NotFound:
            await self._front.webhook(view, call)
            words = "This key is gone already: somebody else took it back."
            return await show(self._front, view, call, status=404, errors={"private_key": words})
        self._front.note(view, "took back a Private Key", webhook=webhook.id, key=key_id)
        words = "The new Private Key is taken back; the one in use goes on being used."
        return await self._front.done(view, address(view, webhook.id), notice=words)

    @page("rotateSigningKey", "Have deliveries signed, or change the signing key")
    async def sign(self, call: Call) -> Reply:
        view, form = await self._front.change(call)
        webhook = await self._front.webhook(view, call)
        overlap = form.text("overlap") or "86400"
        if overlap not in OVERLAPS:
            return await show(self._front, view, call, status=422, errors={"overlap": "Choose one of these."})
        if await self._came_late(view, call, form, newest_signing_key):
            return self._front.go(address(view, webhook.id) + "?twice=overlap")
        issued = await self._front.service.webhooks.rotate_signing_key(view.account.id, webhook.id, overlap_seconds=int(overlap))
        self._front.note(view, "made a new signing key", webhook=webhook.id, key=issued.id)
        return await self._front.done(view, address(view, webhook.id), signing_key=issued.text)

    @page("stopSigning", "Stop signing deliveries")
    async def stop_signing(self, call: Call) -> Reply:
        view, _ = await self._front.change(call)
        webhook = await self._front.webhook(view, call)
        await self._front.service.webhooks.stop_signing(view.account.id, webhook.id)
        self._front.note(view, "stopped signing", webhook=webhook.id)
        words = "Deliveries carry no signature any more; the signing keys are forgotten."
        return await self._front.done(view, address(view, webhook.id), notice=words)

    async def _came_late(self, view: View, call: Call, form: Form, newest: Callable[[Detail], str]) -> bool:
        """A form that was sent twice, as by a second click, or when somebody else had been faster: the key that it saw is the newest no
        more. What the first one made is still to be shown."""
        seen = form.text("seen")
        return bool(seen) and seen != newest(await detail_of(self._front, view, call))


def _activation(form: Form, now: Instant) -> Instant | None:
    """When the new key comes into use; None: at once. Raises `Invalid`."""
    when = form.text("when")
    if when in DELAYS:
        return None if when == NOW else now + int(when) * 1000
    if when != LATER:
        raise Invalid("when", "is none of those offered: choose one")
    text = form.text("at")
    if not text:
        raise Invalid("at", "is required when you choose your own: a date and a time in UTC")
    try:
        # What a browser's field for date and time gives has no zone, and no seconds when they are zero.
        return parse_rfc3339(text.replace(" ", "T") + (":00Z" if text.count(":") == 1 else "Z"))
    except ValueError:
        raise Invalid("at", "could not be read: write it as 2026-11-30T14:00, in UTC") from None


def routes(front: Front) -> list[Route]:
    keys = Keys(front)
    return [
        Route(SETTINGS + "/private-key", {"POST": keys.rotate}),
        Route(SETTINGS + "/private-key/cancel", {"POST": keys.cancel}),
        Route(SETTINGS + "/signing-key", {"POST": keys.sign}),
        Route(SETTINGS + "/signing-key/stop", {"POST": keys.stop_signing}),
    ]
