"""Trying things out: a test send, and what we think of a URL."""

from __future__ import annotations

import msgspec

from gridhook.rules import inspection
from gridhook.service import Service
from gridhook.web.auth import Authenticator
from gridhook.web.call import Call
from gridhook.web.console import BASE, NOT_FOUND, ONE, Section
from gridhook.web.operations import Access, Answer, Body, operation
from gridhook.web.problems import Reply, reply
from gridhook.web.reading import read_body
from gridhook.web.routes import Route
from gridhook.web.shapes import attempts, webhooks
from gridhook.web.shapes.checks import CheckedUrl

TAG = "Trying out"
JSON = "application/json"


class Trying(Section):
    @operation(
        "sendTest",
        TAG,
        "Send a test event",
        "Sends one synthetic event of this type now, once, without retries, and answers with what came of it. Its `data` keeps the "
        "type's schema; `source` is /accessgrid/test and `test` is true. The receiver gets it as it would get a real one.",
        access=Access.ACCOUNT,
        body=Body({JSON: webhooks.NewTest}, {"usual": (JSON, {"type": "ag.access_pass.issued"})}),
        answers={200: Answer("The attempt in full, whatever the receiver answered.", attempts.AttemptDetail)},
        refusals={**NOT_FOUND, 409: "The webhook is pending: its URL is not proven.", 422: "There is no such event type."},
    )
    async def send(self, call: Call) -> Reply:
        caller = await self._authenticate(call)
        webhook = await self._webhook(caller.account_id, call)
        wanted = read_body(caller.body, webhooks.NewTest, needs="type")
        found = await self._service.webhooks.send_test(caller.account_id, webhook.id, wanted.type)
        detail = await self._service.webhooks.detail(caller.account_id, webhook.id, most=0)
        return reply(200, attempts.in_full(found, detail.headers, [one.certificate for one in detail.certificates]))

    @operation(
        "checkUrl",
        TAG,
        "Check a URL",
        "What registering this URL, or a delivery to it, would meet at this moment: each address that its host resolves to, the range "
        "that refuses it, what to change. Nothing is sent to it.",
        access=Access.ACCOUNT,
        body=Body({JSON: webhooks.UrlToCheck}, {"usual": (JSON, {"url": "https://example.com/hooks"})}),
        answers={200: Answer("Allowed or not, and why.", CheckedUrl)},
        refusals={422: "A member is missing, unknown or no string."},
    )
    async def check(self, call: Call) -> Reply:
        caller = await self._authenticate(call)
        wanted = read_body(caller.body, webhooks.UrlToCheck, needs="url")
        found = await self._service.webhooks.check(caller.account_id, wanted.url)
        return reply(200, msgspec.convert(inspection.shown(found), CheckedUrl))


def routes(service: Service, authenticate: Authenticator) -> list[Route]:
    trying = Trying(service, authenticate)
    return [
        Route(BASE + "/check", {"POST": trying.check}),
        Route(ONE + "/test", {"POST": trying.send}),
    ]
