"""The operator's view: every account's queue, this process, and the hosts that give trouble. For operators only."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from gridhook import __version__
from gridhook.errors import NotFound
from gridhook.model import Account, Window, add_up
from gridhook.store.promises import MOST_COUNTED, Load
from gridhook.web.call import Call
from gridhook.web.operations import page
from gridhook.web.pages.front import GONE, Front
from gridhook.web.pages.templates import HOUR, MINUTE
from gridhook.web.pages.views import ROOT
from gridhook.web.problems import Reply
from gridhook.web.routes import Route
from gridhook.web.shapes.health import percentile_ms

OPERATE = f"{ROOT}/operate"
PAGE = 25
LONGEST_SEARCH = 100
HOSTS = 8  # in each list
HOSTS_MINUTES = 5
MOST_MINUTES = 6_000  # rows that are looked at for them: of busier installations, fewer minutes


@dataclass(frozen=True, slots=True)
class Standing:
    """in_flight: in this process."""

    account: Account
    load: Load
    in_flight: int


@dataclass(frozen=True, slots=True)
class Host:
    """All webhooks at one host, over the last minutes."""

    name: str
    webhooks: int
    window: Window
    example: tuple[str, str]  # (account_id, webhook_id) of the busiest

    @property
    def attempts(self) -> int:
        return self.window.succeeded + self.window.failed

    @property
    def mean_ms(self) -> float:
        return self.window.latency_ms / max(1, self.attempts)

    @property
    def p95_ms(self) -> float:
        return percentile_ms(0.95, self.window.latencies) or 0.0

    @property
    def failed_share(self) -> float:
        return self.window.failed / max(1, self.attempts)


class Operating:
    def __init__(self, front: Front) -> None:
        self._front = front
        self._started = time.monotonic()

    @page("operate", "The operator's view")
    async def index(self, call: Call) -> Reply:
        visitor = await self._front.visitor(call)
        if not visitor.is_operator:
            raise NotFound(GONE)
        service = self._front.service
        store, slots, now = service.store, service.engine.slots, service.clock.now()
        wanted = (call.argument("q") or "").replace("\0", "").strip()[:LONGEST_SEARCH]
        number = call.integer("page", 1, 1, 100_000)
        failing, queued = await store.troubled()
        in_flight = slots.by_account()
        found = [one for one in await store.accounts() if _fits(one, wanted.casefold())]
        # Those that need somebody first.
        found.sort(key=lambda one: (-failing.get(one.id, 0), one.id not in queued, one.name.casefold(), one.id))
        start = (number - 1) * PAGE
        shown = [Standing(one, await store.load(one.id, since=now - HOUR), in_flight.get(one.id, 0)) for one in found[start : start + PAGE]]
        hosts = _hosts(await store.recent(since=now - now % MINUTE - (HOSTS_MINUTES - 1) * MINUTE, most=MOST_MINUTES))
        return await self._front.mine(
            visitor,
            OPERATE,
            "operate.html",
            accounts=shown,
            total=len(found),
            wanted=wanted,
            here=_address(wanted, number),
            newer=_address(wanted, number - 1) if number > 1 else None,
            older=_address(wanted, number + 1) if start + PAGE < len(found) else None,
            most_counted=MOST_COUNTED,
            slots=slots,
            backlog=store.backlog(),
            trouble=store.trouble(),
            database=service.settings.database_kind,
            version=__version__,
            up_ms=(time.monotonic() - self._started) * 1000,
            host_minutes=HOSTS_MINUTES,
            slowest=sorted(hosts, key=lambda one: (-one.p95_ms, -one.mean_ms, one.name))[:HOSTS],
            worst=sorted((one for one in hosts if one.window.failed), key=lambda one: (-one.failed_share, -one.window.failed))[:HOSTS],
        )


def _hosts(recent: Sequence[tuple[str, str, str, str, Window]]) -> list[Host]:
    by_host: dict[str, list[tuple[str, str, Window]]] = {}
    for account_id, webhook_id, _, url, window in recent:
        by_host.setdefault(urlsplit(url).netloc, []).append((account_id, webhook_id, window))
    return [
        Host(name, len(some), add_up([window for _, _, window in some]), max(some, key=lambda one: one[2].succeeded + one[2].failed)[:2])
        for name, some in by_host.items()
    ]


def _fits(account: Account, wanted: str) -> bool:
    return wanted in account.name.casefold() or wanted in account.id.casefold()


def _address(wanted: str, number: int) -> str:
    told = {"q": wanted, "page": str(number) if number > 1 else ""}
    query = urlencode({name: value for name, value in told.items() if value})
    return f"{OPERATE}?{query}" if query else OPERATE


def routes(front: Front) -> list[Route]:
    return [Route(OPERATE, {"GET": Operating(front).index})]
