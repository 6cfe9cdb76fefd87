"""The webhook routes that AccessGrid's SDKs call: list, create, delete, verify.

Shapes and statuses are those that the eight SDKs parse; what we add are members that they pass over.
"""

from __future__ import annotations

from gridhook.errors import NotFound
from gridhook.model import AuthMethod
from gridhook.service import Service
from gridhook.web.auth import Authenticator
from gridhook.web.call import Call
from gridhook.web.conditions import IF_MATCH, expected_revision
from gridhook.web.console import BASE, GONE, NOT_FOUND, ONE, Section
from gridhook.web.operations import Access, Answer, Body, Parameter, operation
from gridhook.web.problems import NO_STORE, Reply, reply
from gridhook.web.reading import Query, read_body
from gridhook.web.routes import Route
from gridhook.web.shapes import webhooks as shapes

PER_PAGE = 50
MOST_PER_PAGE = 100
LAST_PAGE = 1_000_000
TAG = "Webhooks"
JSON = "application/json"

_PAGING = (
    Parameter("page", "Counts from 1. Out of range: the nearest; anything else: 1.", {"type": "integer", "default": 1}),
    Parameter("per_page", "1 to 100. Out of range: the nearest; anything else: 50.", {"type": "integer", "default": PER_PAGE}),
)
_EXAMPLE = {"name": "Production badge sync", "url": "https://example.com/hooks", "subscribed_events": ["ag.access_pass.issued"]}


class Webhooks(Section):
    @operation(
        "listWebhooks",
        TAG,
        "List webhooks",
        "Newest first, each with what is held for it and how it has been doing.",
        access=Access.ACCOUNT,
        parameters=_PAGING,
        answers={200: Answer("One page.", shapes.WebhookList)},
    )
    async def list(self, call: Call) -> Reply:
        caller = await self._authenticate(call)
        query = Query(call)
        page = query.integer("page", 1, 1, LAST_PAGE)
        per_page = query.integer("per_page", PER_PAGE, 1, MOST_PER_PAGE)
        found = await self._service.store.webhooks(caller.account_id, offset=(page - 1) * per_page, limit=per_page)
        pagination = shapes.Pagination(
            current_page=page, per_page=per_page, total_pages=-(-found.total // per_page), total_count=found.total
        )
        listed = await self._service.webhooks.listed(caller.account_id, found.webhooks)
        return reply(200, shapes.WebhookList(webhooks=[shapes.listed(one) for one in listed], pagination=pagination))

    @operation(
        "createWebhook",
        TAG,
        "Register a webhook",
        "Shows its Private Key (or, with mtls, the certificate that deliveries will present), once. The "
        "webhook is pending: a handshake with the URL starts at once and runs by itself; "
        "events wait for its success. Members that we do not know are passed over.",
        access=Access.ACCOUNT,
        body=Body({JSON: shapes.NewWebhook}, {"usual": (JSON, _EXAMPLE)}),
        answers={201: Answer("The webhook, and its Private Key or certificate.", shapes.CreatedWebhook)},
        refusals={409: "The account has as many webhooks as it may.", 422: "A member breaks a rule; `field` names it."},
    )
    async def create(self, call: Call) -> Reply:
        caller = await self._authenticate(call)
        wanted = read_body(caller.body, shapes.NewWebhook, needs="name, url and subscribed_events")
        created = await self._service.webhooks.create(
            caller.account_id,
            name=wanted.name,
            url=wanted.url,
            subscribed_events=wanted.subscribed_events,
            auth_method=wanted.auth_method or AuthMethod.BEARER_TOKEN,
            max_in_flight=wanted.max_in_flight,
            rate_per_second=wanted.rate_per_second,
            headers=wanted.headers,
        )
        return reply(201, shapes.created(created))

    @operation(
        "deleteWebhook",
        TAG,
        "Delete a webhook",
        "What is held or queued for it is cancelled; its log goes with it.",
        access=Access.ACCOUNT,
        parameters=(IF_MATCH,),
        answers={204: Answer("It is gone.", has_body=False)},
        refusals={**NOT_FOUND, 412: "The webhook was changed since the state that If-Match names."},
    )
    async def delete(self, call: Call) -> Reply:
        caller = await self._authenticate(call)
        webhook = await self._webhook(caller.account_id, call)
        revision = expected_revision(call.header(b"if-match"), webhook)
        try:
            await self._service.webhooks.delete(caller.account_id, webhook.id, revision=revision)
        except NotFound:
            raise NotFound(GONE) from None
        return Reply(204, b"", [NO_STORE])

    @operation(
        "verifyWebhook",
        TAG,
        "Resend the verification",
        "Ask again, or look at the attempts, for how the handshake went.",
        access=Access.ACCOUNT,
        answers={
            200: Answer("It was verified already; nothing is sent.", shapes.Verification),
            202: Answer("A fresh handshake runs now, and voids every earlier one.", shapes.Verification),
        },
        refusals=NOT_FOUND,
    )
    async def verify(self, call: Call) -> Reply:
        caller = await self._authenticate(call)
        webhook = await self._webhook(caller.account_id, call)
        verified = await self._service.webhooks.verify(caller.account_id, webhook.id)
        return reply(200 if verified else 202, shapes.Verification(id=webhook.id, verified=verified))


def routes(service: Service, authenticate: Authenticator) -> list[Route]:
    webhooks = Webhooks(service, authenticate)
    return [
        Route(BASE, {"GET": webhooks.list, "POST": webhooks.create}),
        # With the extensions' methods on the same path, one route is made of both: see `gridhook.web`.
        Route(ONE, {"DELETE": webhooks.delete}),
        Route(ONE + "/verify", {"POST": webhooks.verify}),
    ]
