"""Requests spelled as each of AccessGrid's SDKs spells them: query, body bytes, headers. Each row was taken from its source or observed."""

from __future__ import annotations

import asyncio
import json

import pytest

from gridhook.rules.api_signature import sign
from tests.web.world import Answer, World

HOOKS = "/v1/console/webhooks"
JSON = {"Content_Type": "application/json"}
URL = "http://127.0.0.1:18009/h"

# name: (payload of a list, its query; payload for one webhook, its query; headers on calls without a body)
BODILESS = {
    "py": (
        '{"id": "webhooks"}',
        "sig_payload=%7B%22id%22%3A+%22webhooks%22%7D",
        '{"id": "@"}',
        "sig_payload=%7B%22id%22%3A+%22@%22%7D",
        JSON,
    ),
    "cs": (
        '{"id": "webhooks"}',
        "sig_payload=%7B%22id%22%3A%20%22webhooks%22%7D",
        '{"id": "@"}',
        "sig_payload=%7B%22id%22%3A%20%22@%22%7D",
        {},
    ),
    "java": ("{}", "sig_payload=%7B%7D", "{}", "sig_payload=%7B%7D", JSON),
    "js": ('{"id":"webhooks"}', "sig_payload=%7B%22id%22%3A%22webhooks%22%7D", '{"id":"@"}', "sig_payload=%7B%22id%22%3A%22@%22%7D", JSON),
    "rb": (
        '{"id":"webhooks"}',
        "page=1&per_page=10&sig_payload=%7B%22id%22%3A%22webhooks%22%7D",
        '{"id":"@"}',
        "sig_payload=%7B%22id%22%3A%22@%22%7D",
        JSON,
    ),
    "go": ('{"id":"webhooks"}', "sig_payload=%7B%22id%22%3A%22webhooks%22%7D", '{"id":"@"}', "sig_payload=%7B%22id%22%3A%22@%22%7D", JSON),
    "php": (
        '{"id":"webhooks"}',
        "page=1&sig_payload=%7B%22id%22%3A%22webhooks%22%7D&per_page=5",
        '{"id":"@"}',
        "sig_payload=%7B%22id%22%3A%22@%22%7D",
        JSON,
    ),
    "ex": (
        '{"id":"webhooks"}',
        "sig_payload=%7B%22id%22%3A%22webhooks%22%7D&page=1",
        '{"id":"@"}',
        "sig_payload=%7B%22id%22%3A%22@%22%7D",
        JSON,
    ),
    "skills": ("{}", "sig_payload={}", "{}", "sig_payload=%7b%7d", {}),
}

CREATE = {
    "py": (
        b'{"name": "Prod", "url": "http://127.0.0.1:18009/h", "subscribed_events": ["ag.access_pass.issued"], '
        b'"auth_method": "bearer_token"}',
        "Prod",
    ),
    "py, not ASCII": (
        b'{"name": "Caf\\u00e9", "url": "http://127.0.0.1:18009/h", "subscribed_events": ["ag.access_pass.issued"], '
        b'"auth_method": "bearer_token"}',
        "Café",
    ),
    "js": (b'{"name":"Prod","url":"http://127.0.0.1:18009/h","subscribed_events":["ag.access_pass.issued"]}', "Prod"),
    "rb": (
        '{"name":"Café ☕","url":"http://127.0.0.1:18009/h","subscribed_events":["ag.access_pass.issued"],"auth_method":"bearer_token"}'.encode(),
        "Café ☕",
    ),
    "go": (
        b'{"name":"A \\u0026 B","url":"http://127.0.0.1:18009/h","subscribed_events":["ag.access_pass.issued"],"auth_method":"bearer_token"}',
        "A & B",
    ),
    "cs": (
        b'{"name":"A \\u0026 B\\u0027s","url":"http://127.0.0.1:18009/h","auth_method":"bearer_token","subscribed_events":["ag.access_pass.issued"]}',
        "A & B's",
    ),
    "java": ('{"name":"Café","url":"http://127.0.0.1:18009/h","subscribed_events":["ag.access_pass.issued"]}'.encode(), "Café"),
    "php": (b'{"name":"Prod","url":"http:\\/\\/127.0.0.1:18009\\/h","subscribed_events":["ag.access_pass.issued"]}', "Prod"),
    "ex": (b'{"auth_method":null,"subscribed_events":["ag.access_pass.issued"],"url":"http://127.0.0.1:18009/h","name":"Prod"}', "Prod"),
    "a newer one": (
        b'{"name":"Prod","url":"http://127.0.0.1:18009/h","subscribed_events":["ag.access_pass.issued"],"description":"of tomorrow"}',
        "Prod",
    ),
}


