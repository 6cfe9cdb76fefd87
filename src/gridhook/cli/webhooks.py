"""`gridhook webhooks`: what customers registered. Registering and verifying go through the API, which makes the handshake."""

from __future__ import annotations

import click

from gridhook.cli.database import with_service
from gridhook.cli.terminal import instant, json_line, safe, table
from gridhook.model import Webhook
from gridhook.service import Service
from gridhook.store.promises import WebhookCounts

PAGE = 200


@click.group()
def webhooks() -> None:
    """Look at webhooks, or delete one. Works while the server runs.

    To register or verify one, use the API, for example through AccessGrid's SDK: the running server makes the handshake.
    """


@webhooks.command("list")
@click.option("--account", required=True, help="Whose webhooks.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def list_webhooks(account: str, as_json: bool) -> None:
    """All webhooks of an account, newest first."""

    async def work(service: Service) -> list[Webhook]:
        await service.account(account)
        found: list[Webhook] = []
        while True:
            page = await service.store.webhooks(account, offset=len(found), limit=PAGE)
            found += page.webhooks
            if len(page.webhooks) < PAGE:
                return found

    found = with_service(work)
    if as_json:
        for webhook in found:
            click.echo(json_line(_shown(webhook)))
        return
    rows = [(w.id, _state(w), len(w.subscribed_events), w.name, w.url) for w in found]
    click.echo(table(("WEBHOOK", "STATE", "EVENTS", "NAME", "URL"), rows))


@webhooks.command("show")
@click.argument("webhook_id", metavar="WEBHOOK")
@click.option("--account", required=True, help="Whose webhook it is.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(webhook_id: str, account: str, as_json: bool) -> None:
    """One webhook, and what waits for it."""

    async def work(service: Service) -> tuple[Webhook, WebhookCounts]:
        return await service.store.webhook(account, webhook_id), await service.store.counts(account, webhook_id)

    webhook, counts = with_service(work)
    waiting = {
        "held": counts.held,
        "queued": counts.queued,
        "oldest_expires_at": counts.oldest_expires_at and instant(counts.oldest_expires_at),
    }
    if as_json:
        click.echo(json_line({**_shown(webhook), **waiting}))
        return
    for name, value in {**_shown(webhook), **waiting}.items():
        text = ", ".join(value) if isinstance(value, list) else "-" if value is None else str(value)
        click.echo(f"{name:18} {safe(text)}")


@webhooks.command("delete")
@click.argument("webhook_id", metavar="WEBHOOK")
@click.option("--account", required=True, help="Whose webhook it is.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(webhook_id: str, account: str, yes: bool) -> None:
    """Delete a webhook and cancel what is queued or held for it. It cannot be undone."""

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


def _state(webhook: Webhook) -> str:
    return f"{webhook.status}, paused" if webhook.paused_at is not None else webhook.status


def _shown(webhook: Webhook) -> dict[str, object]:
    return {
        "webhook": webhook.id,
        "account": webhook.account_id,
        "name": webhook.name,
        "url": webhook.url,
        "status": webhook.status,
        "verified_at": webhook.verified_at and instant(webhook.verified_at),
        "paused_at": webhook.paused_at and instant(webhook.paused_at),
        "auth_method": webhook.auth_method.value,
        "subscribed_events": list(webhook.subscribed_events),
        "created_at": instant(webhook.created_at),
    }
