"""What one account may see and change of another: nothing, at every route there is."""

from __future__ import annotations

import json

import pytest

from gridhook.web.routes import Route
from tests.web.world import LOW, World

URL = "http://127.0.0.1:18009/h"
OPEN = {"/healthz", "/readyz", "/metrics", "/schemas/webhooks", "/schemas/webhooks/{type}/{file}"}  # without any account's data
LISTS = {"/v1/console/webhooks"}  # of the caller's own account, no id in the path


def concerning_one_webhook(world: World) -> list[tuple[Route, str]]:
    return [(route, method) for route in world.web.routes.all if "{webhook_id}" in route.path for method in route.handlers]


async def test_every_route_is_either_open_or_known_to_this_suite(world):
    known = OPEN | LISTS | {route.path for route, _ in concerning_one_webhook(world)} | {"/v1/accounts/{account_id}/events"}
    assert {route.path for route in world.web.routes.all} == known


async def test_another_accounts_webhook_is_404_at_every_route_and_stays_as_it_was(world):
    theirs = await world.create(URL, tenant=world.theirs)
    before = await world.signed("GET", f"/v1/console/webhooks/{theirs['id']}", tenant=world.theirs)
    assert len(concerning_one_webhook(world)) >= 4
    for route, method in concerning_one_webhook(world):
        for id_ in (theirs["id"], "wh_00000000000000000000000000", "x", "%00", "%ff", "a" * 300, "webhooks'--"):
            answer = await world.signed(method, route.path.replace("{webhook_id}", id_))
            assert (answer.status, answer.message) == (404, "Webhook not found"), (route.path, method, id_)
    after = await world.signed("GET", f"/v1/console/webhooks/{theirs['id']}", tenant=world.theirs)
    assert (before.status, after.json()) == (200, before.json())


async def test_no_route_about_webhooks_answers_without_a_signature(world):
    ours = await world.create(URL)
    for route in world.web.routes.all:
        if route.path.startswith("/v1/console/"):
            for method in route.handlers:
                answer = await world.send(method, route.path.replace("{webhook_id}", ours["id"]))
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


@pytest.mark.parametrize("secret", ["private_key", "client_cert", "sealed", "secret"])
async def test_the_private_key_is_shown_once_and_by_no_other_route(world, secret):
    created = await world.create(URL)
    shown = [await world.signed("GET", "/v1/console/webhooks"), await world.signed("GET", f"/v1/console/webhooks/{created['id']}")]
    shown.append(await world.signed("GET", f"/v1/console/webhooks/{created['id']}/attempts"))
    for answer in shown:
        assert answer.status == 200
        assert created["private_key"].encode() not in answer.body
        assert secret not in json.dumps(answer.json())
