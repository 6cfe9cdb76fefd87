"""`gridhook attempts`: what was sent, what came of it, and what to do."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Iterable

import click
from click.core import ParameterSource

from gridhook.cli import one_attempt, options
from gridhook.cli.database import with_service
from gridhook.cli.one_attempt import HEADER, attempt_json, row
from gridhook.cli.terminal import json_line, safe, table
from gridhook.model import Attempt, AttemptFilter, AttemptKind, Instant, Reason
from gridhook.service import Service

FOLLOWED = "{:>8}  {:24}  {:12}  {:34}  {:36}  {:>2}  {:>20}  {:>8}  {}"
POLL_SECONDS = 0.5
PAGE = 1000
REMEMBERED = 200_000  # attempts already printed: more than are made while one can take


def status(text: str) -> tuple[int | None, int | None]:
    """(status, None) of `503`, (None, 5) of `5xx`."""
    if re.fullmatch(r"[1-9][0-9]{2}", text):
        return int(text), None
    if re.fullmatch(r"[1-5]xx", text):
        return None, int(text[0])
    raise click.BadParameter("must be a status such as 503, or a class such as 5xx")


@click.group(invoke_without_command=True, subcommand_metavar="[show ATTEMPT]")
@click.option(
    "--account", type=options.text, envvar="PUBLISHER_ACCOUNT", show_envvar=True, help="Whose attempts; left out: every account's."
)
@click.option("--webhook", type=options.text, help="Only this webhook's; needs --account.")
@click.option("--type", "event_type", type=options.text, help="Only of this event type.")
@click.option("--event", "event_id", type=options.text, help="Only of the event with this id.")
@click.option("--outcome", type=click.Choice(["delivered", "failed"]), help="Only those that were answered 200 or 201, or only the others.")
@click.option("--status", "answered", type=status, help="Only those that were answered so: 503, or 5xx.")
@click.option(
    "--reason", type=click.Choice([one.value for one in Reason]), metavar="REASON", help="Only those without an answer, for this reason."
)
@click.option("--kind", type=click.Choice([one.value for one in AttemptKind]), help="Only of this kind.")
@options.since
@options.until
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 100_000), help="How many, the newest.")
@click.option("--follow", is_flag=True, help="Go on with new ones as they come, until Ctrl-C.")
@click.option("--remedy", is_flag=True, help="Also say what to do.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line, with all that was kept.")
@click.pass_context
def attempts(
    ctx: click.Context,
    account: str | None,
    webhook: str | None,
    event_type: str | None,
    event_id: str | None,
    outcome: str | None,
    answered: tuple[int | None, int | None] | None,
    reason: str | None,
    kind: str | None,
    since: Instant | None,
    until: Instant | None,
    limit: int,
    follow: bool,
    remedy: bool,
    as_json: bool,
) -> None:
    """The attempts log, straight from the database: deliveries, handshakes and tests, oldest of those shown first.

    RESULT is the receiver's status, or the reason why there is none.

    \b
    gridhook attempts --account acc_... --status 5xx --since 2h --remedy
    gridhook attempts show 4711 --account acc_...
    """
    if ctx.invoked_subcommand is not None:
        if any(ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in ctx.params):
            raise click.UsageError(f"the filters are for the log; put the options behind `{ctx.invoked_subcommand}`")
        return
    if webhook is not None and account is None:
        raise click.UsageError("--webhook needs --account")
    exact, status_class = answered or (None, None)
    wanted = AttemptFilter(
        event_type=event_type,
        event_id=event_id,
        succeeded=None if outcome is None else outcome == "delivered",
        status=exact,
        status_class=status_class,
        reason=None if reason is None else Reason(reason),
        kind=None if kind is None else AttemptKind(kind),
        since=since,
        until=until,
    )
    viewer = _Viewer(account, webhook, wanted, remedy=remedy, as_json=as_json)

    async def work(service: Service) -> None:
        recent = await viewer.recent(service, limit)
        if follow:
            viewer.print_header()
            viewer.follow_on(recent)
            await viewer.follow(service)
        else:
            viewer.print_all(recent)

    with_service(work)


@attempts.command("show")
@click.argument("attempt_id", metavar="ATTEMPT", type=click.IntRange(1))
@options.looks
def show(attempt_id: int, account: str, as_json: bool) -> None:
    """One attempt in full: what happened, what to do, the receiver's answer, and a curl command that sends the same again.

    \b
    gridhook attempts show 4711 --account acc_...
    """

    async def work(service: Service) -> one_attempt.Found:
        return await one_attempt.find(service, account, attempt_id)

    one_attempt.show(with_service(work), as_json)


class _Viewer:
    def __init__(self, account: str | None, webhook: str | None, wanted: AttemptFilter, *, remedy: bool, as_json: bool) -> None:
        self._account = account
        self._webhook = webhook
        self._wanted = wanted
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
                page = await service.store.attempts(account, self._webhook, before=before, filter=self._wanted, limit=min(left, PAGE))
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
        old, looked, now = True, 0, start
        while not stop.is_set():
            for account in await self._accounts(service):
                newest = self._newest.get(account, (start, 0))
                after: tuple[int, int] | None = (max(newest[0], looked) - look_back_ms, 0)
                while after is not None and not stop.is_set():
                    page = await service.store.attempts(account, self._webhook, after=after, filter=self._wanted, limit=PAGE)
                    # In the first round, what lies before the newest shown is what --limit left out.
                    self.follow_on(page.attempts, skip_to=newest if old else None)
                    # Where looking back takes more than a page, it would never catch up: go on from the newest instead.
                    after = page.next and (page.next if old else max(page.next, newest))
            # Where nothing matches, the newest shown stays where it is: what began before the last look has ended and was seen.
            old, looked, now = False, now, service.clock.now()
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await stop.wait()
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
            click.echo(
                json_line(attempt_json(attempt)) if self._json else FOLLOWED.format(*map(safe, row(attempt, remedy=self._remedy))).rstrip()
            )

    def print_header(self) -> None:
        if not self._json:
            click.echo(FOLLOWED.format(*HEADER))

    def print_all(self, found: list[Attempt]) -> None:
        if self._json:
            for attempt in found:
                click.echo(json_line(attempt_json(attempt)))
        else:
            click.echo(table(HEADER, [row(attempt, remedy=self._remedy) for attempt in found]))


def _place(attempt: Attempt) -> tuple[int, int]:
    return attempt.started_at, attempt.id
