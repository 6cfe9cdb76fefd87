"""A webhook's keys: the Private Key that deliveries carry, and the key that signs them."""

from __future__ import annotations

from gridhook.errors import NotFound
from gridhook.rules.instants import rfc3339
from gridhook.service import Service
from gridhook.service.webhooks import DEFAULT_OVERLAP_SECONDS
from gridhook.web.auth import Authenticator
from gridhook.web.call import Call, is_id
from gridhook.web.console import GONE, NOT_FOUND, ONE, Section
from gridhook.web.operations import Access, Answer, Body, operation
from gridhook.web.problems import NO_STORE, Reply, reply
from gridhook.web.reading import read_body, read_instant
from gridhook.web.routes import Route
from gridhook.web.shapes import webhooks as shapes

TAG = "Keys"
JSON = "application/json"
NO_KEY = "Private Key not found"


class Keys(Section):
    @operation(
        "rotatePrivateKey",
        TAG,
        "Make a new Private Key",
        "Shown once. It is used at once, or from `activates_at` on, at most 7 days ahead, so that the receiver can learn to accept both.",
        access=Access.ACCOUNT,
        body=Body(
            {JSON: shapes.NewPrivateKey},
            {"later": (JSON, {"activates_at": "2026-11-23T10:00:00Z"}), "at once": (JSON, {})},
            required=False,
        ),
        answers={201: Answer("The key: shown here, and never again.", shapes.IssuedPrivateKey)},
        refusals={
            **NOT_FOUND,
            409: "Another new key waits for its time (cancel that first), or the webhook presents a certificate.",
            422: "The time lies too far ahead.",
        },
    )
    async def rotate(self, call: Call) -> Reply:
        caller = await self._authenticate(call)
        webhook = await self._webhook(caller.account_id, call)
        wanted = read_body(caller.body, shapes.NewPrivateKey)
        at = read_instant(wanted.activates_at, "activates_at")
        issued = await self._service.webhooks.rotate_key(caller.account_id, webhook.id, activates_at=at)
        assert issued.activates_at is not None
        return reply(201, shapes.IssuedPrivateKey(id=issued.id, private_key=issued.text, activates_at=rfc3339(issued.activates_at)))

    @operation(
        "listPrivateKeys",
        TAG,
        "Show which Private Keys there are",
        "And which of them is in use; never the keys themselves.",
        access=Access.ACCOUNT,
        answers={200: Answer("Newest first.", shapes.PrivateKeys)},
        refusals=NOT_FOUND,
    )
    async def list(self, call: Call) -> Reply:
        caller = await self._authenticate(call)
        webhook = await self._webhook(caller.account_id, call)
        try:
            found = await self._service.webhooks.detail(caller.account_id, webhook.id, most=0)
        except NotFound:
            raise NotFound(GONE) from None
        return reply(200, shapes.PrivateKeys(private_keys=shapes.private_keys(found)))

    @operation(
        "cancelPrivateKey",
        TAG,
        "Take back a Private Key that is not in use yet",
        "The key in use goes on being used.",
        access=Access.ACCOUNT,
        answers={204: Answer("It is gone.", has_body=False)},
        refusals={404: "There is no such webhook or key, or it is another account's.", 409: "The key is in use, or was."},
    )
    async def cancel(self, call: Call) -> Reply:
        caller = await self._authenticate(call)
        webhook = await self._webhook(caller.account_id, call)
        key_id = call.params["key_id"]
        if not is_id(key_id):
            raise NotFound(NO_KEY)
        await self._service.webhooks.cancel_key(caller.account_id, webhook.id, key_id)
        return Reply(204, b"", [NO_STORE])

    @operation(
        "rotateSigningKey",
        TAG,
        "Have deliveries signed, or change the signing key",
        "Shown once. From the first key on, deliveries carry the headers of Standard Webhooks (`webhook-id`, `webhook-timestamp`, "
        "`webhook-signature`) beside the Private Key. The key before it signs along for `overlap_seconds`.",
        access=Access.ACCOUNT,
        body=Body({JSON: shapes.NewSigningKey}, {"an hour's overlap": (JSON, {"overlap_seconds": 3600})}, required=False),
        answers={201: Answer("The key: shown here, and never again.", shapes.IssuedSigningKey)},
        refusals={**NOT_FOUND, 422: "`overlap_seconds` is out of range."},
    )
    async def rotate_signing(self, call: Call) -> Reply:
        caller = await self._authenticate(call)
        webhook = await self._webhook(caller.account_id, call)
        overlap = read_body(caller.body, shapes.NewSigningKey).overlap_seconds
        issued = await self._service.webhooks.rotate_signing_key(
            caller.account_id, webhook.id, overlap_seconds=DEFAULT_OVERLAP_SECONDS if overlap is None else overlap
        )
        return reply(201, shapes.IssuedSigningKey(id=issued.id, signing_key=issued.text))

    @operation(
        "stopSigning",
        TAG,
        "Stop signing deliveries",
        "The signing keys are forgotten. Twice is once.",
        access=Access.ACCOUNT,
        answers={204: Answer("Deliveries carry no signature any more.", has_body=False)},
        refusals=NOT_FOUND,
    )
    async def stop_signing(self, call: Call) -> Reply:
        caller = await self._authenticate(call)
        webhook = await self._webhook(caller.account_id, call)
        await self._service.webhooks.stop_signing(caller.account_id, webhook.id)
        return Reply(204, b"", [NO_STORE])


def routes(service: Service, authenticate: Authenticator) -> list[Route]:
    keys = Keys(service, authenticate)
    return [
        Route(ONE + "/private-key", {"GET": keys.list, "POST": keys.rotate}),
        Route(ONE + "/private-key/{key_id}", {"DELETE": keys.cancel}),
        Route(ONE + "/signing-key", {"POST": keys.rotate_signing, "DELETE": keys.stop_signing}),
    ]
