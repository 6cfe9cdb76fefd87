"""`gridhook webhooks`: the whole life of what customers registered. Looking and deleting need the database only, the rest the server."""

from __future__ import annotations

import click

from gridhook.cli import options
from gridhook.cli.database import with_service
from gridhook.cli.recoveries import cancel_recovery, recover, recoveries
from gridhook.cli.shown import detail_json, detail_lines, fields, health_words, held, listed_json, state
from gridhook.cli.terminal import json_line, safe, table
from gridhook.cli.webhook_certificates import cancel_certificate, certificate, certificates, rotate_certificate
from gridhook.cli.webhook_changes import create, edit, pause, resume, verify
from gridhook.cli.webhook_deliveries import deliveries, redeliver, test, undelivered
from gridhook.cli.webhook_keys import cancel_key, rotate_key, sign, unsign
from gridhook.model import Instant, Webhook
from gridhook.service import Service
from gridhook.service.webhooks import Detail, Listed
from gridhook.store.promises import WebhookCounts

PAGE = 200


@click.group(cls=options.InOrder)
def webhooks() -> None:
    """Webhooks, from registering to deleting.

    What needs no running server: list, show, certificates, certificate, deliveries, undelivered, recoveries, delete.
    """


@webhooks.command("list")
@options.looks
def list_webhooks(account: str, as_json: bool) -> None:
    """All webhooks of an account, newest first, with what is held for each and how it has been doing.

    \b
    gridhook webhooks list --account acc_...
    """

    async def work(service: Service) -> list[Listed]:
        await service.account(account)
        found: list[Listed] = []
        while True:
            page = await service.store.webhooks(account, offset=len(found), limit=PAGE)
            found += await service.webhooks.listed(account, page.webhooks)
            if len(page.webhooks) < PAGE:
                return found

    found = with_service(work)
    if as_json:
        for one in found:
            click.echo(json_line(listed_json(one)))
        return
    rows = [
        (
            one.webhook.id,
            state(one.webhook),
            held(one.held, one.held_until),
            health_words(one.health),
            len(one.webhook.subscribed_events),
            one.webhook.name,
            one.webhook.url,
        )
        for one in found
    ]
    click.echo(table(("WEBHOOK", "STATE", "HELD", "HEALTH", "EVENTS", "NAME", "URL"), rows))


@webhooks.command("show")
@options.webhook
@options.looks
def show(webhook_id: str, account: str, as_json: bool) -> None:
    """One webhook: what it is, what waits for it, its keys (never their text), and how it has been doing.

    \b
    gridhook webhooks show wh_... --account acc_...
    """

    async def work(service: Service) -> tuple[Detail, Instant]:
        return await service.webhooks.detail(account, webhook_id), service.clock.now()

    detail, now = with_service(work)
    if as_json:
        click.echo(json_line(detail_json(detail)))
    else:
        fields(detail_lines(detail, now))


@webhooks.command("delete")
@options.webhook
@options.account
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(webhook_id: str, account: str, yes: bool) -> None:
    """Delete a webhook and cancel what is queued or held for it. It cannot be undone.

    \b
    gridhook webhooks delete wh_... --account acc_...
    """

    async def look(service: Service) -> tuple[Webhook, WebhookCounts]:
        return await service.store.webhook(account, webhook_id), await service.store.counts(account, webhook_id)

    async def work(service: Service) -> None:
        await service.webhooks.delete(account, webhook_id)

    if not yes:
        webhook, counts = with_service(look)
        waiting = counts.held + counts.queued
        click.confirm(f"Delete {safe(webhook.name)} ({safe(webhook.url)}) and cancel {waiting} deliveries?", abort=True)
    with_service(work)
    click.echo(f"{safe(webhook_id)}: deleted")


# In the order of a webhook's life; `list` and `show` stand first, `delete` last.
for _command in (
    *(create, verify, edit, pause, resume),
    *(rotate_key, cancel_key, sign, unsign),
    *(certificates, certificate, rotate_certificate, cancel_certificate),
    *(test, undelivered, deliveries, redeliver),
    *(recover, recoveries, cancel_recovery),
    webhooks.commands.pop("delete"),
):
    webhooks.add_command(_command)
