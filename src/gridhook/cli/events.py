"""`gridhook events`: one event, and what became of it at each webhook."""

from __future__ import annotations

import json

import click

from gridhook.cli import options
from gridhook.cli.database import with_service
from gridhook.cli.shown import DELIVERIES, builtin, delivery_row, fields
from gridhook.cli.terminal import instant, json_line, pretty_json, table
from gridhook.service import Service
from gridhook.store.promises import EventDetail
from gridhook.web.shapes import deliveries as shapes


@click.group()
def events() -> None:
    """Events that were accepted."""


@events.command("show")
@click.argument("event_id", metavar="EVENT", type=options.text)
@options.looks
def show(event_id: str, account: str, as_json: bool) -> None:
    """One event as it is sent, and its deliveries.

    \b
    gridhook events show 0190b8a2-... --account acc_...
    """

    async def work(service: Service) -> EventDetail:
        await service.account(account)
        return await service.store.event(account, event_id, now=service.clock.now())

    found = with_service(work)
    if as_json:
        click.echo(json_line(builtin(shapes.event(found))))
        return
    event = found.event
    fields(
        {
            "event": event.id,
            "type": event.type + (" (a test)" if event.is_test else ""),
            "time": instant(event.time_at),
            "accepted": instant(event.accepted_at),
            "expires": instant(event.expires_at),
        }
    )
    click.echo(pretty_json(json.loads(event.payload)) if event.payload else "Its payload was dropped by retention.")
    click.echo()
    if found.deliveries:
        rows = [(one.webhook_id, *delivery_row(one)) for one in found.deliveries]
        without = [i for i, title in enumerate(("WEBHOOK", *DELIVERIES)) if title not in ("EVENT TYPE", "EVENT ID")]
        click.echo(table([("WEBHOOK", *DELIVERIES)[i] for i in without], [[row[i] for i in without] for row in rows]))
    else:
        click.echo("No webhook was subscribed to its type when it was accepted." if not event.is_test else "A test is owed to nobody.")
