"""One webhook in whole, and its edits: change, pause, resume."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from gridhook.errors import Invalid, NotFound
from gridhook.model import Webhook
from gridhook.service import Service
from gridhook.service.webhooks import Changes, Created
from gridhook.web.auth import Authenticator
from gridhook.web.call import Call
from gridhook.web.conditions import IF_MATCH, expected_revision
from gridhook.web.console import GONE, NOT_FOUND, ONE, Section
from gridhook.web.operations import Access, Answer, Body, operation
from gridhook.web.problems import Reply, reply
from gridhook.web.reading import read_body
from gridhook.web.routes import Route
from gridhook.web.shapes import webhooks as shapes

TAG = "Webhooks"
JSON = "application/json"

_SHOWN = Answer("The webhook as it is now.", shapes.WebhookDetail, headers=("ETag",))


class Editing(Section):
    @operation(
        "getWebhook",
        TAG,
        "Show one webhook",
        "What was registered, its limits, keys and headers (nothing secret), what waits for it, and how it has been doing. "
        "The ETag stands for what can be changed, not for the counters.",
        access=Access.ACCOUNT,
        answers={200: _SHOWN},
        refusals=NOT_FOUND,
    )
    async def get(self, call: Call) -> Reply:
        caller = await self._authenticate(call)
        webhook = await self._webhook(caller.account_id, call)
        return await self._shown(webhook)

    @operation(
        "changeWebhook",
        TAG,
        "Change a webhook",
        "All of the changes or none. Another URL makes the webhook pending again: its deliveries are held, attempt numbers kept, and go "
        "to the new URL once that is proven. A new name and other subscriptions hold for events published from now on. `auth_method` is "
        "changed by itself, without other members: the answer shows the new Private Key or certificate, which is used at once; the old "
        "one is forgotten, and the webhook stays verified.",
        access=Access.ACCOUNT,
        parameters=(IF_MATCH,),
        body=Body(
            {JSON: shapes.WebhookChanges},
            {
                "rename": (JSON, {"name": "Production badge sync"}),
                "move": (JSON, {"url": "https://example.com/hooks/v2"}),
                "limit": (JSON, {"max_in_flight": 4, "rate_per_second": 10}),
                "present a certificate": (JSON, {"auth_method": "mtls"}),
                "headers": (JSON, {"headers": {"X-Team": "access-control", "X-Old": None}}),
            },
        ),
        answers={200: Answer("The webhook as it is now.", (shapes.WebhookDetail, shapes.SwitchedWebhook), headers=("ETag",))},
        refusals={
            **NOT_FOUND,
            409: "It proves itself with this `auth_method` already.",
            412: "It was changed since you read it: read it again, then decide.",
            422: "A member is unknown or breaks a rule; `field` names it.",
        },
    )
    async def change(self, call: Call) -> Reply:
        caller = await self._authenticate(call)
        webhook = await self._webhook(caller.account_id, call)
        revision = expected_revision(call.header(b"if-match"), webhook)
        wanted = read_body(caller.body, shapes.WebhookChanges, needs="the members to change")
        if not isinstance(wanted.auth_method, UnsetType):
            others = [name for name in wanted.__struct_fields__ if name != "auth_method" and getattr(wanted, name) is not UNSET]
            if others:
                raise Invalid("auth_method", f"is changed by itself; send {', '.join(others)} in another call")
            switched = await self._service.webhooks.switch_auth(caller.account_id, webhook.id, wanted.auth_method, revision=revision)
            return await self._shown(switched.webhook, switched)
        changes = Changes(
            name=wanted.name,
            url=wanted.url,
            subscribed_events=wanted.subscribed_events,
            max_in_flight=wanted.max_in_flight,
            rate_per_second=wanted.rate_per_second,
            headers=wanted.headers,
        )
        return await self._shown(await self._service.webhooks.edit(caller.account_id, webhook.id, changes, revision=revision))

    @operation(
        "pauseWebhook",
        TAG,
        "Pause a webhook",
        "Deliveries are held from now on, each until its event is too old; requests in flight end. Twice is once.",
        access=Access.ACCOUNT,
        answers={200: _SHOWN},
        refusals=NOT_FOUND,
    )
    async def pause(self, call: Call) -> Reply:
        caller = await self._authenticate(call)
        webhook = await self._webhook(caller.account_id, call)
        return await self._shown(await self._service.webhooks.pause(caller.account_id, webhook.id))

    @operation(
        "resumeWebhook",
        TAG,
        "Resume a webhook",
        "What was held goes out oldest first, slowly at first. Twice is once.",
        access=Access.ACCOUNT,
        answers={200: _SHOWN},
        refusals=NOT_FOUND,
    )
    async def resume(self, call: Call) -> Reply:
        caller = await self._authenticate(call)
        webhook = await self._webhook(caller.account_id, call)
        return await self._shown(await self._service.webhooks.resume(caller.account_id, webhook.id))

    async def _shown(self, webhook: Webhook, switched: Created | None = None) -> Reply:
        try:
            found = await self._service.webhooks.detail(webhook.account_id, webhook.id)
        except NotFound:
            raise NotFound(GONE) from None
        lane = self._service.engine.lane_state(webhook.id)
        # Of the state that is shown: a change between the edit and this look must not go unseen.
        etag = b'"%d"' % found.webhook.revision
        shown = shapes.detail(found, lane) if switched is None else shapes.switched(switched, found, lane)
        return reply(200, shown, [(b"etag", etag)])


def routes(service: Service, authenticate: Authenticator) -> list[Route]:
    editing = Editing(service, authenticate)
    return [
        Route(ONE, {"GET": editing.get, "PATCH": editing.change}),
        Route(ONE + "/pause", {"POST": editing.pause}),
        Route(ONE + "/resume", {"POST": editing.resume}),
    ]
