"""Publishing over HTTP: what is accepted, what is refused, and in which words."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gridhook.testing import Receiver
from tests.web.world import BALANCE, LOW, running

STRUCTURED = {"specversion": "1.0", "source": "/billing", "type": "ag.account_balance.low", "data": BALANCE}
EVENT = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"


def structured(id: str, **more: object) -> dict[str, object]:
    return {**STRUCTURED, "id": id, **more}


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"'])
async def test_a_plain_event_is_accepted_with_an_id_of_ours(world, content_type):
    answer = await world.publish(LOW, content_type=content_type)
    assert answer.status == 202
    published = answer.json()
    assert (published["deliveries"], published["duplicate"], len(published["id"])) == (0, False, 36)


async def test_one_cloud_event_reaches_the_webhook_that_subscribed(world):
    async with Receiver() as receiver:
        webhook = await world.create(receiver.url)
        await world.verified(webhook["id"])
        answer = await world.publish(structured("evt-1"), content_type=EVENT)
        assert (answer.status, answer.json()) == (202, {"id": "evt-1", "deliveries": 1, "duplicate": False})
        (received,) = await receiver.received(1)
        assert received.json()["data"] == BALANCE
        assert received.header("authorization") == f"Bearer {webhook['private_key']}"


async def test_publishing_twice_is_answered_like_the_first_time_and_other_content_is_a_conflict(world):
    assert (await world.publish({**LOW, "id": "evt-1"})).json() == {"id": "evt-1", "deliveries": 0, "duplicate": False}
    assert (await world.publish({**LOW, "id": "evt-1"})).json() == {"id": "evt-1", "deliveries": 0, "duplicate": True}
    changed = {**LOW, "id": "evt-1", "data": {**BALANCE, "threshold": 1.0}}
    answer = await world.publish(changed)
    assert answer.status == 409
    assert "evt-1" in answer.message


async def test_the_good_events_of_a_batch_are_kept_and_the_bad_ones_named(world):
    await world.publish({**LOW, "id": "taken"})
    batch = [
        structured("a"),
        structured("b", type="ag.nope"),
        structured("a"),
        structured("c", data={**BALANCE, "threshold": "much"}),
        structured("taken", data={**BALANCE, "threshold": 7.0}),
        "not an event",
        structured("d"),
    ]
    answer = await world.publish(batch, content_type=BATCH)
    assert answer.status == 202
    body = answer.json()
    assert (body["accepted"], body["refused"]) == (3, 4)
    assert [result["index"] for result in body["results"]] == list(range(7))
    assert [result["status"] for result in body["results"]] == [202, 422, 202, 422, 409, 422, 202]
    assert body["results"][2]["duplicate"] is True
    assert body["results"][1]["field"] == "/type"
    assert body["results"][3]["field"] == "/data/threshold"
    assert body["results"][4]["id"] == "taken"
    assert all(result["message"] for result in body["results"] if result["status"] != 202)


async def test_a_batch_of_which_nothing_is_kept_is_an_error_with_the_same_results(world):
    answer = await world.publish([structured("b", type="ag.nope")], content_type=BATCH)
    assert answer.status == 422
    assert (answer.json()["accepted"], answer.json()["results"][0]["status"]) == (0, 422)
    await world.publish({**LOW, "id": "taken"})
    conflicting = structured("taken", data={**BALANCE, "threshold": 7.0})
    assert (await world.publish([conflicting, conflicting], content_type=BATCH)).status == 409


async def test_an_empty_batch_is_accepted_and_does_nothing(world):
    answer = await world.publish([], content_type=BATCH)
    assert (answer.status, answer.json()) == (202, {"accepted": 0, "refused": 0, "results": []})


async def test_a_batch_of_too_many_events_is_refused_as_a_whole(world):
    answer = await world.publish([structured(f"e{n}") for n in range(1001)], content_type=BATCH)
    assert answer.status == 413
    assert "1000" in answer.message
    assert (await world.publish([structured(f"e{n}") for n in range(1000)], content_type=BATCH)).json()["accepted"] == 1000


# --- who may publish ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic Z2hwXw==", "Bearer ghp_unknown", "Bearer \xe9\xff", "ghp_x"])
async def test_publishing_without_a_known_key_is_401_and_says_how(world, header):
    headers = {} if header is None else {"Authorization": header}
    answer = await world.send("POST", f"/v1/accounts/{world.ours.account_id}/events", b"{}", Content_Type="application/json", **headers)
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert "publisher key" in answer.message


async def test_a_key_of_another_account_is_403_and_a_missing_account_404(world):
    target = f"/v1/accounts/{world.theirs.account_id}/events"
    ours = {"Authorization": f"Bearer {world.ours.publisher_key}", "Content_Type": "application/json"}
    assert (await world.send("POST", target, json.dumps(LOW).encode(), **ours)).status == 403
    key = await world.gridhook.service.create_publisher_key("platform")
    every = {"Authorization": f"bearer {key.text}", "Content_Type": "application/json"}
    assert (await world.send("POST", target, json.dumps(LOW).encode(), **every)).status == 202
    for nobody in ("acc_nobody", "%00", "%ff%fe", "a" * 200, "..", "%2e%2e"):
        answer = await world.send("POST", f"/v1/accounts/{nobody}/events", json.dumps(LOW).encode(), **every)
        assert answer.status == 404, (nobody, answer)


# --- how it must be sent -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/xml", "", "application/cloudevents+xml", "application/json; charset=latin-1", "application/jsonx"],
)
async def test_another_content_type_is_415_and_the_three_are_named(world, content_type):
    answer = await world.publish(LOW, content_type=content_type)
    assert answer.status == 415
    assert "application/cloudevents+json, application/cloudevents-batch+json, application/json" in answer.message


async def test_a_missing_content_type_is_415_too(world):
    target = f"/v1/accounts/{world.ours.account_id}/events"
    answer = await world.send("POST", target, b"{}", Authorization=f"Bearer {world.ours.publisher_key}")
    assert answer.status == 415


async def test_cloud_events_in_binary_mode_are_pointed_to_the_structured_mode(world):
    answer = await world.publish(BALANCE, ce_specversion="1.0", ce_type="ag.account_balance.low", ce_id="1", ce_source="/x")
    assert answer.status == 415
    assert "structured" in answer.message


async def test_a_compressed_body_is_415(world):
    assert (await world.publish(b"\x1f\x8b", content_encoding="gzip")).status == 415
    assert (await world.publish(LOW, content_encoding="identity")).status == 202


async def test_a_body_over_the_limit_is_413_by_its_length_alone_and_also_when_it_hides_its_length(tmp_path, quiet_log):
    async with running(tmp_path, quiet_log, max_event_bytes=2000, max_batch_bytes=50_000) as world:
        credentials = f"Authorization: Bearer {world.ours.publisher_key}\r\nContent-Type: application/json\r\n"
        head = f"POST /v1/accounts/{world.ours.account_id}/events HTTP/1.1\r\nHost: x\r\n{credentials}".encode()
        announced = await world.raw(head + b"Content-Length: 9999999999\r\n\r\n")
        assert announced.status == 413
        hidden = head + b"Transfer-Encoding: chunked\r\n\r\n" + b"4000\r\n" + b" " * 0x4000 + b"\r\n"
        assert (await world.raw(hidden, pieces=[b"4000\r\n" + b" " * 0x4000 + b"\r\n"])).status == 413
        long = {**LOW, "data": {**BALANCE, "organization_name": "x" * 3000}}
        assert (await world.publish(long)).status == 413
        answer = await world.publish([structured("a"), structured("b", data=long["data"])], content_type=BATCH)
        assert [result["status"] for result in answer.json()["results"]] == [202, 413]
        assert (await world.publish(b"[" + b" " * 60_000 + b"]", content_type=BATCH)).status == 413
        assert (await world.publish(LOW)).status == 202


async def test_a_client_that_asks_before_it_sends_is_refused_without_its_body_and_the_connection_ends(world):
    answer = await world.send("POST", f"/v1/accounts/{world.ours.account_id}/events", Expect="100-continue", Content_Length="50")
    assert (answer.status, answer.headers["connection"]) == (401, "close")


# --- what is not JSON, or cannot be sent on unchanged ------------------------------------------------------------------

DATA = json.dumps(BALANCE)
WHOLE = {
    "nothing": b"",
    "white space": b"  \n",
    "half an object": b'{"type": ',
    "two values": b"{} {}",
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"type": "x"}'.encode("utf-16"),
    "not UTF-8": b'{"type": "\xff"}',
    "nested 100,000 deep": b"[" * 100_000,
    "nested 100,000 deep, and closed": b"[" * 100_000 + b"]" * 100_000,
}
MEMBERS = {
    "NaN": "NaN",
    "Infinity": "-Infinity",
    "a number beyond every double": "1e400",
    "an exponent that would be printed as 130,001 digits": "1e130000",
    "an integer of 5,000 digits": "9" * 5000,
    "an integer beyond 64 bits": str(2**64),
    "a key twice": '{"a": 1, "a": 2}',
    "a lone surrogate": '"\\ud800"',
    "a lone low surrogate": '"\\udc00"',
    "NUL": '"\\u0000"',
    "NUL in a key": '{"\\u0000": 1}',
    "65 levels": "[" * 65 + "]" * 65,
    "a raw control character": '"\x01"',
}


@pytest.mark.parametrize("case", WHOLE)
@pytest.mark.parametrize("content_type", ["application/json", EVENT, BATCH])
async def test_a_body_that_is_no_json_is_400(world, case, content_type):
    answer = await world.publish(WHOLE[case], content_type=content_type)
    assert answer.status == 400, answer
    assert answer.message


@pytest.mark.parametrize("case", MEMBERS)
async def test_an_event_that_could_not_be_sent_on_unchanged_is_400(world, case):
    body = f'{{"type": "ag.account_balance.low", "data": {{"extra": {MEMBERS[case]}, {DATA[1:]}}}'
    answer = await world.publish(body.encode())
    assert answer.status == 400, answer
    assert answer.message


@pytest.mark.parametrize("case", [case for case in MEMBERS if case != "a raw control character"])
async def test_such_an_event_does_not_spoil_the_batch_it_comes_in(world, case):
    good = json.dumps(structured("good"))
    bad = json.dumps(structured("bad")).replace('"data": {', f'"data": {{"extra": {MEMBERS[case]}, ')
    answer = await world.publish(f"[{bad}, {good}]".encode(), content_type=BATCH)
    assert answer.status == 202, answer
    first, second = answer.json()["results"]
    assert (first["index"], first["status"], second["status"]) == (0, 400, 202)


WRONG: dict[str, tuple[Any, str]] = {
    "an array where one event belongs": ([LOW], ""),
    "no type": ({"data": BALANCE}, "/type"),
    "an unknown type": ({**LOW, "type": "ag.nope"}, "/type"),
    "no data": ({"type": LOW["type"]}, "/data"),
    "data that breaks its schema": ({**LOW, "data": {**BALANCE, "current_balance": "low"}}, "/data/current_balance"),
    "a field that we would not send on": ({**LOW, "subject": "x"}, "/subject"),
    "an id that is no string": ({**LOW, "id": 7}, "/id"),
    "an id without end": ({**LOW, "id": "x" * 9000}, "/id"),
    "an empty id": ({**LOW, "id": ""}, "/id"),
    "a time without offset": ({**LOW, "time": "2026-11-22T10:00:00"}, "/time"),
    "a time in the future": ({**LOW, "time": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}, "/time"),
    "a time before the window": ({**LOW, "time": (datetime.now(UTC) - timedelta(hours=7)).isoformat()}, "/time"),
}


@pytest.mark.parametrize("case", WRONG)
async def test_an_event_that_breaks_a_rule_is_422_naming_the_field(world, case):
    body, where = WRONG[case]
    answer = await world.publish(body)
    assert answer.status == 422, answer
    assert answer.json().get("field", "") == where


MEMBER = st.sampled_from(["type", "data", "id", "time"]) | st.text(max_size=5)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.one_of(
        st.binary(max_size=300),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
            lambda inner: st.lists(inner, max_size=4) | st.dictionaries(MEMBER, inner, max_size=5),
            max_leaves=12,
        ).map(lambda value: json.dumps(value).encode()),
    ),
    content_type=st.sampled_from(["application/json", EVENT, BATCH]),
)
async def test_no_body_whatever_is_answered_with_a_defect_of_ours(world, body, content_type):
    answer = await world.publish(body, content_type=content_type)
    assert answer.status < 500
    assert isinstance(answer.json(), dict)


# --- when it cannot be kept --------------------------------------------------------------------------------------------


async def test_when_too_much_waits_publishers_are_told_to_come_back_and_nothing_is_kept(tmp_path, quiet_log):
    async with running(tmp_path, quiet_log, max_waiting_events=-1) as world:
        answer = await world.publish({**LOW, "id": "evt-1"})
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
