"""To the OpenID Connect provider, and back from it."""

from __future__ import annotations

from urllib.parse import parse_qsl

from gridhook.errors import Forbidden
from gridhook.service.single_sign_on import ERRAND_SECONDS, SingleSignOn
from gridhook.web.call import Call
from gridhook.web.operations import page
from gridhook.web.pages.front import Front
from gridhook.web.pages.signing_in import agent_of, let_in, ours
from gridhook.web.pages.views import ROOT
from gridhook.web.problems import NO_STORE, Reply
from gridhook.web.routes import Route

PATH = f"{ROOT}/oidc"
BACK = f"{PATH}/back"
MOST_FIELDS = 20


class SignOnPages:
    def __init__(self, front: Front, provider: SingleSignOn) -> None:
        self._front = front
        self._provider = provider
        self._cookie = front.cookie + "-oidc"

    @page("goToProvider", "To the OpenID Connect provider")
    async def go(self, call: Call) -> Reply:
        url, kept = await self._provider.begin(ours(call.argument("next")))
        return Reply(303, b"", [(b"location", url.encode("ascii")), NO_STORE, self._front.keep(self._cookie, kept, ERRAND_SECONDS)])

    @page("comeFromProvider", "Back from the OpenID Connect provider")
    async def back(self, call: Call) -> Reply:
        try:
            arguments = dict(parse_qsl(call.query.decode("latin-1"), keep_blank_values=True, max_num_fields=MOST_FIELDS))
            email, after = await self._provider.finish(self._front.kept(call, self._cookie), arguments)
            person = await self._front.service.door.by_address(email)
            if person is None:
                raise Forbidden(f"nobody here has the address {email[:255]}, for which your provider vouches; ask an operator to add you")
        except (Forbidden, ValueError) as refusal:
            self._front.service.log.warning("sign-in failed", person="(unknown)", how="oidc", request=call.request_id)
            words = str(refusal) if isinstance(refusal, Forbidden) else "this could not be read; start again"
            # What was kept is used up: to try again is to start again.
            used_up = [self._front.keep(self._cookie, "", 0)]
            return self._front.page("sign_on_refused.html", status=403, headers=used_up, words=words, provider=self._provider.host)
        reply = await let_in(self._front, call, await self._front.service.door.enter(person, agent_of(call)), "oidc", after)
        return Reply(reply.status, reply.body, [*reply.headers, self._front.keep(self._cookie, "", 0)])


def open_provider(front: Front) -> SingleSignOn | None:
    """None when no provider is configured. Raises `Misconfigured`."""
    settings, service = front.settings, front.service
    if not settings.oidc_issuer:
        return None
    redirect_uri = settings.base_url + BACK
    return SingleSignOn(settings=settings, vault=service.vault, clock=service.clock, log=service.log, redirect_uri=redirect_uri)


def routes(front: Front, provider: SingleSignOn | None) -> list[Route]:
    if provider is None:
        return []
    pages = SignOnPages(front, provider)
    return [Route(PATH, {"GET": pages.go}), Route(BACK, {"GET": pages.back})]
