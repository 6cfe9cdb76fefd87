"""`gridhook accounts`: whose webhooks and events there are, and the API secrets they sign with."""

from __future__ import annotations

import click

from gridhook.cli import options
from gridhook.cli.database import with_service
from gridhook.cli.terminal import instant, json_line, safe, table
from gridhook.model import Account, AccountSecret
from gridhook.service import Service
from gridhook.service.inputs import Issued

ONCE = "shown once; only its sealed form is kept"


@click.group()
def accounts() -> None:
    """Accounts, their API secrets, and the enterprise switch. Works while the server runs."""


@accounts.command("add")
@click.argument("name")
@click.option("--id", "account_id", type=options.text, help="The account's id; made at random when left out.")
@click.option("--no-enterprise", is_flag=True, help="Without webhooks in its plan: the API answers it 403.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def add(name: str, account_id: str | None, no_enterprise: bool, as_json: bool) -> None:
    """Make an account called NAME; prints its id and its first API secret, once."""

    async def work(service: Service) -> tuple[Account, Issued]:
        return await service.create_account(name, account_id=account_id, enterprise=not no_enterprise)

    account, issued = with_service(work, make=True)
    if as_json:
        click.echo(json_line({**_shown(account), "secret_id": issued.id, "secret": issued.text}))
        return
    click.echo(f"account id   {account.id}")
    click.echo(f"API secret   {issued.text}   ({ONCE}; secret id {issued.id})")


@accounts.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def list_accounts(as_json: bool) -> None:
    """All accounts."""

    async def work(service: Service) -> list[Account]:
        return await service.store.accounts()

    found = with_service(work)
    if as_json:
        for account in found:
            click.echo(json_line(_shown(account)))
        return
    rows = [(a.id, a.name, "yes" if a.enterprise else "no", instant(a.created_at)) for a in found]
    click.echo(table(("ACCOUNT", "NAME", "ENTERPRISE", "CREATED"), rows))


@accounts.command("enterprise")
@click.argument("account", type=options.text)
@click.argument("switch", type=click.Choice(["on", "off"]))
def enterprise(account: str, switch: str) -> None:
    """Allow ACCOUNT webhooks, or not. Off: its API calls are answered 403; its deliveries go on."""

    async def work(service: Service) -> None:
        await service.set_enterprise(account, switch == "on")

    with_service(work)
    click.echo(f"{safe(account)}: enterprise {switch}")


@accounts.group("secret")
def secret() -> None:
    """An account's API secrets: up to two are valid at once, so that clients can change over."""


@secret.command("add")
@click.argument("account", type=options.text)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def add_secret(account: str, as_json: bool) -> None:
    """Make a second secret for ACCOUNT; the first stays valid until it is revoked."""

    async def work(service: Service) -> Issued:
        return await service.add_secret(account)

    issued = with_service(work)
    if as_json:
        click.echo(json_line({"account": account, "secret_id": issued.id, "secret": issued.text}))
        return
    click.echo(f"API secret   {issued.text}   ({ONCE}; secret id {issued.id})")


@secret.command("list")
@click.argument("account", type=options.text)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def list_secrets(account: str, as_json: bool) -> None:
    """The ids of ACCOUNT's live secrets, oldest first; never their text."""

    async def work(service: Service) -> list[AccountSecret]:
        await service.account(account)
        return await service.store.secrets(account)

    found = with_service(work)
    if as_json:
        for row in found:
            click.echo(json_line({"account": account, "secret_id": row.id, "created_at": instant(row.created_at)}))
        return
    click.echo(table(("SECRET", "CREATED"), [(row.id, instant(row.created_at)) for row in found]))


@secret.command("revoke")
@click.argument("account", type=options.text)
@click.argument("secret_id", type=options.text)
def revoke_secret(account: str, secret_id: str) -> None:
    """Take SECRET_ID of ACCOUNT out of use. A running server may still take it for five seconds."""

    async def work(service: Service) -> None:
        await service.revoke_secret(account, secret_id)

    with_service(work)
    click.echo(f"{safe(secret_id)}: revoked")


def _shown(account: Account) -> dict[str, object]:
    return {"account": account.id, "name": account.name, "enterprise": account.enterprise, "created_at": instant(account.created_at)}
