"""What every page needs: who is looking, from where a form came, how a template becomes an answer, and what a refusal looks like."""

from __future__ import annotations

import functools
import hmac
import re
import secrets as chance
from collections import defaultdict
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from gridhook.config import Settings
from gridhook.errors import Forbidden, GridhookError, NotFound, TooMany, Unauthenticated, Unavailable
from gridhook.model import Account, Webhook
from gridhook.service import Service
from gridhook.service.people import Visitor
from gridhook.web.call import Call, Handler, is_id
from gridhook.web.pages import forms, templates
from gridhook.web.pages.forms import Form
from gridhook.web.pages.views import ROOT, View
from gridhook.web.problems import DEFECT, NO_SNIFF, NO_STORE, Headers, Refusal, Reply, is_ours
from gridhook.web.routes import Route

_HTML = (b"content-type", b"text/html; charset=utf-8")
# No inline script or style, no other host, nothing embeds us, no form leads elsewhere.
_POLICY: Headers = [
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        b"base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    (b"referrer-policy", b"same-origin"),
    NO_SNIFF,
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
]
GONE = "There is no such page here, or it is another account's."


DOOR_SECONDS = 86_400
_DOOR_SECRET = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


def _back_to(call: Call, in_place: bool) -> str:
    """The query for the form to sign in: where to go on afterwards, and whether something was sent that is lost."""
    asked: dict[str, str] = {}
    if call.method in ("GET", "HEAD") and not in_place:
        # As it was asked for: the id of an event may hold a slash.
        asked["next"] = call.raw_path + (f"?{call.query.decode('latin-1')}" if call.query else "")
    else:
        # The page that a form or a piece belongs to. Whatever stands there, the form to sign in takes pages of ours alone.
        page = call.header(b"hx-current-url" if in_place else b"referer") or ""
        path = page.partition("://")[2].partition("/")[2].partition("#")[0]
        if path:
            asked["next"] = f"/{path}"
    if call.method == "POST" and call.path != f"{ROOT}/sign-out":
        asked["unsaved"] = "1"
    return f"?{urlencode(asked, safe='/', quote_via=quote)}" if asked else ""


class NotInPlan(Forbidden):
    """An account without webhooks in its plan: a page says so kindly. Operators get in."""

    def __init__(self, account: Account) -> None:
        super().__init__("webhooks are part of the Enterprise plan; contact us to have them enabled for this account")
        self.account = account


def looks_ahead(call: Call) -> bool:
    """Whether a scanner asks for the head alone, or a browser for a page that it may never show."""
    return call.method == "HEAD" or "prefetch" in (call.header(b"sec-purpose") or "")


