"""Sending again over HTTP: one delivery, many at once, and what stands in the way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gridhook.telemetry import Log
from gridhook.testing import Receiver, Reply
from tests.web.world import HANG_GUARD_SECONDS, LOW, World, running

HOOKS = "/v1/console/webhooks"


@asynccontextmanager
async def failed(data_dir: Path, log: Log, count: int) -> AsyncIterator[tuple[World, Receiver, str]]:
    """A webhook whose deliveries failed for good; its receiver has come back since."""
    async with Receiver() as receiver, running(data_dir, log, retry_delays_seconds=(), recovery_per_second=1000.0) as world:
        receiver.reply = Reply(500)
        created = await world.create(receiver.url)
        await world.verified(created["id"])
        for n in range(count):
            await world.publish({**LOW, "id": f"e{n}"})
        await world.attempts(created["id"], count + 1)
        receiver.reply = Reply(200)
        yield world, receiver, f"{HOOKS}/{created['id']}"


async def ended(world: World, path: str) -> dict[str, Any]:
    async with asyncio.timeout(HANG_GUARD_SECONDS):
        while True:
            found: dict[str, Any] = (await world.signed("GET", path)).json()
            if found["state"] != "running":
                return found
            await asyncio.sleep(0.02)


async def test_one_delivery_is_sent_again_with_the_same_event_and_the_log_says_that_a_person_asked(tmp_path, quiet_log):
    async with failed(tmp_path, quiet_log, 1) as (world, receiver, one):
        (before,) = (await world.signed("GET", f"{one}/deliveries", query="state=failed")).json()["deliveries"]
        answer = await world.signed("POST", f"{one}/deliveries/{before['id']}/redeliver")
        assert (answer.status, answer.json()["brought_forward"]) == (202, False)
        again = answer.json()["delivery"]
        assert (again["event_id"], again["origin"], again["id"] == before["id"]) == ("e0", "redelivery", False)
        first, second = await receiver.received(2)
        assert (first.event_id, second.body) == ("e0", first.body)
        await world.attempts(one.rsplit("/", 1)[1], 3)
        newest = (await world.signed("GET", f"{one}/attempts", query="event_id=e0&outcome=delivered")).json()["attempts"][0]
        assert (newest["origin"], newest["delivery_id"], newest["number"]) == ("redelivery", again["id"], 1)
        assert (await world.signed("GET", f"{one}/deliveries/{before['id']}")).json() == before


async def test_what_arrived_at_the_second_asking_is_no_longer_among_the_undelivered(tmp_path, quiet_log):
    async with failed(tmp_path, quiet_log, 4) as (world, receiver, one):

        def counts(answer: Any) -> list[int]:
            return [group["count"] for group in answer.json()["undelivered"]]

        assert counts(await world.signed("GET", f"{one}/undelivered")) == [4]
        delivery = (await world.signed("GET", f"{one}/deliveries", query="event_id=e1")).json()["deliveries"][0]
        await world.signed("POST", f"{one}/deliveries/{delivery['id']}/redeliver")
        await world.attempts(one.rsplit("/", 1)[1], 6)
        assert counts(await world.signed("GET", f"{one}/undelivered")) == [3]
        asked = await world.signed("POST", f"{one}/recoveries")
        assert (await ended(world, f"{one}/recoveries/{asked.json()['id']}"))["requeued"] == 3
        await receiver.received(8)
        await world.attempts(one.rsplit("/", 1)[1], 9)
        assert counts(await world.signed("GET", f"{one}/undelivered")) == []


@pytest.mark.parametrize("verb", ["deliveries/1/redeliver", "recoveries"])
async def test_nothing_is_sent_again_while_a_webhook_is_paused_or_unproven(tmp_path, quiet_log, verb):
    async with failed(tmp_path, quiet_log, 1) as (world, receiver, one):
        (delivery,) = (await world.signed("GET", f"{one}/deliveries")).json()["deliveries"]
        path = f"{one}/{verb.replace('/1/', '/' + delivery['id'] + '/')}"
        await world.signed("POST", f"{one}/pause")
        paused = await world.signed("POST", path)
        assert (paused.status, "paused" in paused.message) == (409, True), paused
        await world.signed("POST", f"{one}/resume")
        receiver.handshake = lambda request: Reply(500)
        await world.signed("PATCH", one, json.dumps({"url": receiver.url + "/other"}).encode())
        pending = await world.signed("POST", path)
        assert (pending.status, "pending" in pending.message) == (409, True), pending
        assert receiver.count == 1


async def test_a_recovery_sends_all_that_failed_tells_how_far_it_is_and_never_sends_twice(tmp_path, quiet_log):
    async with failed(tmp_path, quiet_log, 5) as (world, receiver, one):
        asked = await world.signed("POST", f"{one}/recoveries")
        assert (asked.status, asked.json()["total"], asked.json()["filter"]["states"]) == (202, 5, ["failed"])
        done = await ended(world, f"{one}/recoveries/{asked.json()['id']}")
        assert (done["state"], done["examined"], done["requeued"], done["skipped"]) == ("done", 5, 5, 0)
        await receiver.received(10)
        await world.attempts(one.rsplit("/", 1)[1], 11)
        again = await world.signed("POST", f"{one}/recoveries", b'{"states":["failed"],"result":"500"}')
        second = await ended(world, f"{one}/recoveries/{again.json()['id']}")
        assert (second["requeued"], second["skipped"]) == (0, 5)
        listed = (await world.signed("GET", f"{one}/recoveries")).json()["recoveries"]
        assert listed == [second, done]
        assert len((await world.signed("GET", f"{one}/recoveries", query="limit=1")).json()["recoveries"]) == 1
        assert receiver.count == 10


async def test_a_recovery_is_cancelled_and_another_may_run_then(tmp_path, quiet_log):
    async with failed(tmp_path, quiet_log, 3) as (world, _, one):
        asked = (await world.signed("POST", f"{one}/recoveries", b'{"rate_per_second":0.1}')).json()
        second = await world.signed("POST", f"{one}/recoveries")
        assert second.status == 409
        for _ in range(2):
            cancelled = await world.signed("DELETE", f"{one}/recoveries/{asked['id']}")
            assert (cancelled.status, cancelled.json()["state"]) == (200, "cancelled")
        assert (await world.signed("POST", f"{one}/recoveries")).status == 202
        for path in ("rec_nope", "%00", "x" * 99):
            for method in ("GET", "DELETE"):
                answer = await world.signed(method, f"{one}/recoveries/{path}")
                assert (answer.status, answer.message) == (404, "Recovery not found")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"states": ["held"]}, "states"),
        ({"states": ["lost"]}, "states"),
        ({"states": "failed"}, "states"),
        ({"type": "ag.nope"}, "type"),
        ({"since": "then"}, "since"),
        ({"since": "2100-01-01T00:00:00Z"}, "since"),
        ({"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}, "until"),
        ({"rate_per_second": 0}, "rate_per_second"),
        ({"rate_per_second": 1e9}, "rate_per_second"),
        ({"result": "\u0000"}, ""),
        ({"result": "\x1b"}, "result"),
        ({"result": ""}, "result"),
        ({"all": True}, "all"),
    ],
)
async def test_a_recovery_that_cannot_be_is_refused_naming_the_field_and_none_is_started(world, body, field):
    created = await world.create("http://127.0.0.1:18009/h")
    answer = await world.signed("POST", f"{HOOKS}/{created['id']}/recoveries", json.dumps(body).encode())
    assert (answer.status, answer.json().get("field", "")) == (422 if field else 400, field), answer
    assert (await world.signed("GET", f"{HOOKS}/{created['id']}/recoveries")).json() == {"recoveries": []}
