"""`gridhook publishers`: who may publish events."""

from __future__ import annotations

import click

from gridhook.cli import options
from gridhook.cli.database import with_service
from gridhook.cli.terminal import instant, json_line, safe, table
from gridhook.model import PublisherKey
from gridhook.service import Service
from gridhook.service.inputs import Issued


@click.group()
def publishers() -> None:
    """Publisher keys. Works while the server runs."""


@publishers.command("add")
@click.argument("name")
@click.option("--account", type=options.text, help="The one account it may publish for; left out: every account.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def add(name: str, account: str | None, as_json: bool) -> None:
    """Make a publisher key called NAME; prints it once."""

    async def work(service: Service) -> Issued:
        return await service.create_publisher_key(name, account)

    issued = with_service(work, make=True)
    if as_json:
        click.echo(json_line({"key_id": issued.id, "name": name, "account": account, "key": issued.text}))
        return
    click.echo(f"publisher key   {issued.text}   (shown once; only its hash is kept; key id {issued.id})")


@publishers.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def list_keys(as_json: bool) -> None:
    """All live publisher keys, never their text."""

    async def work(service: Service) -> list[PublisherKey]:
        return await service.store.publisher_keys()

    found = with_service(work)
    if as_json:
        for key in found:
            click.echo(json_line({"key_id": key.id, "name": key.name, "account": key.account_id, "created_at": instant(key.created_at)}))
        return
    rows = [(key.id, key.name, key.account_id or "(all)", instant(key.created_at)) for key in found]
    click.echo(table(("KEY", "NAME", "ACCOUNT", "CREATED"), rows))


@publishers.command("revoke")
@click.argument("key_id", type=options.text)
def revoke(key_id: str) -> None:
    """Take KEY_ID out of use. A running server may still take it for five seconds."""

    async def work(service: Service) -> None:
        await service.revoke_publisher_key(key_id)

    with_service(work)
    click.echo(f"{safe(key_id)}: revoked")
