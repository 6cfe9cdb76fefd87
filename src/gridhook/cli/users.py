"""`gridhook users`: who may sign in to the console, to which accounts, and where they are signed in."""

from __future__ import annotations

import click

from gridhook.cli import options
from gridhook.cli.database import with_service
from gridhook.cli.terminal import instant, json_line, safe, table
from gridhook.model import LinkPurpose, Membership, Person, Role, Session
from gridhook.service import Service
from gridhook.service.people import Invitation

KNOWN = "has a password already; `gridhook users link` makes a link to set another"


@click.group(cls=options.InOrder)
def users() -> None:
    """The people of the console: their accounts, roles, links and sessions. Works while the server runs; all of it holds at once."""


@users.command("add")
@click.argument("email", type=options.text)
@click.option("--account", type=options.text, help="The account they shall see.")
@click.option("--role", type=click.Choice([role.value for role in Role]), help="viewer: see. admin: see and change.")
@click.option("--operator/--no-operator", default=None, help="Sees every account, as admin; or no longer.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def add(email: str, account: str | None, role: str | None, operator: bool | None, as_json: bool) -> None:
    """Let EMAIL sign in, or give somebody known one more account or another role.

    Who has no password yet gets a link to set one: it works once, and earlier ones no longer do. Send it on a way that only they read.
    """
    if (account is None) != (role is None):
        raise click.UsageError("--account and --role go together")
    if account is None and operator is None:
        raise click.UsageError("give --account A --role admin|viewer, or --operator")
    membership = None if account is None or role is None else Membership(account, Role(role))

    async def work(service: Service) -> tuple[Person, list[Membership], Invitation | None]:
        if operator is False and membership is None:
            await service.people.known(email)  # nobody is made only to be no operator
        person = await service.people.add(email, operator=bool(operator), membership=membership)
        if operator is False:
            person = await service.people.demote(email)
        invitation = None if person.has_password else await service.people.invite(person, LinkPurpose.PASSWORD)
        return person, await service.store.memberships(person.id), invitation

    person, memberships, invitation = with_service(work)
    if as_json:
        click.echo(json_line({**_shown(person, memberships), **_link_json(invitation)}))
        return
    click.echo(f"{safe(person.email)}   {_standing(person, memberships)}")
    if invitation is None:
        click.echo(KNOWN)
    else:
        _show_link(invitation)


@users.command("list")
@click.option("--account", type=options.text, help="Only this account's people.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def list_users(account: str | None, as_json: bool) -> None:
    """Everybody who may sign in, by address."""

    async def work(service: Service) -> list[tuple[Person, list[Membership]]]:
        if account is None:
            found = await service.store.people()
        else:
            await service.account(account)
            found = [person for person, _ in await service.store.members(account)]
        return [(person, await service.store.memberships(person.id)) for person in found]

    found = with_service(work)
    if as_json:
        for person, memberships in found:
            click.echo(json_line(_shown(person, memberships)))
        return
    rows = [
        (person.email, "yes" if person.has_password else "no", instant(person.signed_in_at), _standing(person, memberships))
        for person, memberships in found
    ]
    click.echo(table(("EMAIL", "PASSWORD", "SIGNED IN", "MAY SEE"), rows))


@users.command("remove")
@click.argument("email", type=options.text)
@click.option("--account", type=options.text, help="Only from this account; left out: altogether.")
def remove(email: str, account: str | None) -> None:
    """Take EMAIL out of an account, or out of the console with all sessions. Holds from their next request on."""

    async def work(service: Service) -> None:
        await service.people.remove(email, account)

    with_service(work)
    click.echo(f"{safe(email)}: removed" + (f" from {safe(account)}" if account else ""))


@users.command("link")
@click.argument("email", type=options.text)
@click.option("--sign-in", is_flag=True, help="A link that signs in, instead of one to set a password.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def link(email: str, sign_in: bool, as_json: bool) -> None:
    """Make a new one-time link for EMAIL, as for a forgotten password. Earlier links no longer work; the password does until it is set.

    Whoever follows the link is that person.
    """

    async def work(service: Service) -> Invitation:
        person = await service.people.known(email)
        return await service.people.invite(person, LinkPurpose.SIGN_IN if sign_in else LinkPurpose.PASSWORD)

    invitation = with_service(work)
    if as_json:
        click.echo(json_line({"email": email, **_link_json(invitation)}))
        return
    _show_link(invitation)


@users.command("sessions")
@click.argument("email", type=options.text)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def sessions(email: str, as_json: bool) -> None:
    """Where EMAIL is signed in, newest first."""

    async def work(service: Service) -> list[Session]:
        return await service.people.sessions((await service.people.known(email)).id)

    found = with_service(work)
    if as_json:
        for one in found:
            at = {"signed_in_at": instant(one.created_at), "seen_at": instant(one.seen_at), "expires_at": instant(one.expires_at)}
            click.echo(json_line({**at, "browser": one.agent}))
        return
    rows = [(instant(one.created_at), instant(one.seen_at), instant(one.expires_at), one.agent) for one in found]
    click.echo(table(("SIGNED IN", "LAST SEEN", "ENDS BY", "BROWSER"), rows))


@users.command("sign-out")
@click.argument("email", type=options.text)
def sign_out(email: str) -> None:
    """End every session of EMAIL, at once. Their password stays."""

    async def work(service: Service) -> int:
        return await service.people.end_sessions((await service.people.known(email)).id)

    count = with_service(work)
    click.echo(f"{safe(email)}: {count} {'session' if count == 1 else 'sessions'} ended")


def _show_link(invitation: Invitation) -> None:
    what = "sign in" if invitation.purpose is LinkPurpose.SIGN_IN else "set a password"
    click.echo(f"link to {what}, works once, until {instant(invitation.expires_at)}:\n{invitation.url}")


def _link_json(invitation: Invitation | None) -> dict[str, object]:
    return {} if invitation is None else {"link": invitation.url, "link_expires_at": instant(invitation.expires_at)}


def _standing(person: Person, memberships: list[Membership]) -> str:
    accounts = ", ".join(f"{one.account_id} ({one.role.value})" for one in memberships)
    return ", ".join(filter(None, ("operator" if person.is_operator else "", accounts))) or "-"


def _shown(person: Person, memberships: list[Membership]) -> dict[str, object]:
    return {
        "email": person.email,
        "operator": person.is_operator,
        "accounts": {one.account_id: one.role.value for one in memberships},
        "has_password": person.has_password,
        "created_at": instant(person.created_at),
        "signed_in_at": None if person.signed_in_at is None else instant(person.signed_in_at),
    }
