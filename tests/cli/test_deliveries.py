"""What was sent, what did not arrive and why, and sending it again, as typed into a shell."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator

import pytest

from tests.cli.conftest import HURRIED, TYPE, Served
from tests.cli.world import Shell, free_port, listening, next_line, rest, wait_until


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that gives a delivery up after its first attempt."""
    shell = Shell(tmp_path_factory.mktemp("impatient"))
    with shell.serving(**HURRIED, GRIDHOOK_RETRY_DELAYS_SECONDS="") as url:
        yield Served(shell, url)


def test_a_test_send_says_what_the_receiver_did(tenant: Served):
    with listening(tenant.shell, "--statuses", "503,200") as receiver:
        made = tenant.webhook(receiver.url)
        tenant.shell.ok("webhooks", "verify", made["webhook"])
        test = ("webhooks", "test", made["webhook"], TYPE)
        failed = tenant.shell.run(*test)
        assert failed.returncode == 1
        assert "503" in failed.stdout
        assert "what to do" in failed.stdout
        received = tenant.shell.json(*test)
        assert (received["kind"], received["status"], received["payload"]["type"]) == ("test", 200, TYPE)
        assert received["timings_us"]["total"] > 0
        assert TYPE in receiver.said(received["event_id"])
        unknown = tenant.shell.run(*test[:-1], "ag.landing_page.create")
        assert unknown.returncode == 1
        assert f"'{TYPE}'" in unknown.stderr


def test_nothing_is_sent_to_a_webhook_that_is_not_proven(tenant: Served):
    made = tenant.webhook(f"http://127.0.0.1:{free_port()}/hook")
    done = tenant.shell.run("webhooks", "test", made["webhook"], TYPE)
    assert (done.returncode, done.stdout) == (1, "")
    assert "pending" in done.stderr


def test_what_did_not_arrive_is_found_by_its_reason_and_sent_again(tenant: Served):
    with listening(tenant.shell, "--fail-first", "1") as receiver:
        made = tenant.proven(receiver.url)
        tenant.publish("lost-1")
        tenant.publish("well-1")
        webhook = made["webhook"]
        wait_until(lambda: len(tenant.shell.lines("webhooks", "undelivered", webhook)) == 1)
        (reason,) = tenant.shell.lines("webhooks", "undelivered", webhook)
        assert (reason["state"], reason["failure_reason"], reason["last_result"], reason["count"]) == ("failed", "exhausted", "500", 1)
        assert "The receiver answered 500" in tenant.shell.ok("webhooks", "undelivered", webhook)
        (lost,) = tenant.shell.lines("webhooks", "deliveries", webhook, "--state", "failed", "--since", "1h")
        assert (lost["event_id"], lost["attempts"], lost["origin"]) == ("lost-1", 1, "event")
        assert "failed, exhausted" in tenant.shell.ok("webhooks", "deliveries", webhook)

        assert "goes out again" in tenant.shell.ok("webhooks", "redeliver", webhook, lost["id"])
        assert "lost-1" in receiver.said("DUPLICATE, seen 2 times")
        wait_until(lambda: len(tenant.shell.lines("webhooks", "deliveries", webhook, "--event", "lost-1", "--state", "delivered")) == 1)
        event = tenant.shell.json("events", "show", "lost-1")
        assert [(one["state"], one["origin"]) for one in event["deliveries"]] == [("failed", "event"), ("delivered", "redelivery")]
        assert event["payload"]["type"] == TYPE
        shown = tenant.shell.ok("events", "show", "lost-1")
        assert '"landing_page_id"' in shown
        assert "delivered, redelivery" in shown
    for refused in (("webhooks", "redeliver", webhook, "999999999"), ("events", "show", "none")):
        done = tenant.shell.run(*refused)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)


