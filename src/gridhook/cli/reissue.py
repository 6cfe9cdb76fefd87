"""`gridhook ca reissue`: all mTLS webhooks move to certificates of the authority that signs now."""

from __future__ import annotations

import sys

import click

from gridhook.cli import options
from gridhook.cli.database import with_service
from gridhook.cli.terminal import json_line, safe, table
from gridhook.service import Service
from gridhook.service.reissue import Due, Old, Reissue, Result, Wanted

COLUMNS = ("ACCOUNT", "WEBHOOK", "CERTIFICATE", "AUTHORITY", "WHAT WOULD BE DONE")
FROM = "Only certificates of this authority. Left out: of every authority but the one that signs now."
NO_FALLBACK = "Destroy the keys of the old certificates at once, also of those that were replaced before: nothing is fallen back on."


@click.command("reissue")
@click.option("--from", "from_id", type=options.text, metavar="AUTHORITY", help=FROM)
@click.option("--account", type=options.text, metavar="ID", help="Only webhooks of this account.")
@click.option("--no-fallback", is_flag=True, help=NO_FALLBACK)
@click.option("--dry-run", is_flag=True, help="List what would be done, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; with --dry-run one per webhook.")
def reissue(from_id: str | None, account: str | None, no_fallback: bool, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Move all webhooks to certificates of the authority that signs now.

    For when an authority must go before the renewals have replaced it, as after the theft of its key: see docs/mtls.md. Each old
    certificate is fallen back on for 7 days, as after any rotation. Works while the server runs; what was done is skipped when it is run
    again. Exit code 1 when something is left to do.

    \b
    gridhook ca roll --signs-in 0s
    gridhook ca reissue --from ca_...
    """

    async def look(service: Service) -> tuple[Wanted, list[Due]]:
        verb = _verb(service)
        wanted = await verb.wanted(from_id=from_id, account_id=account, keep_fallback=not no_fallback)
        return wanted, await verb.due(wanted)

    async def work(service: Service) -> tuple[Wanted, Result, int, list[Old]]:
        verb = _verb(service)
        wanted, due = await look(service)
        with click.progressbar(
            length=max(1, len(due)), label="issuing certificates", file=sys.stderr, hidden=not sys.stderr.isatty()
        ) as bar:
            result = await verb.run(wanted, due, lambda: bar.update(1))
        # Looked at again: a server that had the old authority at hand may have issued one more meanwhile.
        return wanted, result, len(await verb.due(wanted)), await verb.old(wanted)

    if dry_run:
        _list(*with_service(look), as_json)
        return
    if not yes:
        wanted, due = with_service(look)
        if due:
            click.confirm(_question(wanted, due), abort=True, err=True)
    wanted, result, remaining, old = with_service(work)
    if as_json:
        click.echo(json_line(_shown(wanted, result, remaining, old)))
    else:
        _tell(wanted, result, remaining, old)
    if remaining:
        sys.exit(1)


def _verb(service: Service) -> Reissue:
    """Made here, not with the service: no server needs it."""
    return Reissue(store=service.store, authorities=service.authorities, certificates=service.certificates)


def _list(wanted: Wanted, due: list[Due], as_json: bool) -> None:
    if as_json:
        for one in due:
            deed = {"is_fallback": one.is_fallback, "is_needed": one.is_needed, "moves_to": None if one.is_fallback else wanted.signs.id}
            click.echo(json_line(_named(one) | deed))
        return
    if due:
        rows = [(one.account_id, one.webhook_id, one.certificate_id, one.authority_id, _deed(wanted, one)) for one in due]
        click.echo(table(COLUMNS, rows))
    click.echo(f"{_count(due)}; authority {wanted.signs.id} signs now; nothing was changed")


def _deed(wanted: Wanted, due: Due) -> str:
    if due.is_fallback:
        return "not fallen back on any more" + (": its receiver has not taken the new one yet" if due.is_needed else "")
    return f"replaced by one of {wanted.signs.id}" + (", and fallen back on for 7 days" if wanted.keep_fallback else "")


def _count(due: list[Due]) -> str:
    fallbacks = sum(one.is_fallback for one in due)
    return f"{len(due) - fallbacks} to move" + (f", {fallbacks} to fall back on no more" if fallbacks else "")


def _question(wanted: Wanted, due: list[Due]) -> str:
    moving = [one for one in due if not one.is_fallback]
    asked = f"Issue certificates of {wanted.signs.id} to {len(moving)} webhooks"
    if wanted.keep_fallback:
        return f"{asked}? The old ones are fallen back on for 7 days."
    needed = len(moving) + sum(one.is_needed for one in due)
    return (
        f"{asked}, and destroy {len(due)} old keys now? {needed} receivers have not been seen to take their new certificate: "
        f"those that do not trust {wanted.signs.id} get nothing then."
    )


def _tell(wanted: Wanted, result: Result, remaining: int, old: list[Old]) -> None:
    click.echo(f"moved         {result.moved} webhooks to {wanted.signs.id}, which signs now")
    if not wanted.keep_fallback:
        click.echo(f"retired       {result.retired} that were still fallen back on")
    if result.spared:
        click.echo(f"spared        {result.spared} that were deleted, changed or renewed meanwhile")
    if result.failed:
        click.echo(f"not moved     {len(result.failed)}" + (f"; {result.left} more were not tried any more" if result.left else ""))
        rows = [(one.account_id, one.webhook_id, one.certificate_id, why) for one, why in result.failed]
        click.echo(table(("ACCOUNT", "WEBHOOK", "CERTIFICATE", "WHY"), rows))
    if remaining:
        click.echo(f"left to do    {remaining}: run it again, it goes on where it stopped")
        return
    for one in old:
        click.echo(_next(one, wanted))


def _next(old: Old, wanted: Wanted) -> str:
    name = safe(old.authority.id)
    if not old.in_use:
        return f"No certificate of {name} is in use any more. What is left to do: `gridhook ca remove {name}`"
    if wanted.account_id is not None:
        return f"Certificates of {name} are still in use, in other accounts or to fall back on: run this again without --account."
    return (
        f"Certificates of {name} are still fallen back on, each for 7 days after it was replaced; then `gridhook ca remove {name}`. "
        "To end that now, run this again with --no-fallback."
    )


def _shown(wanted: Wanted, result: Result, remaining: int, old: list[Old]) -> dict[str, object]:
    return {
        "authority": wanted.signs.id,
        "moved": result.moved,
        "fallbacks_retired": result.retired,
        "spared": result.spared,
        "failed": [{**_named(one), "error": why} for one, why in result.failed],
        "left": remaining,
        "old_authorities": [{"authority": one.authority.id, "in_use": one.in_use} for one in old],
    }


def _named(due: Due) -> dict[str, object]:
    return {
        "account": due.account_id,
        "webhook": due.webhook_id,
        "certificate": due.certificate_id,
        "authority": due.authority_id,
    }
