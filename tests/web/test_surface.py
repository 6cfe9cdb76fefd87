"""Schemas, health, metrics, and our own defects."""

from __future__ import annotations

import contextlib
import io
import json

import apsw

from gridhook.rules.catalogue import catalogue
from gridhook.telemetry import Log
from tests.web.world import LOW, running

SCHEMA = "/schemas/webhooks/ag.access_pass.issued/1.json"


async def test_every_type_of_the_catalogue_is_served_at_the_address_that_its_events_carry(world):
    index = (await world.send("GET", "/schemas/webhooks")).json()["types"]
    assert [entry["type"] for entry in index] == list(catalogue().types)
    for entry in index:
        answer = await world.send("GET", entry["dataschema"].removeprefix("https://hooks.example.com"))
        assert (answer.status, answer.headers["content-type"]) == (200, "application/schema+json")
        assert answer.json()["$id"] == entry["dataschema"]


async def test_a_schema_may_be_kept_for_ever_read_from_any_page_and_asked_for_again_cheaply(world):
    first = await world.send("GET", SCHEMA, Origin="https://example.com")
    assert "immutable" in first.headers["cache-control"]
    assert first.headers["access-control-allow-origin"] == "*"
    etag = first.headers["etag"]
    for condition in (etag, f'W/{etag}, "other"', "*"):
        again = await world.send("GET", SCHEMA, If_None_Match=condition)
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", etag)
    assert (await world.send("GET", SCHEMA, If_None_Match='"other"')).status == 200
    preflight = await world.send("OPTIONS", SCHEMA, Origin="https://example.com", Access_Control_Request_Method="GET")
    assert (preflight.status, preflight.headers["access-control-allow-origin"]) == (204, "*")


async def test_who_types_a_slash_behind_a_pages_address_comes_to_the_page(world):
    for path in ("/docs", "/console", "/console/sign-in", "/console/a/acc_1/webhooks", "/console/a/x/events/2026%2F11%2F%C3%A4"):
        answer = await world.send("GET", f"{path}/?next=%2F&x=1")
        assert (answer.status, answer.headers["location"]) == (308, f"{path}?next=%2F&x=1"), path
    assert (await world.send("GET", "/docs/")).headers["location"] == "/docs"
    assert (await world.send("POST", "/console/sign-in/")).status == 405
    for path in ("/console//example.com/", "//example.com/", "/v1/accounts/", "/docs//"):
        assert (await world.send("GET", path)).status == 404, path


async def test_readiness_turns_red_and_names_the_part_that_died(tmp_path, quiet_log):
    async with running(tmp_path, quiet_log) as world:
        ready = await world.send("GET", "/readyz")
        assert (ready.status, set(ready.json()["parts"].values())) == (200, {"alive"})
        await world.gridhook.transport.close()
        red = await world.send("GET", "/readyz")
        assert (red.status, red.json()["dead"], red.json()["parts"]["sender"]) == (503, ["sender"], "dead")
        assert (await world.send("GET", "/healthz")).status == 200


async def test_metrics_count_what_was_published_and_name_nobody(world):
    await world.publish(LOW)
    answer = await world.send("GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert b'gridhook_events_total{result="new"} 1.0' in answer.body
    assert world.ours.account_id.encode() not in answer.body


async def test_a_defect_of_ours_is_a_500_that_tells_nothing_and_one_log_line_that_tells_all_but_secrets(tmp_path):
    lines = io.BytesIO()
    async with running(tmp_path, Log(lines)) as world:
        account_id, secret = world.ours.account_id, world.ours.secret
        # A stored secret that cannot be opened: as after a master key was swapped under our feet.
        world.gridhook.service.vault = _Broken()  # type: ignore[assignment]  # a vault that fails on purpose
        answer = await world.signed("GET", "/v1/console/webhooks")
    assert answer.status == 500
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert "ZeroDivisionError" not in answer.body.decode()
    told = [line for line in map(json.loads, lines.getvalue().splitlines()) if line["msg"] == "a request met a defect of ours"]
    assert [line["request"] for line in told] == [answer.headers["x-request-id"]]
    assert "ZeroDivisionError" in told[0]["traceback"]
    assert account_id
    assert secret not in lines.getvalue().decode()


class _Broken:
    def open(self, sealed: object, context: str) -> str:
        raise ZeroDivisionError("on purpose")


async def test_a_damaged_api_secret_of_two_leaves_the_other_one_working(tmp_path, quiet_log):
    async with running(tmp_path, quiet_log) as world:
        service = world.gridhook.service
        other = await service.add_secret(world.ours.account_id)
        with contextlib.closing(apsw.Connection(str(tmp_path / "gridhook.db"))) as database:
            database.execute(
                "UPDATE account_secrets SET sealed = x'0102' WHERE account_id = ? AND id <> ?", (world.ours.account_id, other.id)
            )
        assert (await world.signed("GET", "/v1/console/webhooks")).status == 401
        world.ours.secret = other.text
        assert (await world.signed("GET", "/v1/console/webhooks")).status == 200