class Front:
    def __init__(self, service: Service, settings: Settings) -> None:
        self.service = service
        self.settings = settings
        # `__Host-`: this host's alone, over https alone. On plain http (a trial on one's own machine) browsers refuse such a name.
        self._is_secure = settings.base_url.startswith("https://")
        self.cookie = "__Host-gridhook" if self._is_secure else "gridhook"
        self.browser_cookie = self.cookie + "-browser"  # see service/door.py
        self.door_cookie = self.cookie + "-door"  # the secret behind the token of forms that need no session

    # --- who is looking -----------------------------------------------------------------------------------------

    async def visitor(self, call: Call) -> Visitor:
        """Raises `Unauthenticated`."""
        # Pieces that an open page fetches anew, and its stream. A person who is there loads a page or sends a form now and then.
        wants_stream = call.header(b"accept") == "text/event-stream"
        by_itself = call.method == "GET" and (call.header(b"hx-request") == "true" or wants_stream)
        return await self.service.people.visitor(self.token(call), by_itself=by_itself)

    async def view(self, call: Call) -> View:
        """The visitor in the account that the path names. Raises `Unauthenticated`; `NotFound` for an account that is none of theirs."""
        visitor = await self.visitor(call)
        account_id = call.params["account_id"]
        role = visitor.role(account_id) if is_id(account_id) else None
        if role is None:
            raise NotFound(GONE)
        try:
            account = await self.service.account(account_id)
        except NotFound:
            raise NotFound(GONE) from None
        if not account.enterprise and not visitor.is_operator:
            raise NotInPlan(account)
        return View(visitor, account, role, call.path, looks_ahead(call))

    async def change(self, call: Call) -> tuple[View, Form]:
        """The visitor and what they sent, from a form of ours. Raises `Forbidden` for viewers and for other sites' forms."""
        view = await self.view(call)
        form = await forms.read_form(call, view.visitor.csrf)
        if not view.may_change:
            raise Forbidden("you may look at this account, and change nothing; ask one of its admins")
        return view, form

    async def webhook(self, view: View, call: Call) -> Webhook:
        """Raises `NotFound` with the same words for one that is gone, never was, or is another account's."""
        webhook_id = call.params["webhook_id"]
        try:
            if is_id(webhook_id):
                return await self.service.store.webhook(view.account.id, webhook_id)
        except NotFound:
            pass
        raise NotFound("This webhook does not exist: it was deleted, never was, or is another account's.")

    def signed_in(self, token: str) -> tuple[bytes, bytes]:
        """The header that makes a browser carry this session."""
        return self.keep(self.cookie, token, int(self.settings.session_hours * 3600))

    def signed_out(self) -> tuple[bytes, bytes]:
        return self.keep(self.cookie, "", 0)

    def keep(self, name: str, value: str, seconds: int) -> tuple[bytes, bytes]:
        """The header that makes a browser keep this for so long."""
        secure = "; Secure" if self._is_secure else ""
        # Lax: a link in a mail leads to the page; forms of other sites carry no cookie.
        return b"set-cookie", f"{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}".encode()

    def stranger(self, call: Call) -> tuple[str, Headers]:
        """For a form that needs no session: its token, and the header to send with the form. Without it another site could sign a
        visitor in as somebody else, in a browser too old to say from where a form came."""
        secret = self.kept(call, self.door_cookie)
        headers: Headers = []
        if not _DOOR_SECRET.fullmatch(secret):
            secret = chance.token_urlsafe(32)
            headers.append(self.keep(self.door_cookie, secret, DOOR_SECONDS))
        return hmac.digest(secret.encode(), b"gridhook console door", "sha256").hex(), headers

    def note(self, view: View, did: str, **more: object) -> None:
        """A line in the log for each change that a person makes."""
        self.service.log.info("changed in the console", person=view.visitor.email, account=view.account.id, did=did, **more)

    # --- answers ------------------------------------------------------------------------------------------------

    async def show(self, view: View, template: str, *, status: int = 200, **context: Any) -> Reply:
        """A whole page of an account, with what was left for this visitor to see here once (`told`)."""
        # What is shown once is for eyes.
        told = {} if view.looks_ahead else await self.service.people.left(view.visitor, view.path)
        return self.page(template, status=status, view=view, visitor=view.visitor, csrf=view.visitor.csrf, told=told, **context)

    async def mine(self, visitor: Visitor, path: str, template: str, *, status: int = 200, **context: Any) -> Reply:
        """A whole page of a person's own, in no account; otherwise as `show`."""
        told = await self.service.people.left(visitor, path)
        return self.page(template, status=status, visitor=visitor, csrf=visitor.csrf, told=told, **context)

    def page(self, template: str, *, status: int = 200, headers: Headers | None = None, **context: Any) -> Reply:
        """A template as an answer. Fragments for htmx are pages like any other."""
        context = {"view": None, "visitor": None, "csrf": "", "root": ROOT, "status": status, **context}
        # Of these, templates ask for what may not be there.
        context["told"] = defaultdict(str, context.get("told", {}))
        context["errors"] = defaultdict(str, context.get("errors", {}))
        text = templates.render(template, now=self.service.clock.now(), **context)
        return Reply(status, text.encode(), [_HTML, NO_STORE, *_POLICY, *(headers or [])])

    def fragment(self, view: View, template: str, *, status: int = 200, **context: Any) -> Reply:
        """A piece of a page, for htmx to put into its place."""
        return self.page(template, status=status, view=view, visitor=view.visitor, csrf=view.visitor.csrf, **context)

    def go(self, path: str, headers: Headers | None = None) -> Reply:
        """Off to another page of ours, with GET: what was posted is not posted again by loading it anew."""
        return Reply(303, b"", [(b"location", quote(path, safe="/?&=%:@+,;~").encode()), NO_STORE, *(headers or [])])

    async def done(self, view: View | Visitor, path: str, **told: str) -> Reply:
        """Off to another page, which will show `told` once: notice="...", or a secret such as private_key="..."."""
        if told:
            await self.service.people.leave(view.visitor if isinstance(view, View) else view, path, told)
        return self.go(path)

    # --- refusals -----------------------------------------------------------------------------------------------

    def dressed(self, route: Route) -> Route:
        """The same route, its refusals shown as pages."""
        return Route(route.path, {method: self._dressed(handler) for method, handler in route.handlers.items()})

    def _dressed(self, handler: Handler) -> Handler:
        @functools.wraps(handler)
        async def shown(call: Call) -> Reply:
            try:
                return await handler(call)
            except GridhookError as error:
                if is_ours(error):
                    raise
                return await self._refused(call, error)

        return shown

    async def _refused(self, call: Call, error: GridhookError) -> Reply:
        in_place = call.header(b"hx-request") == "true"
        if isinstance(error, Unauthenticated) and call.header(b"accept") == "text/event-stream":
            # The browser does not ask again. Sent to the form, it would fetch one beside the person's own, with another cookie for it.
            return Reply(204, b"", [NO_STORE])
        if isinstance(error, Unauthenticated) and self._is_stranger_at(call):
            sign_in = f"{ROOT}/sign-in{_back_to(call, in_place)}"
            return Reply(401, b"", [(b"hx-redirect", sign_in.encode()), NO_STORE]) if in_place else self.go(sign_in)
        headers: Headers = []
        if isinstance(error, TooMany | Unavailable):
            headers.append((b"retry-after", b"%d" % error.retry_after))
        context: Mapping[str, Any] = {"words": str(error), "request_id": call.request_id}
        if in_place:
            return self.page("refusal_fragment.html", status=error.status, headers=headers, **context)
        try:
            visitor: Visitor | None = await self.visitor(call)
        except GridhookError:
            visitor = None
        if isinstance(error, NotInPlan) and visitor is not None:
            return self.page("not_in_plan.html", status=error.status, visitor=visitor, csrf=visitor.csrf, account=error.account)
        if visitor is not None:
            context = {**context, "csrf": visitor.csrf}  # the way out stands on this page too
        return self.page("refusal.html", status=error.status, headers=headers, visitor=visitor, **context)

    def outside(self, error: GridhookError, request_id: str) -> Reply:
        """The page for what no handler of ours answered: there is no such page, or it takes no such method."""
        words = GONE if error.status == 404 else str(error)
        headers = error.headers if isinstance(error, Refusal) else []
        return self.page("refusal.html", status=error.status, headers=headers, words=words, request_id=request_id)

    def broken(self, request_id: str) -> Reply:
        """500: nothing of what happened is told; the log has it under this request id. It needs no template, which may be what broke."""
        words = f"<p>{DEFECT}.</p><p>Request {request_id}</p>"  # the id is ours, or letters, digits and -._: alone
        page = f'<!doctype html><html lang="en"><head><title>Something went wrong</title></head><body><h1>Something went wrong</h1>{words}'
        return Reply(500, f"{page}</body></html>".encode(), [_HTML, NO_STORE, *_POLICY])

    def _is_stranger_at(self, call: Call) -> bool:
        return not call.path.startswith((f"{ROOT}/sign-in", f"{ROOT}/link/"))

    def token(self, call: Call) -> str:
        """The session's cookie; empty when there is none."""
        return self.kept(call, self.cookie)

    def kept(self, call: Call, cookie: str) -> str:
        """What a browser keeps under this name; empty when nothing."""
        for part in (call.header(b"cookie") or "").split(";"):
            name, _, value = part.strip().partition("=")
            if name == cookie:
                return value
        return ""
