"""Publishing from a shell, and what the attempts log says afterwards."""

from __future__ import annotations

import asyncio
import importlib
import json
import uuid

import pytest

from gridhook.rules.catalogue import EVENT_TYPES
from gridhook.testing import Receiver, Reply
from tests.cli.conftest import Served
from tests.cli.world import next_line


def test_an_example_of_every_type_is_accepted(served: Served):
    events = served.shell.directory / "all.ndjson"
    events.write_text("".join(served.shell.ok("publish", name, "--example", "--json") for name in EVENT_TYPES[:3]))
    assert [json.loads(line)["duplicate"] for line in events.read_text().splitlines()] == [False, False, False]


def test_the_same_event_twice_is_a_duplicate_and_other_content_is_refused(served: Served):
    publish = ("publish", "ag.landing_page.created", "--id", str(uuid.uuid4()))
    assert served.shell.ok(*publish, "--data", '{"landing_page_id": "lp_1"}').startswith("accepted")
    assert served.shell.ok(*publish, "--data", '{"landing_page_id": "lp_1"}').startswith("duplicate")
    done = served.shell.run(*publish, "--data", '{"landing_page_id": "lp_2"}')
    assert done.returncode == 1
    assert "other content" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ag.landing_page.created", "--data", '{"landing_page_id": 7}'), "/data/landing_page_id: must be a string; got 7"),
        (("ag.landing_page.created", "--data", "{}"), "/data/landing_page_id: is required"),
        (("ag.landing_page.create", "--data", "{}"), "Did you mean 'ag.landing_page.created'?"),
        (("ag.landing_page.created", "--data", "{"), "--data is not JSON"),
        (("ag.landing_page.created", "--data", "@missing.json"), "missing.json"),
        (("ag.landing_page.created", "--example", "--time", "yesterday"), "/time"),
        (("ag.landing_page.created", "--example", "--key", "ghp_wrong"), "publisher key is unknown"),
        (("ag.landing_page.created", "--example", "--key", "ghp_wr\u00f6ng"), "must be ASCII"),
        (("ag.landing_page.created", "--example", "--account", "acc_other"), "may publish for account"),
        (("ag.landing_page.created", "--example", "--url", "http://127.0.0.1:1"), "127.0.0.1:1"),
        (("ag.landing_page.created", "--example", "--url", "nonsense"), "is not the base URL"),
        (("ag.landing_page.created", "--example", "--url", "http://[::1"), "is not the base URL"),
        (("ag.landing_page.created", "--example", "--url", "http://h\u00f6st"), "is not the base URL"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_refused_event_is_named_with_field_and_reason(served: Served, arguments: tuple[str, ...], said: str):
    done = served.shell.run("publish", *arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_data_comes_from_a_file_or_from_a_pipe(served: Served):
    (served.shell.directory / "data.json").write_text('{"landing_page_id": "lp_1"}')
    assert served.shell.ok("publish", "ag.landing_page.created", "--data", "@data.json").startswith("accepted")
    piped = served.shell.run("publish", "ag.landing_page.created", "--data", "-", input='{"landing_page_id": "lp_1"}')
    assert piped.stdout.startswith("accepted")


def test_of_a_file_the_good_events_are_kept_and_the_bad_ones_named(served: Served):
    lines = [{"type": "ag.landing_page.created", "id": f"file-{number}", "data": {"landing_page_id": "lp_1"}} for number in range(1200)]
    lines[700]["data"] = {}
    lines[701] |= {"specversion": "1.0", "source": "/mine"}
    file = served.shell.directory / "events.ndjson"
    file.write_text("\n".join(map(json.dumps, lines)))
    done = served.shell.run("publish", "--file", str(file))
    assert done.returncode == 1
    assert done.stdout == "1199 accepted, 1 refused\n"
    assert "file-700  /data/landing_page_id: is required" in done.stderr

    file.write_text(json.dumps(lines))
    repeated = [json.loads(line) for line in served.shell.run("publish", "--file", str(file), "--json").stdout.splitlines()]
    assert sum(line.get("duplicate", False) for line in repeated) == 1199


def test_a_line_that_is_not_json_stops_the_file_before_anything_is_published(served: Served):
    file = served.shell.directory / "broken.ndjson"
    file.write_text('{"type": "ag.landing_page.created", "id": "broken-1", "data": {"landing_page_id": "x"}}\n{"type"\n')
    done = served.shell.run("publish", "--file", str(file))
    assert done.returncode == 1
    assert "line 2: not JSON" in done.stderr
    assert "accepted" not in done.stdout


async def test_a_delivery_is_seen_in_the_log_with_what_the_receiver_said(served: Served):
    # The SDK and the shell block; the receiver answers from this loop meanwhile.

    evil = "\x1b[2J\u202eowned"
    async with Receiver() as receiver:
        receiver.reply = Reply(500, (("X-Evil", "\x1b[2J"),), evil.encode())
        client = importlib.import_module("accessgrid").AccessGrid(served.account["account"], served.account["secret"], served.url)
        webhook = await asyncio.to_thread(
            client.console.webhooks.create, name="W", url=receiver.url, subscribed_events=["ag.hid_org.created"], auth_method="bearer_token"
        )
        await receiver.shaken()
        account = served.account["account"]
        with served.shell.started("attempts", "--account", account, "--webhook", webhook.id, "--follow") as following:
            await asyncio.to_thread(next_line, following, "verification")
            await asyncio.to_thread(served.shell.ok, "publish", "ag.hid_org.created", "--example", "--id", "seen-1")
            line = await asyncio.to_thread(next_line, following, "seen-1")
        assert following.returncode == 0
        assert "500" in line
        assert "next attempt" in line

        kept = await asyncio.to_thread(served.shell.lines, "attempts", "--account", account, "--webhook", webhook.id)
        shown = await asyncio.to_thread(served.shell.ok, "attempts", "--account", account, "--remedy")
        in_full = await asyncio.to_thread(served.shell.ok, "attempts", "show", str(kept[1]["attempt"]), "--account", account)
        listed = await asyncio.to_thread(served.shell.lines, "webhooks", "list", "--account", account)
        waiting = await asyncio.to_thread(served.shell.json, "webhooks", "show", webhook.id, "--account", account)
        await asyncio.to_thread(served.shell.ok, "webhooks", "delete", webhook.id, "--account", account, "--yes")
        gone = await asyncio.to_thread(served.shell.run, "webhooks", "show", webhook.id, "--account", account)
    assert [(attempt["kind"], attempt["status"], attempt["echo"]) for attempt in kept] == [
        ("verification", 200, "matched"),
        ("delivery", 500, None),
    ]
    assert kept[1]["response_body"] == evil
    assert kept[1]["url"] == receiver.url
    assert "Look for the error in the receiver's log" in shown
    assert "\x1b" not in shown + in_full
    assert "\\x1b[2J\\u202eowned" in in_full
    assert [(row["webhook"], row["status"]) for row in listed] == [(webhook.id, "verified")]
    assert (waiting["queued"], waiting["held"]) == (1, 0)
    assert (gone.returncode, gone.stderr.startswith("error: ")) == (1, True)


def test_an_account_sees_only_its_own_attempts(served: Served):
    other = served.shell.json("accounts", "add", "Other")["account"]
    assert served.shell.lines("attempts", "--account", other) == []
