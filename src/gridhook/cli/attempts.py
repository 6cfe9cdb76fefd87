"""`gridhook attempts`: what was sent, what came of it, and what to do."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterable
from typing import Any

import click

from gridhook.cli.database import with_service
from gridhook.cli.terminal import instant, json_line, safe, table
from gridhook.model import Answered, Attempt
from gridhook.rules.diagnosis import diagnose
from gridhook.service import Service

HEADER = ("STARTED", "KIND", "EVENT TYPE", "EVENT ID", "#", "RESULT", "MS", "WHAT HAPPENED")
FOLLOWED = "{:24}  {:12}  {:34}  {:36}  {:>2}  {:>20}  {:>8}  {}"
POLL_SECONDS = 0.5
PAGE = 1000
REMEMBERED = 200_000  # attempts already printed: more than are made while one can take


@click.command()
@click.option("--account", help="Whose attempts; left out: every account's.")
@click.option("--webhook", help="Only this webhook's; needs --account.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 100_000), help="How many, the newest.")
@click.option("--follow", is_flag=True, help="Go on with new ones as they come, until Ctrl-C.")
@click.option("--remedy", is_flag=True, help="Also say what to do.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line, with all that was kept.")
def attempts(account: str | None, webhook: str | None, limit: int, follow: bool, remedy: bool, as_json: bool) -> None:
    """The attempts log, straight from the database: deliveries, handshakes and tests, oldest of those shown first.

    RESULT is the receiver's status, or the reason why there is none.
    """
    if webhook is not None and account is None:
        raise click.UsageError("--webhook needs --account")
    viewer = _Viewer(account, webhook, remedy=remedy, as_json=as_json)

    async def work(service: Service) -> None:
        recent = await viewer.recent(service, limit)
        if follow:
            viewer.print_header()
            viewer.follow_on(recent)
            await viewer.follow(service)
        else:
            viewer.print_all(recent)

    with_service(work)


class _Viewer:
    def __init__(self, account: str | None, webhook: str | None, *, remedy: bool, as_json: bool) -> None:
        self._account = account
        self._webhook = webhook
        self._remedy = remedy
        self._json = as_json
        self._newest: dict[str, tuple[int, int]] = {}
        self._seen: dict[int, None] = {}

    async def _accounts(self, service: Service) -> list[str]:
        if self._account is not None:
            await service.account(self._account)
            return [self._account]
        return [account.id for account in await service.store.accounts()]

    async def recent(self, service: Service, limit: int) -> list[Attempt]:
        """The newest `limit`, oldest first."""
        if self._account is not None and self._webhook is not None:
            await service.store.webhook(self._account, self._webhook)
        found: list[Attempt] = []
        for account in await self._accounts(service):
            before, left = None, limit
            while left > 0:
                page = await service.store.attempts(account, self._webhook, before=before, limit=min(left, PAGE))
                found += page.attempts
                before, left = page.next, left - len(page.attempts)
                if before is None:
                    break
        found.sort(key=_place)
        return found[-limit:]

    async def follow(self, service: Service) -> None:
        """Until SIGINT or SIGTERM."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        # An attempt is written when it ends and placed by when it began: look back as far as one can take, and a little.
        look_back_ms = int(service.settings.attempt_seconds * 1000) + 10_000
        start = service.clock.now()
        old = True
        while not stop.is_set():
            for account in await self._accounts(service):
                newest = self._newest.get(account, (start, 0))
                after: tuple[int, int] | None = (newest[0] - look_back_ms, 0)
                while after is not None and not stop.is_set():
                    page = await service.store.attempts(account, self._webhook, before=None, after=after, limit=PAGE)
                    # In the first round, what lies before the newest shown is what --limit left out.
                    self.follow_on(page.attempts, skip_to=newest if old else None)
                    # Where looking back takes more than a page, it would never catch up: go on from the newest instead.
                    after = page.next and (page.next if old else max(page.next, newest))
            old = False
            try:
                await asyncio.wait_for(stop.wait(), POLL_SECONDS)
            except TimeoutError:
                continue

    def follow_on(self, found: Iterable[Attempt], skip_to: tuple[int, int] | None = None) -> None:
        """Print those not yet printed; those up to `skip_to` count as printed."""
        for attempt in found:
            place = _place(attempt)
            self._newest[attempt.account_id] = max(place, self._newest.get(attempt.account_id, place))
            if attempt.id in self._seen:
                continue
            self._seen[attempt.id] = None
            if skip_to is not None and place <= skip_to:
                continue
            if len(self._seen) > REMEMBERED:
                del self._seen[next(iter(self._seen))]
            click.echo(json_line(as_json(attempt)) if self._json else FOLLOWED.format(*map(safe, self._row(attempt))).rstrip())

    def print_header(self) -> None:
        if not self._json:
            click.echo(FOLLOWED.format(*HEADER))

    def print_all(self, found: list[Attempt]) -> None:
        if self._json:
            for attempt in found:
                click.echo(json_line(as_json(attempt)))
        else:
            click.echo(table(HEADER, [self._row(attempt) for attempt in found]))

    def _row(self, attempt: Attempt) -> tuple[str, ...]:
        words = diagnose(attempt)
        said = words.summary
        if attempt.next_attempt_at is not None:
            said += f"; next attempt {instant(attempt.next_attempt_at)}"
        if self._remedy and words.remedy:
            said += f" -> {words.remedy}"
        outcome = attempt.outcome
        return (
            instant(attempt.started_at),
            attempt.kind.value,
            attempt.event_type or "-",
            attempt.event_id or "-",
            str(attempt.number),
            str(outcome.status) if isinstance(outcome, Answered) else outcome.reason.value,
            f"{outcome.exchange.timings.total_us / 1000:.1f}",
            said,
        )


def _place(attempt: Attempt) -> tuple[int, int]:
    return attempt.started_at, attempt.id


def as_json(attempt: Attempt) -> dict[str, Any]:
    """All that the log keeps; the receiver's bytes as text with escapes."""
    outcome, words = attempt.outcome, diagnose(attempt)
    exchange = outcome.exchange
    timings = exchange.timings
    shown: dict[str, Any] = {
        "attempt": attempt.id,
        "account": attempt.account_id,
        "webhook": attempt.webhook_id,
        "kind": attempt.kind.value,
        "event_type": attempt.event_type,
        "event_id": attempt.event_id,
        "number": attempt.number,
        "started_at": instant(attempt.started_at),
        "url": attempt.url,
        "status": None,
        "reason": None,
        "echo": attempt.echo and attempt.echo.value,
        "summary": words.summary,
        "remedy": words.remedy,
        "next_attempt_at": attempt.next_attempt_at and instant(attempt.next_attempt_at),
        "timings_us": {
            "dns": timings.dns_us,
            "connect": timings.connect_us,
            "tls": timings.tls_us,
            "first_byte": timings.first_byte_us,
            "total": timings.total_us,
        },
        "remote_address": exchange.remote_address,
        "tls_version": exchange.tls_version,
        "reconnects": exchange.reconnects,
        "credential": attempt.credential_id,
    }
    if isinstance(outcome, Answered):
        shown |= {
            "status": outcome.status,
            "response_headers": outcome.headers.decode("utf-8", "backslashreplace"),
            "response_body": outcome.body.decode("utf-8", "backslashreplace"),
            "truncated": outcome.truncated,
            "body_error": outcome.body_error,
        }
    else:
        shown |= {"reason": outcome.reason.value, "phase": outcome.phase.value, "detail": outcome.detail}
    return shown
