"""`gridhook ca`: the certificate authority whose client certificates webhooks present, and its successors."""

from __future__ import annotations

from pathlib import Path

import click

from gridhook.cli import options
from gridhook.cli.database import with_service
from gridhook.cli.reissue import reissue
from gridhook.cli.terminal import Failure, instant, json_line, safe, table
from gridhook.errors import NotFound
from gridhook.model import Authority
from gridhook.service import Service

LARGEST_FILE = 64 * 1024
SIGNS_IN = "How long after now it begins to sign, such as 7d or 36h: by then receivers must trust it. The first authority signs at once."


@click.group(cls=options.InOrder)
def ca() -> None:
    """Our certificate authority: receivers of mTLS webhooks trust it. Works while the server runs.

    A successor is made with `roll`: it is published at once and signs later, so that receivers can trust it before they meet it.
    """


@ca.command("show")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def show(as_json: bool) -> None:
    """All authorities that are published, newest first, and which of them signs."""

    async def work(service: Service) -> tuple[list[Authority], Authority | None]:
        return await service.authorities.listed(), await service.authorities.signing()

    found, signs = with_service(work)
    if as_json:
        for one in found:
            click.echo(json_line({**_shown(one), "signs_now": one == signs}))
        return
    if not found:
        click.echo("no certificate authority yet: it is made with the first mTLS webhook, or by `gridhook ca create`")
        return
    rows = [
        (one.id, one.fingerprint, instant(one.signs_from_at), instant(one.expires_at), "yes" if one == signs else "no") for one in found
    ]
    click.echo(table(("AUTHORITY", "SHA-256 FINGERPRINT", "SIGNS FROM", "EXPIRES", "SIGNS NOW"), rows))


@ca.command("pem")
@click.argument("authority_id", metavar="[ID]", required=False, type=options.text)
def pem(authority_id: str | None) -> None:
    """The certificates of all published authorities as PEM: what receivers must trust. The first one is made if there is none.

    With ID of this authority only: for receivers that must stop trusting another.
    """

    async def work(service: Service) -> bytes:
        if authority_id is None:
            return await service.authorities.bundle()
        for one in await service.authorities.listed():
            if one.id == authority_id:
                return one.certificate
        raise NotFound(f"no authority {authority_id}")

    click.echo(with_service(work, make=True).decode("ascii"), nl=False)


@ca.command("create")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def create(as_json: bool) -> None:
    """Make the first authority now, rather than with the first mTLS webhook."""

    async def work(service: Service) -> Authority:
        return await service.authorities.create()

    _tell(with_service(work, make=True), as_json)


@ca.command("roll")
@click.option("--signs-in", type=options.duration, default="7d", show_default=True, help=SIGNS_IN)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def roll(signs_in: int, as_json: bool) -> None:
    """Make a successor: published now, beside the one that signs, and signing later.

    Webhooks take certificates of it as theirs are renewed, or all at once by `reissue`. Remove the old authority when none of its
    certificates is in use.
    """

    async def work(service: Service) -> Authority:
        return await service.authorities.roll(signs_in_ms=signs_in)

    _tell(with_service(work), as_json)


@ca.command("import")
@click.option("--certificate", type=click.Path(path_type=Path), required=True, help="File with the CA's certificate, PEM.")
@click.option("--key", type=click.Path(path_type=Path), required=True, help="File with its private key, PEM, not encrypted.")
@click.option("--signs-in", type=options.duration, default="7d", show_default=True, help=SIGNS_IN)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def import_(certificate: Path, key: Path, signs_in: int, as_json: bool) -> None:
    """Take an authority that was made elsewhere. Its key is kept sealed; delete the file afterwards.

    Its key: EC P-256, EC P-384 or RSA of at least 2048 bits. Its certificate: a root, alone in its file, with a subject, basicConstraints
    CA:TRUE, keyUsage with keyCertSign and a subjectKeyIdentifier; an extendedKeyUsage, if any, has clientAuth; nameConstraints, if any,
    name no URIs and permit no directory names.
    """
    certificate_pem, key_pem = _read(certificate), _read(key)

    async def work(service: Service) -> Authority:
        return await service.authorities.import_(certificate_pem, key_pem, signs_in_ms=signs_in)

    _tell(with_service(work, make=True), as_json)


ca.add_command(reissue)


@ca.command("remove")
@click.argument("authority_id", metavar="ID", type=options.text)
def remove(authority_id: str) -> None:
    """Publish authority ID no longer, and destroy its key. Refused while it signs, or while a webhook uses a certificate of it."""

    async def work(service: Service) -> None:
        await service.authorities.remove(authority_id)

    with_service(work)
    click.echo(f"{safe(authority_id)}: removed; receivers need not trust it any more")


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise Failure(f"{path} is larger than {LARGEST_FILE} bytes: it holds something else")
    return content


def _tell(authority: Authority, as_json: bool) -> None:
    if as_json:
        click.echo(json_line(_shown(authority)))
        return
    click.echo(f"authority     {authority.id}")
    click.echo(f"fingerprint   {authority.fingerprint}   (SHA-256)")
    click.echo(f"signs from    {instant(authority.signs_from_at)}")
    click.echo(f"expires       {instant(authority.expires_at)}")
    click.echo("give receivers the output of `gridhook ca pem`; they must trust it before this authority signs")


def _shown(authority: Authority) -> dict[str, object]:
    return {
        "authority": authority.id,
        "fingerprint": authority.fingerprint,
        "created_at": instant(authority.created_at),
        "signs_from_at": instant(authority.signs_from_at),
        "expires_at": instant(authority.expires_at),
    }
