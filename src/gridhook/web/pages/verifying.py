"""The watch on a webhook's verification: what was asked, what came back, what it is worth; and asking again."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from gridhook.errors import TooMany
from gridhook.model import Attempt, AttemptFilter, AttemptKind, Instant, Reason, Unreachable, Webhook
from gridhook.rules import challenge
from gridhook.store.promises import Store
from gridhook.web.call import Call
from gridhook.web.operations import page
from gridhook.web.pages.forms import sentence
from gridhook.web.pages.front import Front
from gridhook.web.pages.views import ONE, View
from gridhook.web.problems import NO_STORE, Reply
from gridhook.web.routes import Route
from gridhook.web.shapes import attempts as attempt_shapes

CREATED = "created"  # the page that a new webhook is shown on, below the webhook's own


@dataclass(frozen=True, slots=True)
class Watch:
    """How a webhook's verification stands. `attempt`: the newest handshake with its present URL, as it may be shown.

    is_running: a handshake is under way, or waits for its turn. request: what we send; None when nothing was sent.
    mark: changes whenever there is something else to see. page: where this stands, "" for the webhook's own page.
    """

    is_running: bool
    attempt: attempt_shapes.Attempt | None
    started_at: Instant | None
    request: str | None
    mark: str
    page: str


async def watch(front: Front, webhook: Webhook, page: str = "") -> Watch:
    """What `verification.html` shows, as `watch` in its context."""
    store = front.service.store
    is_running = await store.is_proving(webhook.account_id, webhook.id)
    attempt = await newest_handshake(store, webhook)
    shown = None if attempt is None else attempt_shapes.shown(attempt)
    return Watch(
        is_running=is_running,
        attempt=shown,
        started_at=None if attempt is None else attempt.started_at,
        request=None if attempt is not None and _was_spared(attempt) else _request(webhook.url),
        mark=f"{webhook.status}-{int(is_running)}-{0 if attempt is None else attempt.id}",
        page=page,
    )


async def newest_handshake(store: Store, webhook: Webhook) -> Attempt | None:
    """The newest that has ended; None when its URL was another, or there was none."""
    newest = await store.attempts(webhook.account_id, webhook.id, filter=AttemptFilter(kind=AttemptKind.VERIFICATION), limit=1)
    return next((one for one in newest.attempts if one.url == webhook.url), None)


class Verifying:
    def __init__(self, front: Front) -> None:
        self._front = front

    @page("watchVerification", "How a webhook's verification stands")
    async def look(self, call: Call) -> Reply:
        """For htmx: the piece of page, or 204 when nothing changed since `seen`."""
        view = await self._front.view(call)
        webhook = await self._front.webhook(view, call)
        found = await watch(self._front, webhook, _page(call.argument("at")))
        if call.argument("seen") == found.mark:
            return Reply(204, b"", [NO_STORE])
        return self._front.fragment(view, "verification.html", webhook=webhook, watch=found, is_news=True)

    @page("resendVerification", "Resend verification")
    async def again(self, call: Call) -> Reply:
        view, form = await self._front.change(call)
        webhook = await self._front.webhook(view, call)
        here = _address(view, webhook, _page(form.text("at")))
        try:
            is_verified = await self._front.service.webhooks.verify(view.account.id, webhook.id)
        except TooMany as refusal:
            return await self._front.done(view, here, warning=sentence(str(refusal)))
        if is_verified:
            return await self._front.done(view, here, notice="This webhook is verified already: nothing was sent.")
        self._front.note(view, "resent the verification", webhook=webhook.id)
        return await self._front.done(view, here, notice="A fresh challenge is on its way to your URL.")


def _page(text: str | None) -> str:
    return CREATED if text == CREATED else ""


def _address(view: View, webhook: Webhook, page: str) -> str:
    here = ONE.format(account_id=view.account.id, webhook_id=webhook.id)
    return f"{here}/{page}" if page else here


def _was_spared(attempt: Attempt) -> bool:
    return isinstance(attempt.outcome, Unreachable) and attempt.outcome.reason is Reason.NOT_SENT


def _request(url: str) -> str:
    """The handshake's request as it looks on the wire. Its token is not kept: each has its own, good for one answer."""
    token = "<a fresh token: 64 hex digits>"
    headers, body = challenge.request_parts(token)
    address = urlsplit(attempt_shapes.masked(url))
    path = (address.path or "/") + (f"?{address.query}" if address.query else "")
    lines = [f"POST {path} HTTP/1.1", f"Host: {address.netloc}", *(f"{name}: {value}" for name, value in headers)]
    return "\n".join(lines) + "\n\n" + body.decode()


def routes(front: Front) -> list[Route]:
    pages = Verifying(front)
    return [Route(ONE + "/verification", {"GET": pages.look, "POST": pages.again})]
