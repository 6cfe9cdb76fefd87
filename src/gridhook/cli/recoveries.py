"""`gridhook webhooks recover`, `recoveries`, `cancel-recovery`: send many deliveries again."""

from __future__ import annotations

import asyncio
import signal
import sys

import click

from gridhook.cli import options
from gridhook.cli.api import Api, under
from gridhook.cli.database import with_service
from gridhook.cli.shown import builtin, recovery_state, recovery_words
from gridhook.cli.terminal import instant, json_line, safe, table
from gridhook.model import Instant, Recovery, RecoveryState
from gridhook.rules.instants import rfc3339
from gridhook.service import Service
from gridhook.web.shapes import recoveries as shapes

POLL_SECONDS = 0.5
SHOWN = 100
INTERRUPTED = 130  # as shells say it of what Ctrl-C ended


@click.command("recover")
@options.webhook
@options.since
@options.until
@click.option("--state", "states", multiple=True, type=click.Choice(["failed", "delivered"]), help="Left out: failed; repeatable.")
@click.option("--type", "event_type", type=options.text, help="Only of this event type.")
@click.option("--result", type=options.text, help="Only with this last result: a status such as 503, or a reason such as timeout.")
@click.option("--rate", type=options.number, help="At most so many a second; left out: as many as the server allows.")
@click.option("--detach", is_flag=True, help="Do not wait for the end.")
@options.needs_server
def recover(
    webhook_id: str,
    since: Instant | None,
    until: Instant | None,
    states: tuple[str, ...],
    event_type: str | None,
    result: str | None,
    rate: float | None,
    detach: bool,
    account: str,
    server: str | None,
    as_json: bool,
) -> None:
    """Send again all that match, with their event ids; follows until it is done. Ctrl-C ends the following, not the recovery.

    Exit code 0 when it is done, 1 when it was cancelled, 130 after Ctrl-C.

    \b
    gridhook webhooks recover wh_... --since 2h --rate 20 --account acc_...
    """
    wanted = {
        "states": list(states) or None,
        "type": event_type,
        "result": result,
        "since": None if since is None else rfc3339(since),
        "until": None if until is None else rfc3339(until),
        "rate_per_second": rate,
    }
    body = {name: value for name, value in wanted.items() if value is not None}
    recovery_id = str(Api.open(account, server).post(under(webhook_id, "recoveries"), body)["id"])

    async def follow(service: Service) -> Recovery:
        recovery = await service.store.recovery(account, webhook_id, recovery_id)
        if detach:
            return recovery
        return await _follow(service, recovery)

    recovery = with_service(follow)
    goes_on = recovery.state is RecoveryState.RUNNING
    if as_json:
        click.echo(json_line(builtin(shapes.recovery(recovery))))
    else:
        click.echo(f"{safe(recovery.id)}: {recovery_state(recovery)}; {recovery_words(recovery)}")
    if goes_on:
        click.echo(f"It goes on by itself; see `gridhook webhooks recoveries` and `cancel-recovery {safe(recovery.id)}`.", err=True)
    if not detach and recovery.state is not RecoveryState.DONE:
        sys.exit(INTERRUPTED if goes_on else 1)


@click.command("recoveries")
@options.webhook
@options.looks
def recoveries(webhook_id: str, account: str, as_json: bool) -> None:
    """A webhook's recoveries, newest first, with what each did.

    \b
    gridhook webhooks recoveries wh_... --account acc_...
    """

    async def work(service: Service) -> list[Recovery]:
        await service.store.webhook(account, webhook_id)
        return await service.store.recoveries(account, webhook_id, limit=SHOWN)

    found = with_service(work)
    if as_json:
        for one in found:
            click.echo(json_line(builtin(shapes.recovery(one))))
        return
    rows = [(one.id, recovery_state(one), instant(one.created_at), f"{one.rate_per_second:g}/s", recovery_words(one)) for one in found]
    click.echo(table(("RECOVERY", "STATE", "ASKED FOR", "AT MOST", "WHAT IT DID"), rows))


@click.command("cancel-recovery")
@options.webhook
@click.argument("recovery_id", metavar="RECOVERY", type=options.text)
@options.needs_server
def cancel_recovery(webhook_id: str, recovery_id: str, account: str, server: str | None, as_json: bool) -> None:
    """End a recovery. What it has queued already goes out all the same.

    \b
    gridhook webhooks cancel-recovery wh_... rec_... --account acc_...
    """
    Api.open(account, server).delete(under(webhook_id, "recoveries", recovery_id))

    async def work(service: Service) -> Recovery:
        return await service.store.recovery(account, webhook_id, recovery_id)

    recovery = with_service(work)
    if as_json:
        click.echo(json_line(builtin(shapes.recovery(recovery))))
    else:
        click.echo(f"{safe(recovery.id)}: {recovery_state(recovery)}; {recovery_words(recovery)}")


async def _follow(service: Service, recovery: Recovery) -> Recovery:
    """Until it ends, or SIGINT or SIGTERM comes: then it is returned running. The bar is for a person who looks on."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    click.echo(f"{safe(recovery.id)}: {recovery.total} deliveries match; Ctrl-C ends the following only", err=True)
    with click.progressbar(length=max(1, recovery.total), label="sending again", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        while recovery.state is RecoveryState.RUNNING and not stop.is_set():
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await stop.wait()
            except TimeoutError:
                recovery = await service.store.recovery(recovery.account_id, recovery.webhook_id, recovery.id)
                bar.update(min(recovery.examined, bar.length or 0) - bar.pos)
    return recovery
