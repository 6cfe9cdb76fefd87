"""What one account may see and change of another: nothing, at every route there is."""

from __future__ import annotations

import json

from gridhook.testing import Receiver, Reply
from gridhook.web.routes import Route
from tests.web.world import LOW, World

URL = "http://127.0.0.1:18009/h"
SCHEMAS = {"/schemas/webhooks", "/schemas/webhooks/{type}/{file}"}
OPEN = {"/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/docs/{file}", "/v1/ca.pem"} | SCHEMAS  # without any account's data
OWN = {"/v1/console/webhooks", "/v1/console/webhooks/check"}  # about the caller's own account, no id in the path
BELOW = {"attempt_id": "1", "delivery_id": "1", "recovery_id": "rec_1", "key_id": "cred_1", "certificate_id": "crt_1", "event_id": "evt_1"}


def concerning_one_webhook(world: World) -> list[tuple[Route, str]]:
    return [(route, method) for route in world.web.routes.api if "{webhook_id}" in route.path for method in route.handlers]


async def test_every_route_is_either_open_or_known_to_this_suite(world):
    known = OPEN | OWN | {route.path for route, _ in concerning_one_webhook(world)}
    known |= {"/v1/accounts/{account_id}/events", "/v1/console/events/{event_id}"}
    assert {route.path for route in world.web.routes.api} == known


async def test_another_accounts_webhook_is_404_at_every_route_and_stays_as_it_was(world):
    theirs = await world.create(URL, tenant=world.theirs)
    before = await world.signed("GET", f"/v1/console/webhooks/{theirs['id']}", tenant=world.theirs)
    assert len(concerning_one_webhook(world)) >= 20
    for route, method in concerning_one_webhook(world):
        for id_ in (theirs["id"], "wh_00000000000000000000000000", "x", "%00", "%ff", "a" * 300, "webhooks'--"):
            answer = await world.signed(method, route.path.format(**{**BELOW, "webhook_id": id_}))
            assert (answer.status, answer.message) == (404, "Webhook not found"), (route.path, method, id_)
    after = await world.signed("GET", f"/v1/console/webhooks/{theirs['id']}", tenant=world.theirs)
    assert (before.status, after.json()) == (200, before.json())


async def test_no_route_about_webhooks_answers_without_a_signature(world):
    ours = await world.create(URL)
    for route in world.web.routes.api:
        if route.path.startswith("/v1/console/"):
            for method in route.handlers:
                answer = await world.send(method, route.path.format(**{**BELOW, "webhook_id": ours["id"]}))
                assert answer.status == 401, (route.path, method)


async def test_a_list_shows_only_the_callers_own_webhooks(world):
    ours = await world.create(URL)
    await world.create(URL, tenant=world.theirs)
    answer = await world.signed("GET", "/v1/console/webhooks")
    assert [webhook["id"] for webhook in answer.json()["webhooks"]] == [ours["id"]]
    assert answer.json()["pagination"]["total_count"] == 1


async def test_the_same_event_id_in_two_accounts_is_two_events(world):
    first = await world.publish({**LOW, "id": "evt-1"})
    second = await world.publish({**LOW, "id": "evt-1"}, tenant=world.theirs)
    assert (first.json()["duplicate"], second.json()["duplicate"]) == (False, False)


async def test_secrets_are_shown_once_and_by_no_other_route(world):
    """A Private Key, the key after it, a signing key, the value of a header, the token in a URL's query: on no page, in no log."""
    async with Receiver() as receiver:
        receiver.script(Reply(500))
        created = await world.create(f"{receiver.url}?token=query-secret")
        one = f"/v1/console/webhooks/{created['id']}"
        patch = json.dumps({"headers": {"X-Gateway": "header-secret"}}).encode()
        assert (await world.signed("PATCH", one, patch)).status == 200
        later = (await world.signed("POST", f"{one}/private-key")).json()["private_key"]
        signing = (await world.signed("POST", f"{one}/signing-key")).json()["signing_key"]
        await world.verified(created["id"])
        event = (await world.publish(LOW)).json()["id"]
        await receiver.received(1)
        await world.attempts(created["id"], 2)
        tried = await world.signed("POST", f"{one}/test", json.dumps({"type": LOW["type"]}).encode())
    sent = receiver.deliveries[0]
    assert (sent.header("authorization"), sent.header("x-gateway")) == (f"Bearer {later}", "header-secret")
    shown = [tried, await world.signed("POST", f"{one}/pause"), await world.signed("GET", f"/v1/console/events/{event}")]
    for route, method in concerning_one_webhook(world):
        if method == "GET":
            below = {**BELOW, "attempt_id": tried.json()["id"], "webhook_id": created["id"]}
            shown.append(await world.signed("GET", route.path.format(**below)))
    assert sorted({answer.status for answer in shown}) == [200, 404]  # 404: there is no delivery 1, no recovery
    for answer in shown:
        for secret in (created["private_key"], later, signing, "header-secret"):
            assert secret.encode() not in answer.body, answer
        # The URL itself is the customer's to see where it is set; a log of requests need not repeat its token.
        assert b"query-secret" not in answer.body or b'"subscribed_events"' in answer.body, answer