def credentials(world: World, payload: bytes) -> dict[str, str]:
    return {"X_ACCT_ID": world.ours.account_id, "X_PAYLOAD_SIG": sign(world.ours.secret, payload)}


@pytest.mark.parametrize("sdk", BODILESS)
async def test_list_verify_and_delete_work_as_this_sdk_spells_them(world, sdk):
    listing, list_query, one, one_query, headers = BODILESS[sdk]
    created = await world.create(URL)
    listed = await world.send("GET", f"{HOOKS}?{list_query}", **credentials(world, listing.encode()), **headers)
    assert listed.status == 200, listed
    assert [webhook["id"] for webhook in listed.json()["webhooks"]] == [created["id"]]

    scoped = credentials(world, one.replace("@", created["id"]).encode())
    target = f"{HOOKS}/{created['id']}", one_query.replace("@", created["id"])
    assert (await world.send("POST", f"{target[0]}/verify?{target[1]}", b"", **scoped, **headers)).status == 202
    deleted = await world.send("DELETE", f"{target[0]}?{target[1]}", **scoped, **headers)
    assert (deleted.status, deleted.body) == (204, b"")
    assert (await world.send("DELETE", f"{target[0]}?{target[1]}", **scoped, **headers)).status == 404


@pytest.mark.parametrize("sdk", CREATE)
async def test_create_works_with_the_very_bytes_that_this_sdk_sends(world, sdk):
    body, name = CREATE[sdk]
    content_type = "application/json; charset=utf-8" if sdk == "cs" else "application/json"
    answer = await world.send("POST", HOOKS, body, **credentials(world, body), Content_Type=content_type)
    assert answer.status == 201, answer
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "application/json"
    created = answer.json()
    assert (created["name"], created["url"], created["auth_method"]) == (name, URL, "bearer_token")
    assert (created["status"], created["verified_at"]) == ("pending", None)
    assert set(created) == {"id", "name", "url", "auth_method", "subscribed_events", "created_at", "status", "verified_at", "private_key"}


async def test_the_js_sdk_signs_an_accent_as_latin_1_and_is_understood(world):
    body = '{"name":"Café","url":"http://127.0.0.1:18009/h","subscribed_events":["ag.access_pass.issued"]}'
    answer = await world.send("POST", HOOKS, body.encode(), **credentials(world, body.encode("latin-1")), **JSON)
    assert (answer.status, answer.json()["name"]) == (201, "Café")


def java_request(world: World, body: bytes) -> tuple[bytes, bytes]:
    head = [
        f"POST {HOOKS} HTTP/1.1",
        "Connection: Upgrade, HTTP2-Settings",
        f"Content-Length: {len(body)}",
        "Host: 127.0.0.1",
        "HTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAABgAGAAA",
        "Upgrade: h2c",
        "Accept: application/json",
        "Content-Type: application/json",
        "User-Agent: accessgrid.java/1.3.0",
        f"X-ACCT-ID: {world.ours.account_id}",
        f"X-PAYLOAD-SIG: {sign(world.ours.secret, body)}",
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n", body


async def test_the_java_sdk_offers_an_upgrade_to_http_2_and_keeps_its_body(world):
    head, body = java_request(world, CREATE["java"][0])
    assert (await world.raw(head + body)).status == 201


@pytest.mark.parametrize("cut", [1, 30, 90, 200, -1])
async def test_an_upgrade_offer_that_arrives_in_pieces_keeps_its_body_too(world, cut):
    head, body = java_request(world, CREATE["java"][0])
    first: Answer = await world.raw(head[:cut], pieces=[head[cut:], body[:20], body[20:]])
    assert (first.status, first.json()["name"]) == (201, "Café")


async def test_an_upgrade_offer_with_a_chunked_body_keeps_it(world):
    head, body = java_request(world, CREATE["java"][0])
    chunked = head.replace(b"Content-Length: %d" % len(body), b"Transfer-Encoding: chunked")
    assert (await world.raw(chunked + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))).status == 201


