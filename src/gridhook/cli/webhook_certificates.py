"""`gridhook webhooks certificates`, `certificate`, `rotate-certificate`, `cancel-certificate`: what an mTLS webhook presents."""

from __future__ import annotations

import click

from gridhook.cli import options
from gridhook.cli.api import Api, under
from gridhook.cli.database import with_service
from gridhook.cli.shown import builtin
from gridhook.cli.terminal import Failure, instant, json_line, safe, table
from gridhook.service import Service
from gridhook.service.certificates import Shown
from gridhook.web.shapes import certificates as shapes

COLUMNS = ("CERTIFICATE", "STATE", "ACCEPTED", "EXPIRES", "FALLBACK UNTIL", "SERIAL", "SHA-256 FINGERPRINT")


@click.command("certificates")
@options.webhook
@options.looks
def certificates(webhook_id: str, account: str, as_json: bool) -> None:
    """The client certificates of a webhook: which is presented, whether the receiver has accepted it, which is fallen back on.

    \b
    gridhook webhooks certificates wh_... --account acc_...
    """
    found = _listed(account, webhook_id)
    if as_json:
        for one in found:
            click.echo(json_line({"webhook": webhook_id, **builtin(shapes.shown(one))}))
        return
    rows = [
        (
            one.certificate.id,
            one.state.value,
            instant(one.certificate.accepted_at) if one.certificate.accepted_at is not None else "not yet",
            instant(one.certificate.expires_at),
            instant(one.certificate.retires_at) if one.certificate.retires_at is not None else "-",
            one.certificate.serial,
            one.certificate.fingerprint,
        )
        for one in found
    ]
    click.echo(table(COLUMNS, rows))


@click.command("certificate")
@options.webhook
@click.argument("certificate_id", metavar="[CERTIFICATE]", required=False, type=options.text)
@options.account
def certificate(webhook_id: str, certificate_id: str | None, account: str) -> None:
    """Print a client certificate and its issuer's as PEM; without CERTIFICATE the one that is presented. There is no key in it.

    \b
    gridhook webhooks certificate wh_... --account acc_... > client.pem
    """
    found = _listed(account, webhook_id)
    wanted = [one for one in found if certificate_id in (None, one.certificate.id)]
    if certificate_id is None:
        wanted = [one for one in wanted if one.certificate.replaced_at is None]
    if not wanted:
        raise Failure(f"webhook {webhook_id} presents no certificate" if certificate_id is None else f"no certificate {certificate_id}")
    click.echo(wanted[0].certificate.chain.decode("ascii"), nl=False)


@click.command("rotate-certificate")
@options.webhook
@options.needs_server
def rotate_certificate(webhook_id: str, account: str, server: str | None, as_json: bool) -> None:
    """Issue the next client certificate; it is presented from now on. For 7 days the one before it is fallen back on.

    At most ten a minute, all webhooks of the account together.

    \b
    gridhook webhooks rotate-certificate wh_... --account acc_...
    """
    issued = Api.open(account, server).post(under(webhook_id, "certificates"))
    if as_json:
        click.echo(json_line({"webhook": webhook_id, **issued}))
        return
    click.echo(f"certificate   {safe(issued['id'])}, presented from now on, until {safe(issued['expires_at'])}")
    click.echo(f"serial        {safe(issued['serial'])}")
    click.echo(f"fingerprint   {safe(issued['fingerprint'])}   (SHA-256)")
    click.echo(
        f"`gridhook webhooks certificates {safe(webhook_id)}` says when the receiver has accepted it; until then it can be taken back, "
        "as long as the one before it is valid."
    )


@click.command("cancel-certificate")
@options.webhook
@click.argument("certificate_id", metavar="CERTIFICATE", type=options.text)
@options.needs_server
def cancel_certificate(webhook_id: str, certificate_id: str, account: str, server: str | None, as_json: bool) -> None:
    """Take back a certificate that the receiver has not accepted: the one before it is presented again.

    \b
    gridhook webhooks cancel-certificate wh_... crt_... --account acc_...
    """
    again = Api.open(account, server).delete(under(webhook_id, "certificates", certificate_id))
    if as_json:
        click.echo(json_line({"webhook": webhook_id, "certificate": certificate_id, "cancelled": True, "presented": again["id"]}))
        return
    click.echo(f"{safe(certificate_id)}: cancelled; {safe(again['id'])} is presented again")


def _listed(account: str, webhook_id: str) -> list[Shown]:
    async def work(service: Service) -> list[Shown]:
        return await service.certificates.listed(account, webhook_id)

    return with_service(work)
