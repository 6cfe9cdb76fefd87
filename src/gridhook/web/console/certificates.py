"""A webhook's client certificates: which there are, the next one, and the way back. Their keys never leave the sender."""

from __future__ import annotations

from gridhook.errors import NotFound
from gridhook.model import Certificate, Webhook
from gridhook.service import Service
from gridhook.service.certificates import Shown
from gridhook.web.auth import Authenticator
from gridhook.web.authorities import PEM
from gridhook.web.call import Call, is_id
from gridhook.web.console import NOT_FOUND, ONE, Section
from gridhook.web.operations import Access, Answer, operation
from gridhook.web.problems import NO_SNIFF, NO_STORE, Headers, Reply, reply
from gridhook.web.routes import Route
from gridhook.web.shapes import certificates as shapes

TAG = "Certificates"
NO_CERTIFICATE = "Certificate not found"
NEITHER = {404: "There is no such webhook or certificate, or it is another account's."}
SUFFIX = ".pem"


class Certificates(Section):
    @operation(
        "listCertificates",
        TAG,
        "Show a webhook's client certificates",
        "Which is presented, which is fallen back on, whether the receiver has accepted them, and those of before. None for a webhook "
        "that never was mtls.",
        access=Access.ACCOUNT,
        answers={200: Answer("The one that is presented, then the others, newest first.", shapes.Certificates)},
        refusals=NOT_FOUND,
    )
    async def list(self, call: Call) -> Reply:
        caller = await self._authenticate(call)
        webhook = await self._webhook(caller.account_id, call)
        found = await self._service.certificates.listed(caller.account_id, webhook.id)
        return reply(200, shapes.Certificates(certificates=[shapes.shown(one) for one in found]))

    @operation(
        "issueCertificate",
        TAG,
        "Issue the next certificate",
        "Requests present it from now on. For 7 days, when the receiver's TLS layer refuses it, the same attempt is repeated at once with "
        "the one before it. Asked for again before the receiver accepted it, it replaces only itself: the one that the receiver knows "
        "stays the one to fall back on.",
        access=Access.ACCOUNT,
        answers={201: Answer("The certificate that is presented now.", shapes.CertificateWithPem)},
        refusals={**NOT_FOUND, 409: "The webhook proves itself with a Private Key: change its `auth_method` to mtls first."},
    )
    async def issue(self, call: Call) -> Reply:
        caller = await self._authenticate(call)
        webhook = await self._webhook(caller.account_id, call)
        issued = await self._service.certificates.rotate(caller.account_id, webhook.id)
        return reply(201, shapes.with_pem(await self._one(webhook, issued.id)))

    @operation(
        "getCertificate",
        TAG,
        "Show one certificate, or download it",
        "As JSON; as a file (the certificate, then its issuer's) with `Accept: application/x-pem-file`, or with `.pem` behind the id.",
        access=Access.ACCOUNT,
        answers={200: Answer("The certificate.", shapes.CertificateWithPem, also=(PEM,))},
        refusals=NEITHER,
    )
    async def get(self, call: Call) -> Reply:
        caller = await self._authenticate(call)
        webhook = await self._webhook(caller.account_id, call)
        name = call.params["certificate_id"]
        one = await self._one(webhook, name.removesuffix(SUFFIX))
        return pem_file(one.certificate) if name.endswith(SUFFIX) or _asks_for_file(call) else reply(200, shapes.with_pem(one))

    @operation(
        "cancelCertificate",
        TAG,
        "Take back a certificate that the receiver has not accepted",
        "The one before it is presented again. The key of the one that is taken back is destroyed at once.",
        access=Access.ACCOUNT,
        answers={200: Answer("The certificate that is presented again.", shapes.CertificateWithPem)},
        refusals={
            **NEITHER,
            409: "The receiver has accepted it, it is not the one that is presented, or there is none to fall back on: issue another.",
        },
    )
    async def cancel(self, call: Call) -> Reply:
        caller = await self._authenticate(call)
        webhook = await self._webhook(caller.account_id, call)
        one = await self._one(webhook, call.params["certificate_id"])
        again = await self._service.certificates.cancel(caller.account_id, webhook.id, one.certificate.id)
        return reply(200, shapes.with_pem(await self._one(webhook, again.id)))

    async def _one(self, webhook: Webhook, certificate_id: str) -> Shown:
        if not is_id(certificate_id):
            raise NotFound(NO_CERTIFICATE)
        try:
            return await self._service.certificates.one(webhook.account_id, webhook.id, certificate_id)
        except NotFound:
            raise NotFound(NO_CERTIFICATE) from None


def _asks_for_file(call: Call) -> bool:
    """Only when it is named: who takes anything gets JSON, as everywhere."""
    ranges = (part.partition(";")[0].strip().lower() for part in (call.header(b"accept") or "").split(","))
    return PEM in ranges


def pem_file(certificate: Certificate) -> Reply:
    """The certificate, then its issuer's, to be kept as a file."""
    name = f"{certificate.webhook_id}-{certificate.id}{SUFFIX}".encode()
    headers: Headers = [
        (b"content-type", PEM.encode()),
        (b"content-disposition", b'attachment; filename="%s"' % name),
        NO_SNIFF,
        NO_STORE,
    ]
    return Reply(200, shapes.pem_of(certificate), headers)


def routes(service: Service, authenticate: Authenticator) -> list[Route]:
    certificates = Certificates(service, authenticate)
    return [
        Route(ONE + "/certificates", {"GET": certificates.list, "POST": certificates.issue}),
        Route(ONE + "/certificates/{certificate_id}", {"GET": certificates.get, "DELETE": certificates.cancel}),
    ]
