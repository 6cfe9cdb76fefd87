"""The list of an account's webhooks: how each stands, and how it has been doing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from msgspec.structs import replace

from gridhook.model import AuthMethod, Instant, Webhook, WebhookFilter, WebhookState
from gridhook.rules.diagnosis import diagnose
from gridhook.service.webhooks import Listed
from gridhook.store.promises import MOST_COUNTED
from gridhook.web.call import Call
from gridhook.web.operations import page
from gridhook.web.pages.front import Front
from gridhook.web.pages.sparks import Spark, spark
from gridhook.web.pages.templates import DAY, MINUTE
from gridhook.web.pages.verifying import newest_handshake
from gridhook.web.pages.views import WARN_BEFORE_MS, WEBHOOKS
from gridhook.web.problems import Reply
from gridhook.web.routes import Route

PAGE = 25  # each with a day of minutes that are added up: more would make a page of busy webhooks slow
LONGEST_SEARCH = 200  # characters


@dataclass(frozen=True, slots=True)
class Asked:
    """What the list is narrowed down to, as it stands in the address. `text` empty, the others None: to nothing."""

    text: str
    state: WebhookState | None
    auth_method: AuthMethod | None

    @property
    def filter(self) -> WebhookFilter:
        return WebhookFilter(self.text or None, self.state, self.auth_method)

    @property
    def is_any(self) -> bool:
        return self.filter == WebhookFilter()

    def query(self, number: int = 1) -> str:
        """Of the address of this very view; empty for the first page of all."""
        told = {"q": self.text, "state": self.state or "", "auth": self.auth_method or "", "page": str(number) if number > 1 else ""}
        return urlencode({name: value for name, value in told.items() if value})


@dataclass(frozen=True, slots=True)
class Row:
    """`rate`: the share of the last day's attempts that succeeded; None: there were none. `ends_soon`: its certificate.

    unproven: why it is still pending, as the last challenge to its present URL ended; "" when it is not, or none has ended.
    """

    listed: Listed
    rate: float | None
    spark: Spark | None
    last_at: Instant | None
    last_succeeded: bool
    ends_soon: bool
    unproven: str


class WebhookList:
    def __init__(self, front: Front) -> None:
        self._front = front

    @page("seeWebhooks", "The list of webhooks")
    async def index(self, call: Call) -> Reply:
        view = await self._front.view(call)
        service, account_id = self._front.service, view.account.id
        asked = _asked(call)
        number = call.integer("page", 1, 1, 100_000)
        # Who may not see the query of a URL must not find out by searching what stands in it.
        filter = replace(asked.filter, in_url=view.may_change)
        found = await service.store.webhooks(account_id, offset=(number - 1) * PAGE, limit=PAGE, filter=filter)
        pages = max(1, -(-found.total // PAGE))
        if number > pages:
            return self._front.go(view.path + _question(asked.query(pages)))
        now = service.clock.now()
        # The very minutes that a health's day is the sum of; they are added up once, by the hour.
        since = now - now % MINUTE - DAY + MINUTE
        listed, hours, unproven = await asyncio.gather(
            service.webhooks.listed(account_id, found.webhooks, most=MOST_COUNTED, windows=False),
            service.store.hours(account_id, [one.id for one in found.webhooks], since=since),
            self._unproven(found.webhooks),
        )
        return await self._front.show(
            view,
            "webhooks.html",
            rows=[_row(one, hours.get(one.webhook.id, []), since, now, unproven.get(one.webhook.id, "")) for one in listed],
            total=found.total,
            asked=asked,
            window_ms=self._front.settings.retry_window_seconds * 1000,
            states=list(WebhookState),
            methods=list(AuthMethod),
            here=view.path + _question(asked.query(number)),
            newer=view.path + _question(asked.query(number - 1)) if number > 1 else None,
            older=view.path + _question(asked.query(number + 1)) if number < pages else None,
            number=number,
            pages=pages,
        )

    async def _unproven(self, webhooks: Sequence[Webhook]) -> dict[str, str]:
        """By id, of those that are pending and whose last challenge has ended: how."""
        pending = [one for one in webhooks if not one.is_verified]
        newest = await asyncio.gather(*(newest_handshake(self._front.service.store, one) for one in pending))
        return {one.id: diagnose(found).summary for one, found in zip(pending, newest, strict=True) if found is not None}


def _asked(call: Call) -> Asked:
    """What is misspelt in an address narrows nothing down."""
    text = (call.argument("q") or "").replace("\0", "").strip()[:LONGEST_SEARCH]
    state, method = call.argument("state"), call.argument("auth")
    return Asked(
        text,
        WebhookState(state) if state in list(WebhookState) else None,
        AuthMethod(method) if method in list(AuthMethod) else None,
    )


def _row(listed: Listed, hours: list[tuple[Instant, int, int]], since: Instant, now: Instant, unproven: str) -> Row:
    health, certificate = listed.health, listed.certificate
    succeeded, failed = sum(hour[1] for hour in hours), sum(hour[2] for hour in hours)
    attempts = succeeded + failed
    last_at = max(health.last_success_at or 0, health.last_failure_at or 0) or None
    return Row(
        listed,
        rate=succeeded / attempts if attempts else None,
        spark=spark(hours, since) if attempts else None,
        last_at=last_at,
        last_succeeded=last_at is not None and health.last_result in ("200", "201"),
        ends_soon=certificate is not None and certificate.expires_at - now < WARN_BEFORE_MS,
        unproven=unproven,
    )


def _question(query: str) -> str:
    return f"?{query}" if query else ""


def routes(front: Front) -> list[Route]:
    pages = WebhookList(front)
    return [Route(WEBHOOKS, {"GET": pages.index})]
