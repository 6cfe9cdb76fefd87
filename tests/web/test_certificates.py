"""Client certificates over HTTP: set up, rotated, taken back, downloaded; whom receivers must trust; and never a key."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
import pytest
from accessgrid import AccessGrid
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from gridhook.telemetry import Log
from tests.receivers import real
from tests.transport.certificates import Authority
from tests.web.world import HANG_GUARD_SECONDS, LOW, Answer, Tenant, World, running

HOOKS = "/v1/console/webhooks"
NOBODY = "https://127.0.0.1:18009/h"  # nothing listens there
DAY_MS = 86_400_000


@dataclass
class Customer:
    """An engineer at the API. All that was ever answered is kept, and all that was logged."""

    world: World
    home: Path
    authority: Authority
    log: io.BytesIO
    stack: contextlib.ExitStack
    answers: list[Answer] = field(default_factory=list)

    async def call(self, method: str, path: str, body: object = None, *, tenant: Tenant | None = None, **headers: str) -> Answer:
        """path: below the webhooks."""
        raw = b"" if body is None else json.dumps(body).encode()
        answer = await self.world.signed(method, HOOKS + path, raw, tenant=tenant, headers=headers)
        self.answers.append(answer)
        return answer

    async def create(self, url: str, auth_method: str = "mtls") -> dict[str, Any]:
        wanted = {"name": "Vault", "url": url, "subscribed_events": [LOW["type"]], "auth_method": auth_method}
        answer = await self.call("POST", "", wanted)
        assert answer.status == 201, answer
        created: dict[str, Any] = answer.json()
        return created

    async def shown(self, webhook_id: str) -> dict[str, Any]:
        found: dict[str, Any] = (await self.call("GET", f"/{webhook_id}")).json()
        return found

    async def states(self, webhook_id: str) -> list[str]:
        return [one["state"] for one in (await self.call("GET", f"/{webhook_id}/certificates")).json()["certificates"]]

    async def receiver(self, pinned: bytes | None = None) -> real.Receiver:
        """Trusts what /v1/ca.pem says, or this one leaf alone."""
        bundle = (await self.world.send("GET", "/v1/ca.pem")).body
        home = self.home / f"receiver-{len(self.answers)}"
        leaf = self.authority.leaf("127.0.0.1")
        return self.stack.enter_context(real.start("python", "1.3", home, server_leaf=leaf, client_ca_bundle=bundle, pinned=pinned))

    async def delivered(self, webhook_id: str) -> dict[str, Any]:
        """Publish one event; its attempt, in full."""
        event_id = (await self.world.publish(LOW)).json()["id"]
        async with asyncio.timeout(HANG_GUARD_SECONDS):
            while True:
                made = (await self.call("GET", f"/{webhook_id}/attempts")).json()["attempts"]
                for one in made:
                    if one["event_id"] == event_id:
                        return dict((await self.call("GET", f"/{webhook_id}/attempts/{one['id']}")).json())
                await asyncio.sleep(0.02)


@asynccontextmanager
async def customer(home: Path, **settings: Any) -> AsyncIterator[Customer]:
    authority = Authority(home, "Receivers Root")
    log = io.BytesIO()
    async with running(home / "data", Log(log), ca_file=str(authority.path), **settings) as world:
        with contextlib.ExitStack() as stack:
            yield Customer(world, home, authority, log, stack)


@pytest.fixture
async def anna(tmp_path: Path) -> AsyncIterator[Customer]:
    async with customer(tmp_path) as anna:
        yield anna


def leaf_of(pem: str) -> bytes:
    end = "-----END CERTIFICATE-----\n"
    return (pem.partition(end)[0] + end).encode()


def serial_of(pem: str) -> str:
    return f"{x509.load_pem_x509_certificate(pem.encode()).serial_number:032x}"


# A rotation, as its owner sees it


async def test_a_rotation_can_be_followed_until_the_receiver_has_caught_up_and_no_answer_ever_holds_a_key(anna):
    receiver = await anna.receiver()
    created = await anna.create(receiver.url)
    one = f"/{created['id']}"
    assert created.keys() & {"private_key", "client_cert", "cert_expires_at"} == {"client_cert", "cert_expires_at"}
    await anna.world.verified(created["id"])

    first = await anna.delivered(created["id"])
    assert (first["status"], first["note"], first["certificate"]["serial"]) == (200, None, serial_of(created["client_cert"]))
    assert first["certificate"]["id"] == first["credential_id"]
    assert "--cert client.pem --key client.key" in first["request"]["curl"]
    assert "never leaves" in first["request"]["curl"].partition("\n")[0]
    assert "PRIVATE_KEY" not in first["request"]["curl"]

    # From now on the receiver knows the first certificate only.
    strict = await anna.receiver(pinned=leaf_of(created["client_cert"]))
    await anna.call("PATCH", one, {"url": strict.url})
    await anna.world.verified(created["id"])
    issued = (await anna.call("POST", f"{one}/certificates")).json()
    assert (issued["state"], issued["accepted_at"], issued["serial"]) == ("presented", None, serial_of(issued["pem"]))
    second = await anna.delivered(created["id"])
    assert (second["status"], second["credential_id"]) == (200, first["credential_id"])
    assert second["note"].startswith(f"certificate {issued['id']} was refused (")
    assert second["note"].endswith(f"{first['credential_id']}, the one before it, was presented at once")
    assert second["summary"].endswith(second["note"])
    behind = (await anna.shown(created["id"]))["certificate"]
    assert (behind["presented"]["id"], behind["presented"]["accepted_at"], behind["last_used"]) == (
        issued["id"],
        None,
        first["credential_id"],
    )
    assert (behind["fallback"]["id"], behind["fallback"]["state"]) == (first["credential_id"], "fallback")

    # It learns the second one.
    learnt = await anna.receiver(pinned=leaf_of(issued["pem"]))
    await anna.call("PATCH", one, {"url": learnt.url})
    await anna.world.verified(created["id"])
    third = await anna.delivered(created["id"])
    assert (third["status"], third["credential_id"], third["note"]) == (200, issued["id"], None)
    caught_up = (await anna.shown(created["id"]))["certificate"]
    assert (caught_up["presented"]["accepted_at"] is None, caught_up["last_used"]) == (False, issued["id"])
    late = await anna.call("DELETE", f"{one}/certificates/{issued['id']}")
    assert (late.status, "issue another to replace it" in late.message) == (409, True)
    assert {seen.authorization for seen in (*receiver.seen, *strict.seen, *learnt.seen)} == {""}

    back = (await anna.call("PATCH", one, {"auth_method": "bearer_token"})).json()
    assert len(bytes.fromhex(back["private_key"])) == 32
    assert (await anna.call("GET", f"{one}/attempts/{first['id']}")).json()["certificate"] == first["certificate"]
    for route in anna.world.web.routes.api:
        if "{webhook_id}" in route.path and "GET" in route.handlers:
            below = {"webhook_id": created["id"], "certificate_id": issued["id"], "attempt_id": second["id"]}
            below |= {"delivery_id": second["delivery_id"], "recovery_id": "rec_1", "key_id": "cred_1"}
            await anna.call("GET", route.path.format(**below).removeprefix(HOOKS))
    told = b"".join(answer.body for answer in anna.answers) + anna.log.getvalue()
    assert len(told) > 20_000
    assert b"BEGIN CERTIFICATE" in told
    assert b"PRIVATE KEY" not in told
    assert told.count(back["private_key"].encode()) == 1


async def test_a_certificate_is_not_said_to_have_been_presented_where_nobody_listened(anna):
    taken = anna.stack.enter_context(socket.socket())  # bound, so that nobody else listens there either
    taken.bind(("127.0.0.1", 0))
    created = await anna.create(f"https://127.0.0.1:{taken.getsockname()[1]}/hook")
    async with asyncio.timeout(HANG_GUARD_SECONDS):
        while not (made := (await anna.call("GET", f"/{created['id']}/attempts")).json()["attempts"]):
            await asyncio.sleep(0.02)
    attempt = (await anna.call("GET", f"/{created['id']}/attempts/{made[0]['id']}")).json()
    shown = (await anna.shown(created["id"]))["certificate"]
    assert (attempt["reason"], attempt["phase"], attempt["certificate"]) == ("connect_refused", "connect", None)
    assert (attempt["credential_id"], shown["last_used"]) == (shown["presented"]["id"], None)


async def test_a_certificate_that_the_receiver_has_not_accepted_can_be_taken_back(anna):
    created = await anna.create(NOBODY)
    path = f"/{created['id']}/certificates"
    (old,) = (await anna.call("GET", path)).json()["certificates"]
    lone = await anna.call("DELETE", f"{path}/{old['id']}")
    assert (lone.status, "no certificate to fall back on" in lone.message) == (409, True)

    issued = (await anna.call("POST", path)).json()
    assert await anna.states(created["id"]) == ["presented", "fallback"]
    replaced = await anna.call("DELETE", f"{path}/{old['id']}")
    assert (replaced.status, "is not the one that is presented" in replaced.message) == (409, True)
    again = await anna.call("DELETE", f"{path}/{issued['id']}")
    assert (again.status, again.json()["id"], again.json()["state"]) == (200, old["id"], "presented")
    assert await anna.states(created["id"]) == ["presented", "retired"]
    assert (await anna.shown(created["id"]))["cert_expires_at"] == created["cert_expires_at"]

    # Asked for twice before the receiver took either: what it knows stays the one to fall back on.
    newest = [(await anna.call("POST", path)).json()["id"] for _ in range(2)][-1]
    listed = (await anna.call("GET", path)).json()["certificates"]
    assert [(one["id"], one["state"]) for one in listed if one["state"] != "retired"] == [(newest, "presented"), (old["id"], "fallback")]
    fallback = next(one for one in listed if one["state"] == "fallback")
    assert fallback["retires_at"] > fallback["replaced_at"]


async def test_a_certificate_can_be_read_as_json_or_downloaded_as_a_file(anna):
    created = await anna.create(NOBODY)
    path = f"/{created['id']}/certificates"
    (row,) = (await anna.call("GET", path)).json()["certificates"]
    whole = (await anna.call("GET", f"{path}/{row['id']}")).json()
    assert whole == row | {"pem": created["client_cert"]}
    leaf, issuer = x509.load_pem_x509_certificates(whole["pem"].encode())
    leaf.verify_directly_issued_by(issuer)
    assert issuer in x509.load_pem_x509_certificates((await anna.world.send("GET", "/v1/ca.pem")).body)
    assert (row["fingerprint"], row["serial"]) == (leaf.fingerprint(hashes.SHA256()).hex(), serial_of(whole["pem"]))
    for file in (
        await anna.call("GET", f"{path}/{row['id']}.pem"),
        await anna.call("GET", f"{path}/{row['id']}", Accept="text/plain, application/x-pem-file;q=0.9"),
    ):
        assert (file.status, file.body) == (200, created["client_cert"].encode())
        assert file.headers["content-type"] == "application/x-pem-file"
        assert file.headers["content-disposition"] == f'attachment; filename="{created["id"]}-{row["id"]}.pem"'
    for missing in ("crt_nope", "crt_nope.pem", ".pem", "%00", "a" * 99, f"{row['id']}.pem.pem"):
        answer = await anna.call("GET", f"{path}/{missing}")
        assert (answer.status, answer.message) == (404, "Certificate not found"), missing


async def test_a_damaged_certificate_is_said_to_be_damaged_and_never_handed_out(anna):
    created = await anna.create(NOBODY)
    path = f"/{created['id']}/certificates"
    (row,) = (await anna.call("GET", path)).json()["certificates"]
    with contextlib.closing(apsw.Connection(str(Path(anna.world.gridhook.settings.data_dir) / "gridhook.db"))) as database:
        database.set_busy_timeout(10_000)
        chain = database.execute("SELECT chain FROM webhook_certificates").fetchall()[0][0]
        assert isinstance(chain, bytes)
        for damaged in (chain[:300] + b"\xff" + chain[301:], chain[:300] + bytes([chain[300] ^ 1]) + chain[301:], b""):
            database.execute("UPDATE webhook_certificates SET chain = ?", (damaged,))
            for name in (row["id"], f"{row['id']}.pem"):
                answer = await anna.call("GET", f"{path}/{name}")
                assert answer.status == 503
                assert f"certificate {row['id']} was damaged in the database; issue the next one" in answer.message
            assert (await anna.call("GET", path)).status == 200


async def test_a_certificate_of_another_webhook_is_not_found_through_ones_own(anna):
    ours, other = await anna.create(NOBODY), await anna.create(NOBODY)
    theirs = (await anna.call("POST", f"/{other['id']}/certificates")).json()
    for method in ("GET", "DELETE"):
        answer = await anna.call(method, f"/{ours['id']}/certificates/{theirs['id']}")
        assert (answer.status, answer.message) == (404, "Certificate not found")
    stranger = anna.world.theirs
    for method, path in (
        ("GET", ""),
        ("POST", ""),
        ("GET", f"/{theirs['id']}"),
        ("GET", f"/{theirs['id']}.pem"),
        ("DELETE", f"/{theirs['id']}"),
    ):
        answer = await anna.call(method, f"/{other['id']}/certificates{path}", tenant=stranger)
        assert (answer.status, answer.message) == (404, "Webhook not found"), (method, path)
    assert await anna.states(other["id"]) == ["presented", "fallback"]


async def test_a_webhook_with_a_private_key_is_told_how_to_come_by_a_certificate(anna):
    created = await anna.create(NOBODY, "bearer_token")
    assert (await anna.call("GET", f"/{created['id']}/certificates")).json() == {"certificates": []}
    refused = await anna.call("POST", f"/{created['id']}/certificates")
    assert (refused.status, "change its auth_method to mtls" in refused.message) == (409, True)
    assert (await anna.shown(created["id"]))["certificate"] is None


async def test_certificates_cannot_be_asked_for_without_end(anna):
    created = await anna.create(NOBODY)
    answers = [await anna.call("POST", f"/{created['id']}/certificates") for _ in range(12)]
    assert [answer.status for answer in answers[:10]] == [201] * 10
    assert (answers[-1].status, int(answers[-1].headers["retry-after"]) > 0) == (429, True)
    assert len(await anna.states(created["id"])) < 13


# One proof for another


async def test_a_webhook_changes_from_its_private_key_to_a_certificate_and_back(anna):
    created = await anna.create(NOBODY, "bearer_token")
    one = f"/{created['id']}"
    stale = await anna.call("PATCH", one, {"auth_method": "mtls"}, If_Match='"7"')
    assert stale.status == 412
    changed = await anna.call("PATCH", one, {"auth_method": "mtls"}, If_Match='"1"')
    assert (changed.status, changed.headers["etag"]) == (200, '"2"')
    mtls = changed.json()
    assert (mtls["auth_method"], mtls["private_keys"], mtls["cert_expires_at"]) == (
        "mtls",
        [],
        mtls["certificate"]["presented"]["expires_at"],
    )
    assert serial_of(mtls["client_cert"]) == mtls["certificate"]["presented"]["serial"]
    assert "private_key" not in mtls
    plain = await anna.call("PATCH", one, {"url": NOBODY.replace("https", "http")})
    assert (plain.status, plain.json()["field"]) == (422, "url")
    assert (await anna.call("PATCH", one, {"auth_method": "mtls"})).status == 409
    key = await anna.call("POST", f"{one}/private-key")
    assert (key.status, "presents a certificate" in key.message) == (409, True)

    bearer = (await anna.call("PATCH", one, {"auth_method": "bearer_token"})).json()
    assert len(bearer["private_key"]) == 64
    assert bearer["private_key"] != created["private_key"]
    assert (bearer["certificate"], bearer.keys() & {"client_cert", "cert_expires_at"}) == (None, set())
    assert await anna.states(created["id"]) == ["retired"]
    (listed,) = (await anna.call("GET", "")).json()["webhooks"]
    assert (listed["auth_method"], "cert_expires_at" in listed) == ("bearer_token", False)


async def test_of_several_people_who_ask_for_another_proof_at_once_one_gets_it(anna):
    created = await anna.create(NOBODY, "bearer_token")
    answers = await asyncio.gather(*(anna.call("PATCH", f"/{created['id']}", {"auth_method": "mtls"}) for _ in range(8)))
    assert sorted(answer.status for answer in answers) == [200] + [409] * 7
    assert await anna.states(created["id"]) == ["presented"]


@pytest.mark.parametrize(
    ("url", "body", "words"),
    [
        ("http://127.0.0.1:18009/h", {"auth_method": "mtls"}, "needs an https URL; change the URL first"),
        (NOBODY, {"auth_method": "mtls", "name": "New", "url": NOBODY}, "is changed by itself; send name, url in another call"),
        (NOBODY, {"auth_method": None}, "must be one of bearer_token, mtls"),
        (NOBODY, {"auth_method": "basic"}, "must be one of bearer_token, mtls"),
    ],
)
async def test_another_proof_that_cannot_be_is_422_and_changes_nothing(anna, url, body, words):
    created = await anna.create(url, "bearer_token")
    answer = await anna.call("PATCH", f"/{created['id']}", body)
    assert (answer.status, answer.json()["field"]) == (422, "auth_method"), answer
    assert words in answer.message
    shown = await anna.shown(created["id"])
    assert (shown["revision"], shown["auth_method"], shown["name"]) == (1, "bearer_token", "Vault")


async def test_the_sdk_registers_a_webhook_that_presents_a_certificate_and_it_is_delivered_to(anna):
    receiver = await anna.receiver()
    client = AccessGrid(anna.world.ours.account_id, anna.world.ours.secret, anna.world.base_url).console.webhooks
    created = await asyncio.to_thread(client.create, name="Vault", url=receiver.url, subscribed_events=[LOW["type"]], auth_method="mtls")
    assert (created.auth_method, created.private_key) == ("mtls", None)
    await anna.world.verified(created.id)
    (listed,) = await asyncio.to_thread(client.list)
    assert (listed.cert_expires_at, listed.client_cert) == (created.cert_expires_at, None)
    await anna.world.publish(LOW)
    seen = await asyncio.to_thread(receiver.wait_for, 2)
    assert {(one.common_name, one.serial, one.authorization) for one in seen} == {(created.id, serial_of(created.client_cert), "")}


# Whom receivers must trust


async def test_anybody_may_read_the_authorities_and_a_crowd_that_asks_first_has_one_made(anna):
    answers = await asyncio.gather(*(anna.world.send("GET", "/v1/ca.pem") for _ in range(20)))
    assert {(answer.status, answer.body) for answer in answers} == {(200, answers[0].body)}
    assert len(await anna.world.gridhook.service.authorities.listed()) == 1
    (authority,) = x509.load_pem_x509_certificates(answers[0].body)
    assert authority.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    headers = answers[0].headers
    assert (headers["content-type"], headers["access-control-allow-origin"]) == ("application/x-pem-file", "*")
    assert headers["cache-control"] == "public, max-age=300"
    again = await anna.world.send("GET", "/v1/ca.pem", If_None_Match=headers["etag"])
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", headers["etag"])
    assert (await anna.world.send("HEAD", "/v1/ca.pem")).headers["content-length"] == str(len(answers[0].body))
    preflight = await anna.world.send("OPTIONS", "/v1/ca.pem", Origin="https://example.com")
    assert (preflight.status, preflight.headers["access-control-allow-origin"]) == (204, "*")
    assert (await anna.world.send("POST", "/v1/ca.pem", b"")).status == 405


async def test_a_successor_is_published_before_it_signs(anna):
    created = await anna.create(NOBODY)
    (before,) = x509.load_pem_x509_certificates((await anna.world.send("GET", "/v1/ca.pem")).body)
    successor = await anna.world.gridhook.service.authorities.roll(signs_in_ms=7 * DAY_MS)
    async with asyncio.timeout(HANG_GUARD_SECONDS):  # what is answered may be a second old
        while len(published := x509.load_pem_x509_certificates((await anna.world.send("GET", "/v1/ca.pem")).body)) < 2:
            await asyncio.sleep(0.1)
    assert {one.subject for one in published} == {before.subject, x509.load_pem_x509_certificate(successor.certificate).subject}
    issued = (await anna.call("POST", f"/{created['id']}/certificates")).json()
    assert issued["authority_id"] != successor.id
    leaf, issuer = x509.load_pem_x509_certificates(issued["pem"].encode())
    assert (leaf.issuer, issuer) == (before.subject, before)