async def test_a_connection_that_offered_an_upgrade_goes_on_serving(world):
    head, body = java_request(world, CREATE["java"][0])
    plain = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    reader, writer = await asyncio.open_connection(*world.server.address)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b'{"status":"ok"}')
    writer.write(head + body)
    await reader.readuntil(b'"private_key"')
    writer.write(head + body)
    await reader.readuntil(b'"private_key"')
    writer.write(plain)
    assert (await asyncio.wait_for(reader.read(), 30)).endswith(b'{"status":"ok"}')
    writer.close()


async def test_a_websocket_upgrade_is_passed_over(world):
    answer = await world.send(
        "GET", "/healthz", Connection="Upgrade", Upgrade="websocket", Sec_WebSocket_Key="eA==", Sec_WebSocket_Version="13"
    )
    assert answer.status == 200


@pytest.mark.parametrize(
    "spoil",
    [
        {"X_PAYLOAD_SIG": "0" * 64},
        {"X_PAYLOAD_SIG": "nonsense"},
        {"X_PAYLOAD_SIG": ""},
        {"X_ACCT_ID": "acc_00000000000000000000000000"},
        {"X_ACCT_ID": "no such/shape"},
        {"X_ACCT_ID": ""},
        {"X_ACCT_ID": "a" * 5000},
    ],
)
async def test_whatever_is_wrong_with_the_credentials_the_answer_is_the_same(world, spoil):
    reference = await world.send("GET", f"{HOOKS}?sig_payload=%7B%7D", X_ACCT_ID=world.ours.account_id, X_PAYLOAD_SIG="f" * 64)
    good = credentials(world, b"{}")
    answer = await world.send("GET", f"{HOOKS}?sig_payload=%7B%7D", **{**good, **spoil})
    assert (answer.status, answer.message) == (401, reference.message)
    assert answer.headers["www-authenticate"] == reference.headers["www-authenticate"]


@pytest.mark.parametrize("query", ["", "?", "?page=1", "?sig_payload=", "?sig_payload=%7B%7D&sig_payload=%7B%7D"])
async def test_a_call_without_exactly_one_payload_is_not_authenticated(world, query):
    assert (await world.send("GET", f"{HOOKS}{query}", **credentials(world, b"{}"))).status == 401


async def test_a_signature_for_one_webhook_does_not_delete_another(world):
    one, other = await world.create(URL), await world.create(URL)
    payload = json.dumps({"id": one["id"]})
    assert (await world.signed("DELETE", f"{HOOKS}/{other['id']}", payload=payload)).status == 401
    assert (await world.signed("DELETE", f"{HOOKS}/{one['id']}", payload=payload)).status == 204


async def test_a_second_secret_works_beside_the_first_until_one_is_revoked(world):
    added = await world.gridhook.service.add_secret(world.ours.account_id)
    first = await world.send("GET", f"{HOOKS}?sig_payload=%7B%7D", **credentials(world, b"{}"))
    second = await world.send("GET", f"{HOOKS}?sig_payload=%7B%7D", X_ACCT_ID=world.ours.account_id, X_PAYLOAD_SIG=sign(added.text, b"{}"))
    assert (first.status, second.status) == (200, 200)
    await world.gridhook.service.revoke_secret(world.ours.account_id, added.id)
    again = await world.send("GET", f"{HOOKS}?sig_payload=%7B%7D", X_ACCT_ID=world.ours.account_id, X_PAYLOAD_SIG=sign(added.text, b"{}"))
    assert again.status == 401
