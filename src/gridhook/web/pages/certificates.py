"""A webhook's client certificates: which there are, the next one, the way back; and how a webhook proves itself at all."""

from __future__ import annotations

from gridhook.errors import Conflict, Forbidden, Invalid, NotFound, Stale, TooMany
from gridhook.model import AuthMethod, Webhook
from gridhook.web.call import Call, is_id
from gridhook.web.console.certificates import SUFFIX, pem_file
from gridhook.web.operations import page
from gridhook.web.pages.front import Front
from gridhook.web.pages.settings import SETTINGS, address, certificates_of, detail_of, sentence, show
from gridhook.web.pages.views import View
from gridhook.web.problems import Reply
from gridhook.web.routes import Route

NO_CERTIFICATE = "This certificate does not exist, or is another webhook's."


class Certificates:
    def __init__(self, front: Front) -> None:
        self._front = front

    @page("seeCertificates", "A webhook's certificates, as a piece of its settings")
    async def look(self, call: Call) -> Reply:
        """For htmx: acceptance by the receiver is seen as it happens."""
        view = await self._front.view(call)
        found = await detail_of(self._front, view, call)
        return self._front.fragment(
            view,
            "settings_certificates.html",
            webhook=found.webhook,
            here=address(view, found.webhook.id),
            is_proving=found.webhook.auth_method is AuthMethod.MTLS,
            certificates=certificates_of(found, self._front.service.clock.now()),
        )

    @page("downloadCertificate", "One of a webhook's certificates, in PEM")
    async def download(self, call: Call) -> Reply:
        view = await self._front.view(call)
        webhook = await self._front.webhook(view, call)
        certificate_id = call.params["certificate_id"].removesuffix(SUFFIX)
        if not is_id(certificate_id):
            raise NotFound(NO_CERTIFICATE)
        try:
            one = (await self._front.service.certificates.one(view.account.id, webhook.id, certificate_id)).certificate
        except NotFound:
            raise NotFound(NO_CERTIFICATE) from None
        return pem_file(one)

    @page("issueCertificate", "Issue the next certificate")
    async def rotate(self, call: Call) -> Reply:
        view, _ = await self._front.change(call)
        webhook = await self._front.webhook(view, call)
        try:
            issued = await self._front.service.certificates.rotate(view.account.id, webhook.id)
        except (Conflict, TooMany) as refusal:
            return await show(self._front, view, call, status=refusal.status, errors={"certificates": sentence(refusal)})
        self._front.note(view, "issued a certificate", webhook=webhook.id, certificate=issued.id)
        words = "The next certificate is issued; requests present it from now on."
        return await self._front.done(view, address(view, webhook.id), notice=words)

    @page("cancelCertificate", "Take back a certificate that the receiver has not accepted")
    async def cancel(self, call: Call) -> Reply:
        view, form = await self._front.change(call)
        webhook = await self._front.webhook(view, call)
        certificate_id = form.text("certificate_id")
        try:
            if not is_id(certificate_id):
                raise NotFound(NO_CERTIFICATE)
            again = await self._front.service.certificates.cancel(view.account.id, webhook.id, certificate_id)
        except Conflict as refusal:
            return await show(self._front, view, call, status=409, errors={"certificates": sentence(refusal)})
        self._front.note(view, "took back a certificate", webhook=webhook.id, certificate=certificate_id)
        words = f"Taken back: requests present the certificate with serial number {again.serial} again."
        return await self._front.done(view, address(view, webhook.id), notice=words)

    # --- bearer token or mTLS -----------------------------------------------------------------------------------

    @page("seeSwitch", "What another authentication means, before it is chosen")
    async def ask(self, call: Call) -> Reply:
        view = await self._front.view(call)
        if not view.may_change:
            raise Forbidden("you may look at this account, and change nothing; ask one of its admins")
        return await self._asked(view, await self._front.webhook(view, call))

    @page("switchAuthentication", "Prove who calls in another way")
    async def switch(self, call: Call) -> Reply:
        view, form = await self._front.change(call)
        webhook = await self._front.webhook(view, call)
        wanted = form.text("auth_method")
        if wanted not in list(AuthMethod):
            raise Invalid("auth_method", "must be bearer_token or mtls")
        method = AuthMethod(wanted)
        try:
            revision = int(form.number("revision") or 0)
            created = await self._front.service.webhooks.switch_auth(view.account.id, webhook.id, method, revision=revision)
        except Stale:
            words = "This webhook was changed while you were reading: look at it again, then decide."
            return await self._asked(view, await self._front.webhook(view, call), words, 412)
        except (Conflict, Invalid) as refusal:
            return await self._asked(view, await self._front.webhook(view, call), sentence(refusal, ""), refusal.status)
        self._front.note(view, "switched the authentication", webhook=webhook.id, to=method.value)
        here = address(view, webhook.id)
        if created.private_key is not None:
            notice = "Deliveries carry a Private Key from now on, and present no certificate."
            return await self._front.done(view, here, notice=notice, private_key=created.private_key)
        return await self._front.done(view, here, notice="Requests present a client certificate from now on, and carry no Private Key.")

    async def _asked(self, view: View, webhook: Webhook, words: str = "", status: int = 200) -> Reply:
        return await self._front.show(
            view,
            "settings_authentication.html",
            status=status,
            webhook=webhook,
            here=address(view, webhook.id),
            errors={"": words} if words else {},
            is_proving=webhook.auth_method is AuthMethod.MTLS,
            is_https=webhook.url.lower().startswith("https:"),
        )


def routes(front: Front) -> list[Route]:
    pages = Certificates(front)
    return [
        Route(SETTINGS + "/certificates", {"GET": pages.look, "POST": pages.rotate}),
        Route(SETTINGS + "/certificates/cancel", {"POST": pages.cancel}),
        Route(SETTINGS + "/certificates/{certificate_id}", {"GET": pages.download}),
        Route(SETTINGS + "/authentication", {"GET": pages.ask, "POST": pages.switch}),
    ]
