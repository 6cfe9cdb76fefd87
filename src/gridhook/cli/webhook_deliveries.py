"""`gridhook webhooks test`, `undelivered`, `deliveries`, `redeliver`: try a webhook, see what did not arrive, send it again."""

from __future__ import annotations

import sys

import click

from gridhook.cli import one_attempt, options
from gridhook.cli.api import Api, under
from gridhook.cli.database import with_service
from gridhook.cli.shown import DELIVERIES, builtin, delivery_row
from gridhook.cli.terminal import instant, json_line, safe, table
from gridhook.model import Delivery, DeliveryFilter, DeliveryState, Instant, Reason
from gridhook.rules.diagnosis import REASONS
from gridhook.service import Service
from gridhook.store.promises import Undelivered
from gridhook.web.shapes import deliveries as shapes

PAGE = 500


@click.command("test")
@options.webhook
@click.argument("type")
@options.needs_server
def test(webhook_id: str, type: str, account: str, server: str | None, as_json: bool) -> None:
    """Send one made-up event of TYPE now, once; prints the attempt. Exit code 1 when it was not received.

    \b
    gridhook webhooks test wh_... ag.access_pass.issued --account acc_...
    """
    sent = int(Api.open(account, server).post(under(webhook_id, "test"), {"type": type})["id"])

    async def work(service: Service) -> one_attempt.Found:
        return await one_attempt.find(service, account, sent)

    made = with_service(work)
    one_attempt.show(made, as_json)
    if not one_attempt.is_received(made.attempt.outcome):
        sys.exit(1)


@click.command("undelivered")
@options.webhook
@options.looks
def undelivered(webhook_id: str, account: str, as_json: bool) -> None:
    """What did not arrive (yet), by reason, most first.

    \b
    gridhook webhooks undelivered wh_... --account acc_...
    """

    async def work(service: Service) -> list[Undelivered]:
        await service.store.webhook(account, webhook_id)
        return await service.store.undelivered(account, webhook_id)

    found = with_service(work)
    if as_json:
        for one in found:
            click.echo(json_line(builtin(shapes.undelivered(one))))
        return
    rows = [
        (
            one.count,
            one.state.value + (f", {one.failure_reason.value}" if one.failure_reason else ""),
            one.last_result or "never tried",
            instant(one.oldest_created_at),
            instant(one.oldest_expires_at),
            _meaning(one.last_result),
        )
        for one in found
    ]
    click.echo(table(("COUNT", "STATE", "LAST RESULT", "OLDEST", "EXPIRES FROM", "WHAT HAPPENED"), rows))


@click.command("deliveries")
@options.webhook
@click.option(
    "--state", "states", multiple=True, type=click.Choice([one.value for one in DeliveryState]), help="Only in this state; repeatable."
)
@click.option("--type", "event_type", type=options.text, help="Only of this event type.")
@click.option("--event", "event_id", type=options.text, help="Only of the event with this id.")
@click.option("--result", type=options.text, help="Only with this last result: a status such as 503, or a reason such as timeout.")
@options.since
@options.until
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 100_000), help="How many, the newest.")
@options.looks
def deliveries(
    webhook_id: str,
    states: tuple[str, ...],
    event_type: str | None,
    event_id: str | None,
    result: str | None,
    since: Instant | None,
    until: Instant | None,
    limit: int,
    account: str,
    as_json: bool,
) -> None:
    """Deliveries of a webhook, newest first: what became of each event that it was owed.

    \b
    gridhook webhooks deliveries wh_... --state failed --since 2h --account acc_...
    """
    wanted = DeliveryFilter(tuple(map(DeliveryState, states)), event_type, event_id, result, since, until)

    async def work(service: Service) -> list[Delivery]:
        await service.store.webhook(account, webhook_id)
        found: list[Delivery] = []
        before: tuple[Instant, int] | None = None
        while len(found) < limit:
            page = await service.store.deliveries(
                account, webhook_id, before=before, filter=wanted, limit=min(limit - len(found), PAGE), now=service.clock.now()
            )
            found += page.deliveries
            before = page.next
            if before is None:
                break
        return found

    found = with_service(work)
    if as_json:
        for one in found:
            click.echo(json_line(builtin(shapes.delivery(one))))
    else:
        click.echo(table(DELIVERIES, [delivery_row(one) for one in found]))


@click.command("redeliver")
@options.webhook
@click.argument("delivery_id", metavar="DELIVERY", type=click.IntRange(1))
@options.needs_server
def redeliver(webhook_id: str, delivery_id: int, account: str, server: str | None, as_json: bool) -> None:
    """Send one delivery again, with the same event id and a new schedule; one that is queued goes out now instead of later.

    \b
    gridhook webhooks redeliver wh_... 4711 --account acc_...
    """
    said = Api.open(account, server).post(under(webhook_id, "deliveries", str(delivery_id), "redeliver"))
    made, brought_forward = int(said["delivery"]["id"]), bool(said["brought_forward"])

    async def work(service: Service) -> Delivery:
        return await service.store.delivery(account, webhook_id, made, now=service.clock.now())

    delivery = with_service(work)
    if as_json:
        click.echo(json_line({**builtin(shapes.delivery(delivery)), "brought_forward": brought_forward}))
    elif brought_forward:
        click.echo(f"delivery {made} was queued still: it goes out now")
    else:
        click.echo(f"delivery {made}: event {safe(delivery.event_id)} goes out again; expires {instant(delivery.expires_at)}")


def _meaning(result: str | None) -> str:
    if result is None:
        return "-"
    if result.isdigit():
        return f"The receiver answered {result}"
    return REASONS[Reason(result)].summary if result in set(Reason) else "-"
