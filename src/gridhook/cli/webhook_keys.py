"""`gridhook webhooks rotate-key`, `cancel-key`, `sign`, `unsign`: the secrets that a webhook's deliveries carry."""

from __future__ import annotations

import click

from gridhook.cli import options
from gridhook.cli.api import Api, under
from gridhook.cli.terminal import json_line, safe
from gridhook.clock import SystemClock
from gridhook.model import Instant
from gridhook.rules.instants import rfc3339

ONCE = "shown once; only its sealed form is kept"


@click.command("rotate-key")
@options.webhook
@click.option("--in", "wait_ms", type=options.duration, help="Use it only after this time, so that the receiver can learn it: at most 7d.")
@click.option("--at", type=options.time, help="Use it from this instant on, RFC 3339.")
@options.needs_server
def rotate_key(webhook_id: str, wait_ms: int | None, at: Instant | None, account: str, server: str | None, as_json: bool) -> None:
    """Make a new Private Key; prints it once. Without --in or --at it is used at once.

    \b
    gridhook webhooks rotate-key wh_... --in 2h --account acc_...
    """
    if wait_ms is not None and at is not None:
        raise click.UsageError("give --in or --at")
    activates_at = SystemClock().now() + wait_ms if wait_ms is not None else at
    wanted = {} if activates_at is None else {"activates_at": rfc3339(activates_at)}
    issued = Api.open(account, server).post(under(webhook_id, "private-key"), wanted)
    if as_json:
        click.echo(json_line({"webhook": webhook_id, **issued}))
        return
    click.echo(f"Private Key   {issued['private_key']}   ({ONCE})")
    click.echo(f"key id        {safe(issued['id'])}, used from {safe(issued['activates_at'])} on")


@click.command("cancel-key")
@options.webhook
@click.argument("key", type=options.text)
@options.needs_server
def cancel_key(webhook_id: str, key: str, account: str, server: str | None, as_json: bool) -> None:
    """Take back a Private Key that is not in use yet; its id is in `gridhook webhooks show`.

    \b
    gridhook webhooks cancel-key wh_... cred_... --account acc_...
    """
    Api.open(account, server).delete(under(webhook_id, "private-key", key))
    click.echo(json_line({"webhook": webhook_id, "key": key, "cancelled": True}) if as_json else f"{safe(key)}: cancelled")


@click.command("sign")
@options.webhook
@click.option("--overlap", "overlap_ms", type=options.duration, help="How long a key that it replaces signs along; left out: 1 day.")
@options.needs_server
def sign(webhook_id: str, overlap_ms: int | None, account: str, server: str | None, as_json: bool) -> None:
    """Sign deliveries as Standard Webhooks says, beside the Private Key; prints the signing key once. Again: a new key.

    \b
    gridhook webhooks sign wh_... --overlap 24h --account acc_...
    """
    wanted = {} if overlap_ms is None else {"overlap_seconds": overlap_ms // 1000}
    issued = Api.open(account, server).post(under(webhook_id, "signing-key"), wanted)
    if as_json:
        click.echo(json_line({"webhook": webhook_id, **issued}))
        return
    click.echo(f"signing key   {issued['signing_key']}   ({ONCE})")
    click.echo(f"key id        {safe(issued['id'])}")


@click.command("unsign")
@options.webhook
@click.option("--yes", is_flag=True, help="Do not ask.")
@options.needs_server
def unsign(webhook_id: str, yes: bool, account: str, server: str | None, as_json: bool) -> None:
    """Stop signing, and forget the signing keys: a receiver that demands signatures refuses what comes then.

    \b
    gridhook webhooks unsign wh_... --account acc_...
    """
    if not yes:
        click.confirm(f"Send {safe(webhook_id)} deliveries without a signature, and forget its signing keys?", abort=True, err=True)
    Api.open(account, server).delete(under(webhook_id, "signing-key"))
    click.echo(
        json_line({"webhook": webhook_id, "signing": False}) if as_json else f"{safe(webhook_id)}: deliveries are not signed any more"
    )