def test_all_that_failed_is_sent_again_and_followed_to_its_end(tenant: Served):
    with listening(tenant.shell, "--fail-first", "3") as receiver:
        made = tenant.proven(receiver.url)
        for number in range(3):
            tenant.publish(f"lost-{number}")
        wait_until(lambda: len(tenant.shell.lines("webhooks", "deliveries", made["webhook"], "--state", "failed")) == 3)
        done = tenant.shell.run("webhooks", "recover", made["webhook"], "--since", "1h", "--json")
        assert done.returncode == 0, done.stderr
        recovered = json.loads(done.stdout)
        assert (recovered["state"], recovered["total"], recovered["requeued"]) == ("done", 3, 3)
        for _ in range(3):
            receiver.said("DUPLICATE, seen 2 times")
        assert "3 of 3 looked at: 3 sent again" in tenant.shell.ok("webhooks", "recoveries", made["webhook"])
        # What failed then and was received since is passed over.
        assert "3 passed over" in tenant.shell.ok("webhooks", "recover", made["webhook"])
        refused = tenant.shell.run("webhooks", "recover", made["webhook"], "--rate", "0")
        assert refused.returncode == 1
        assert "rate_per_second" in refused.stderr


def test_who_stops_watching_a_recovery_does_not_stop_it(tenant: Served):
    with listening(tenant.shell, "--status", "500") as receiver:
        made = tenant.proven(receiver.url)
        for number in range(3):
            tenant.publish(f"lost-{number}")
        wait_until(lambda: len(tenant.shell.lines("webhooks", "deliveries", made["webhook"], "--state", "failed")) == 3)
        with tenant.shell.started("webhooks", "recover", made["webhook"], "--rate", "0.1") as watching:
            recovery = next_line(watching, "Ctrl-C ends the following only").split(":")[0]
            watching.send_signal(signal.SIGINT)
            assert "It goes on by itself" in rest(watching)
        assert watching.returncode == 130
        assert [row["state"] for row in tenant.shell.lines("webhooks", "recoveries", made["webhook"])] == ["running"]
        cancelled = tenant.shell.json("webhooks", "cancel-recovery", made["webhook"], recovery)
        assert (cancelled["state"], cancelled["requeued"] < 3) == ("cancelled", True)
        assert tenant.shell.run("webhooks", "cancel-recovery", made["webhook"], "rec_none").returncode == 1
        detached = tenant.shell.json("webhooks", "recover", made["webhook"], "--rate", "0.1", "--detach")
        assert detached["state"] == "running"


def test_attempts_are_found_by_what_came_of_them(tenant: Served):
    with listening(tenant.shell, "--statuses", "503,200") as receiver:
        made = tenant.proven(receiver.url)
        tenant.publish("failed-1")
        receiver.said("failed-1")
        tenant.publish("well-1")
        receiver.said("well-1")
    attempts = ("attempts", "--account", tenant.account["account"])
    wait_until(lambda: len(tenant.shell.lines(*attempts)) >= 3)
    found = {
        filters: [attempt["event_id"] for attempt in tenant.shell.lines(*attempts, *filters)]
        for filters in (
            ("--outcome", "delivered", "--kind", "delivery"),
            ("--outcome", "failed", "--status", "5xx", "--since", "1h"),
            ("--event", "well-1", "--type", TYPE),
            ("--reason", "timeout"),
        )
    }
    assert list(found.values()) == [["well-1"], ["failed-1"], ["well-1"], []]

    (failed,) = tenant.shell.lines(*attempts, "--status", "503")
    shown = tenant.shell.ok("attempts", "show", str(failed["attempt"]))
    assert failed["remedy"] in shown
    assert "--data-binary @-" in shown
    assert made["private_key"] not in shown
    whole = tenant.shell.json("attempts", "show", str(failed["attempt"]))
    assert (whole["payload"]["id"], whole["webhook"]) == ("failed-1", made["webhook"])
    assert tenant.shell.run("attempts", "show", "999999999").returncode == 1
    assert "such as 503" in tenant.shell.run(*attempts, "--status", "6xx").stderr


def test_the_log_is_of_the_environments_account_and_of_every_account_without_one(tenant: Served):
    with listening(tenant.shell) as receiver:
        made = tenant.proven(receiver.url)
    other = Served(Shell(tenant.shell.directory), tenant.url)
    shell = tenant.shell

    assert [row["webhook"] for row in shell.lines("attempts", "--webhook", made["webhook"])] == [made["webhook"]]
    assert {row["account"] for row in shell.lines("attempts")} == {tenant.account["account"]}
    assert shell.lines("attempts", "--account", other.account["account"]) == []
    # A variable that is set to nothing is not set.
    assert made["webhook"] in [row["webhook"] for row in shell.lines("attempts", PUBLISHER_ACCOUNT="")]
    assert "--webhook needs --account" in shell.run("attempts", "--webhook", made["webhook"], PUBLISHER_ACCOUNT="").stderr
