"""The log of a webhook: filters, pages in both directions, one attempt in full and the command that repeats it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from pathlib import Path
from typing import Any

import apsw
import pytest

from gridhook.errors import Invalid
from gridhook.model import LATENCY_BOUNDS_MS
from gridhook.store.sqlstore import SqlStore
from gridhook.testing import Received, Receiver, Reply
from gridhook.web import curl
from gridhook.web.cursors import around, read_cursor
from gridhook.web.cursors import cursor as cursor_of
from gridhook.web.shapes.health import percentile_ms
from tests.web.world import BALANCE, LOW, World, running

HOOKS = "/v1/console/webhooks"
URL = "http://127.0.0.1:18009/h"


async def told(world: World, path: str, query: str = "") -> Any:
    answer = await world.signed("GET", path, query=query)
    assert answer.status == 200, answer
    return answer.json()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["test", "e3", "e2", "e1", "handshake"]),
        ("outcome=delivered", ["test", "e3", "handshake"]),
        ("outcome=failed", ["e2", "e1"]),
        ("status=404", ["e2"]),
        ("status=5xx", ["e1"]),
        ("status=2XX&kind=delivery", ["e3"]),
        ("kind=verification", ["handshake"]),
        ("kind=test", ["test"]),
        ("event_id=e2", ["e2"]),
        ("event_id=another", []),
        ("type=ag.account_balance.low&kind=delivery", ["e3", "e2", "e1"]),
        ("type=ag.landing_page.created", []),
        ("reason=timeout", []),
        ("since=2100-01-01T00:00:00Z", []),
        ("until=2000-01-01T00:00:00%2B01:00", []),
        ("since=2000-01-01T00:00:00Z&until=2100-01-01T00:00:00Z&kind=delivery", ["e3", "e2", "e1"]),
        ("page=7&sig=x&kind=", ["test", "e3", "e2", "e1", "handshake"]),
        # Without a value: as if it were not there. Of several the first with a value counts.
        ("cursor=&newer&status=&outcome=&type=&reason=&since=&until=&event_id=&limit=", ["test", "e3", "e2", "e1", "handshake"]),
        ("status=&status=404&status=500&cursor=", ["e2"]),
    ],
)
async def test_attempts_are_found_by_what_they_were_and_what_came_of_them(world, query, expected):
    async with Receiver() as receiver:
        receiver.script(Reply(500), Reply(404), Reply(200))
        created = await world.create(receiver.url)
        await world.verified(created["id"])
        for n in (1, 2, 3):
            await world.publish({**LOW, "id": f"e{n}"})
            await world.attempts(created["id"], n + 1)
        await world.signed("POST", f"{HOOKS}/{created['id']}/test", b'{"type":"ag.account_balance.low"}')
    page = await told(world, f"{HOOKS}/{created['id']}/attempts", query)
    names = {"verification": "handshake", "test": "test"}
    assert [names.get(attempt["kind"], attempt["event_id"]) for attempt in page["attempts"]] == expected


@pytest.mark.parametrize(
    ("path", "query", "field"),
    [
        ("attempts", "status=40", "status"),
        ("attempts", "status=xx4", "status"),
        ("attempts", "outcome=ok", "outcome"),
        ("attempts", "kind=tests", "kind"),
        ("attempts", "reason=slow", "reason"),
        ("attempts", "type=ag.nope", "type"),
        ("attempts", "event_id=%00", "event_id"),
        ("attempts", f"event_id={'a' * 256}", "event_id"),
        ("attempts", "since=yesterday", "since"),
        ("attempts", "since=2026-11-22T10:00:00+01:00", "since"),  # "+" is a space here
        ("attempts", "since=2026-11-22T10:00:00Z&until=2026-11-22T10:00:00Z", "until"),
        ("attempts", "newer=x", "newer"),
        ("deliveries", "state=lost", "state"),
        ("deliveries", "until=0", "until"),
        ("deliveries", "cursor=x", "cursor"),
        ("minutes", "since=now", "since"),
    ],
)
async def test_a_parameter_that_cannot_be_read_is_422_naming_it(world, path, query, field):
    created = await world.create(URL)
    answer = await world.signed("GET", f"{HOOKS}/{created['id']}/{path}", query=query)
    assert (answer.status, answer.json()["field"]) == (422, field), answer


@pytest.mark.parametrize(("list_", "key"), [("attempts", "event_id"), ("deliveries", "event_id")])
async def test_pages_go_both_ways_and_nothing_is_lost_or_doubled_while_more_arrives(world, list_, key):
    async def publish(*numbers: int) -> None:
        for n in numbers:
            await world.publish({**LOW, "id": f"e{n}"})
            await receiver.received(n)

    async with Receiver() as receiver:
        created = await world.create(receiver.url)
        await world.verified(created["id"])
        await publish(1, 2, 3, 4, 5)
        await world.attempts(created["id"], 6)
        path = f"{HOOKS}/{created['id']}/{list_}"
        kind = "kind=delivery&" if list_ == "attempts" else ""

        async def page(query: str) -> tuple[list[str], str | None, str | None]:
            found = await told(world, path, f"{kind}limit=2&{query}")
            return [row[key] for row in found[list_]], found["next_cursor"], found["prev_cursor"]

        top, older, newest = await page("")
        assert top == ["e5", "e4"]
        await publish(6, 7, 8)
        await world.attempts(created["id"], 9)
        middle, last, above_middle = await page(f"cursor={older}")
        assert middle == ["e3", "e2"]
        assert (await page(f"cursor={last}"))[0] == ["e1"]
        # Back up from the middle, page by page, to what arrived meanwhile, and to the end of what there is.
        back, below_back, further = await page(f"newer={above_middle}")
        assert back == ["e5", "e4"]
        assert (await page(f"cursor={below_back}"))[0] == middle
        first, _, further = await page(f"newer={further}")
        assert first == ["e7", "e6"]
        rest, _, end = await page(f"newer={further}")
        assert rest == ["e8"]
        empty, below, again = await page(f"newer={end}")
        assert (empty, again) == ([], end)
        assert (await page(f"cursor={below}"))[0] == ["e8", "e7"]
        await publish(9)
        await world.attempts(created["id"], 10)
        assert (await page(f"newer={end}"))[0] == ["e9"]
        # From the top of the first page.
        assert (await page(f"newer={newest}"))[0] == ["e7", "e6"]
        both = await world.signed("GET", path, query=f"cursor={older}&newer={newest}")
        assert (both.status, both.json()["field"]) == (422, "newer")


def test_a_short_page_says_where_to_go_on_in_either_direction():
    row, at = [(9, 3)], (5, 2)
    assert around(row, None, before=None, after=None) == (None, (9, 3))
    assert around([], (4, 1), before=None, after=None) == ((4, 1), None)
    # Nothing found below: what is above begins with the very row that was asked from, and what is below with that above.
    assert around([], None, before=at, after=None) == (None, (5, 1))
    assert around([], None, before=None, after=at) == ((5, 3), at)
    assert around([], (8, 1), before=None, after=at) == ((5, 3), (8, 1))
    assert around(row, (9, 3), before=None, after=at) == ((9, 3), (9, 3))


def test_a_cursor_is_good_for_its_own_log_only():
    text = cursor_of((1_780_000_000_000, 2**63 - 1), "wh_1")
    assert read_cursor(text, "wh_1") == (1_780_000_000_000, 2**63 - 1)
    with pytest.raises(Invalid, match="start again without it"):
        read_cursor(text, "wh_1/deliveries")


async def test_an_attempt_and_a_delivery_are_shown_under_their_own_webhook_only(world):
    async with Receiver() as receiver:
        created, other = await world.create(receiver.url), await world.create(receiver.url)
        await world.verified(created["id"])
        await world.verified(other["id"])
        await world.publish(LOW)
        attempt = (await world.attempts(created["id"], 2))[0]
    for path, id_ in (("attempts", attempt["id"]), ("deliveries", attempt["delivery_id"])):
        assert (await told(world, f"{HOOKS}/{created['id']}/{path}/{id_}"))["id"] == id_
        for wrong in (
            f"{other['id']}/{path}/{id_}",
            f"{created['id']}/{path}/{2**63}",
            f"{created['id']}/{path}/x",
            f"{created['id']}/{path}/%C2%B2",
        ):
            answer = await world.signed("GET", f"{HOOKS}/{wrong}")
            assert (answer.status, "not found" in answer.message) == (404, True), wrong


async def test_who_looks_at_an_attempt_or_a_key_does_not_have_all_that_waits_counted(tmp_path, quiet_log, monkeypatch):
    async with Receiver() as receiver, running(tmp_path, quiet_log) as world:
        created = await world.create(receiver.url)
        await world.verified(created["id"])
        (handshake,) = await world.attempts(created["id"], 1)
        counted = []

        class Noting:
            """A real connection; notes how far it is asked to count."""

            def __init__(self, connection):
                self._connection = connection

            def rows(self, name, /, **params):
                if name in ("count_held", "count_queued"):
                    counted.append(params["most"])
                return self._connection.rows(name, **params)

            def __getattr__(self, name):
                return getattr(self._connection, name)

        store = world.gridhook.store
        assert isinstance(store, SqlStore)
        readers = store._readers
        original = readers._connection
        monkeypatch.setattr(readers, "_connection", lambda: Noting(original()))
        for method, path, body in (
            ("GET", f"attempts/{handshake['id']}", b""),
            ("GET", "private-key", b""),
            ("POST", "test", b'{"type":"ag.account_balance.low"}'),
        ):
            answer = await world.signed(method, f"{HOOKS}/{created['id']}/{path}", body)
            assert answer.status == 200, answer
        assert set(counted) == {0}


async def test_an_event_is_shown_as_it_is_sent_with_its_delivery_to_each_webhook_whatever_its_id(world):
    id_, path = "order/1 50% ä", "order%2F1%2050%25%20%C3%A4"
    async with Receiver() as receiver, Receiver(handshake=lambda request: Reply(500)) as unproven:
        good, pending = await world.create(receiver.url), await world.create(unproven.url)
        await world.verified(good["id"])
        await world.publish({**LOW, "id": id_})
        await receiver.received(1)
        await world.attempts(good["id"], 2)
    event = await told(world, f"/v1/console/events/{path}")
    assert (event["id"], event["type"], event["is_test"]) == (id_, LOW["type"], False)
    assert event["payload"] == receiver.deliveries[0].json()
    assert {row["webhook_id"]: row["state"] for row in event["deliveries"]} == {good["id"]: "delivered", pending["id"]: "held"}
    theirs = await world.signed("GET", f"/v1/console/events/{path}", tenant=world.theirs)
    assert (theirs.status, theirs.message) == (404, "Event not found")


async def test_an_answer_is_json_even_where_a_payload_is_none_any_more(world):
    async with Receiver() as receiver:
        webhook = await world.create(receiver.url)
        await world.verified(webhook["id"])
        await world.publish({**LOW, "id": "hurt"})
        attempt = (await world.attempts(webhook["id"], 2))[0]
    with contextlib.closing(apsw.Connection(str(Path(world.gridhook.settings.data_dir) / "gridhook.db"))) as database:
        database.set_busy_timeout(10_000)
        database.execute("UPDATE events SET payload = x'7bff7d'")
    assert (await told(world, "/v1/console/events/hurt"))["payload"] is None
    shown = await told(world, f"/v1/console/webhooks/{webhook['id']}/attempts/{attempt['id']}")
    assert (shown["event_id"], shown["request"]["payload"]) == ("hurt", None)


async def test_what_did_not_arrive_is_counted_by_reason_and_minutes_count_what_was_tried(world):
    async with Receiver() as receiver:
        receiver.script(Reply(503), Reply(503), Reply(200))
        created = await world.create(receiver.url)
        await world.verified(created["id"])
        for _ in range(3):
            await world.publish(LOW)
        await world.attempts(created["id"], 4)
    one = f"{HOOKS}/{created['id']}"
    (waiting,) = (await told(world, f"{one}/undelivered"))["undelivered"]
    assert (waiting["state"], waiting["last_result"], waiting["count"], waiting["failure_reason"]) == ("queued", "503", 2, None)
    assert waiting["oldest_expires_at"] > waiting["oldest_created_at"]
    counted = (await told(world, f"{one}/minutes"))["minutes"]
    assert (sum(m["succeeded"] for m in counted), sum(m["failed"] for m in counted)) == (1, 2)
    assert (await told(world, f"{one}/minutes", "since=2100-01-01T00:00:00Z"))["minutes"] == []
    assert [row["state"] for row in (await told(world, f"{one}/deliveries", "result=503"))["deliveries"]] == ["queued", "queued"]


async def test_a_test_is_answered_with_the_attempt_in_full_whatever_the_receiver_says(world):
    async with Receiver() as receiver:
        created = await world.create(receiver.url)
        pending = await world.signed("POST", f"{HOOKS}/{created['id']}/test", b'{"type":"ag.nope"}')
        assert (pending.status, pending.json()["field"]) == (422, "type")
        await world.verified(created["id"])
        receiver.script(Reply(418, (), b"short and stout"))
        answer = await world.signed("POST", f"{HOOKS}/{created['id']}/test", b'{"type":"ag.access_pass.issued"}')
    tried = answer.json()
    assert (answer.status, tried["kind"], tried["status"], tried["response"]["body"]) == (200, "test", 418, "short and stout")
    assert tried["request"]["payload"] == receiver.deliveries[0].json()
    assert (tried["request"]["payload"]["test"], tried["request"]["payload"]["source"]) == (True, "/accessgrid/test")
    assert tried == await told(world, f"{HOOKS}/{created['id']}/attempts/{tried['id']}")
    for body, status in ((b"", 400), (b"{}", 422), (b'{"type":1}', 422), (b'{"type":"ag.access_pass.issued","to":"x"}', 422)):
        assert (await world.signed("POST", f"{HOOKS}/{created['id']}/test", body)).status == status


async def test_nothing_is_tried_on_a_url_that_is_not_proven(world):
    created = await world.create(URL)
    answer = await world.signed("POST", f"{HOOKS}/{created['id']}/test", b'{"type":"ag.access_pass.issued"}')
    assert (answer.status, "pending" in answer.message) == (409, True)


async def test_a_url_is_judged_without_anything_being_sent_to_it(world):
    async def check(url: str) -> Any:
        answer = await world.signed("POST", f"{HOOKS}/check", json.dumps({"url": url}).encode())
        assert answer.status == 200, answer
        return answer.json()

    async with Receiver() as receiver:
        good = await check(receiver.url)
        assert (good["allowed"], good["reason"], good["target"]["host"]) == (True, None, "127.0.0.1")
        assert receiver.connections == 0
    bad = await check("http://10.1.2.3/hook")
    assert (bad["allowed"], bad["reason"], bad["addresses"][0]["address"]) == (False, "url_refused", "10.1.2.3")
    assert bad["remedies"]
    none = await check("nonsense")
    assert (none["allowed"], none["reason"], none["target"]) == (False, "url_refused", None)
    for body, field in ((b"{}", "url"), (b'{"url":7}', "url"), (b'{"url":"http://a.test","x":1}', "x")):
        answer = await world.signed("POST", f"{HOOKS}/check", body)
        assert (answer.status, answer.json()["field"]) == (422, field)


# The command that repeats a request


async def run(command: str, shell: str = "bash", **environment: str) -> str:
    process = await asyncio.create_subprocess_exec(
        shell,
        "-c",
        command,
        env={"PATH": os.environ["PATH"], **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await process.communicate()
    assert process.returncode == 0, error.decode()
    return out.decode()


async def test_the_command_repeats_the_request_and_holds_none_of_its_secrets(world):
    async with Receiver() as receiver:
        created = await world.create(f"{receiver.url}?token=s3cret&x=[1-3]")
        await world.signed("PATCH", f"{HOOKS}/{created['id']}", b'{"headers":{"X-Team":"header-secret"}}')
        await world.verified(created["id"])
        await world.publish({**LOW, "id": 'it\'s "$(id)" `id` \\n %s ä', "data": {**BALANCE, "organization_name": "$HOME'; exit 1; '"}})
        attempt = (await world.attempts(created["id"], 2))[0]
        command = (await told(world, f"{HOOKS}/{created['id']}/attempts/{attempt['id']}"))["request"]["curl"]
        for secret in (created["private_key"], "s3cret", "header-secret"):
            assert secret not in command
        said = await run(command, PRIVATE_KEY=created["private_key"], QUERY="token=s3cret&x=[1-3]")
        ours, repeated = receiver.deliveries
    assert "HTTP/1.1 200" in said
    assert (repeated.method, repeated.path, repeated.body) == (ours.method, ours.path, ours.body)
    assert masked(repeated) == masked(ours)
    handshake = (await told(world, f"{HOOKS}/{created['id']}/attempts", "kind=verification"))["attempts"][0]
    in_full = await told(world, f"{HOOKS}/{created['id']}/attempts/{handshake['id']}")
    assert in_full["request"] == {"method": "POST", "payload": None, "curl": None}


def masked(request: Received) -> dict[str, str]:
    """What makes the request, of its headers, with the values that the command must not know."""
    left_out = {"accept", "accept-encoding"}
    return {name: "***" if name == "x-team" else value for name, value in request.headers if name not in left_out}


@pytest.mark.parametrize("shell", ["bash", "sh"])
@pytest.mark.parametrize(
    "path", ["/a'b", "/$(touch broken)", "/`touch broken`", '/"; touch broken; "', "/-o broken", "/a\\", "/{1,2}[3-4]", "/!x"]
)
async def test_no_url_and_no_body_breaks_out_of_the_command(tmp_path, shell, path):
    payload = f'{{"a": "{path}\\n-- %s %n \'\'\' EOF"}}\nEOF\n$(touch broken)\x7f'.encode()
    async with Receiver() as receiver:
        command = curl.command(f"{receiver.url}{path}?x", payload, with_key=True, headers=["X-A"])
        command = f"cd '{tmp_path}'\n{command}"
        # curl itself may refuse to send such a URL; what counts is that the shell runs nothing else.
        process = await asyncio.create_subprocess_exec(
            shell, "-c", command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL, env={"PATH": os.environ["PATH"]}
        )
        await process.wait()
        bodies = [request.body for request in receiver.deliveries]
    assert list(tmp_path.iterdir()) == []
    assert bodies in ([payload], [])
    assert " " in path or "\\" in path or '"' in path or bodies == [payload]


async def test_a_large_payload_is_no_argument_too_long():
    payload = json.dumps({"x": "a'b" * 100_000}).encode()
    async with Receiver() as receiver:
        script = curl.command(receiver.url, payload, with_key=False)
        process = await asyncio.create_subprocess_exec(
            "bash", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        await process.communicate(script.encode())
        assert process.returncode == 0
    assert receiver.deliveries[0].body == payload


# What can be read from counters


def test_percentiles_are_read_from_a_histogram():
    empty = (0,) * (len(LATENCY_BOUNDS_MS) + 1)
    assert percentile_ms(0.5, empty) is None
    fast = (100, *empty[1:])
    assert (percentile_ms(0.5, fast), percentile_ms(0.95, fast)) == (5.0, 9.5)
    half = (0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 10)  # ten within 100 to 250 ms, ten beyond the last bound
    assert (percentile_ms(0.25, half), percentile_ms(0.5, half), percentile_ms(0.95, half)) == (175.0, 250.0, 10_000.0)
