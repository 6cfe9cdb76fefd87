"""A webhook's life as typed into a shell: made, proven, edited, paused, its keys rotated, its deliveries signed."""

from __future__ import annotations

import pytest

from tests.cli.conftest import TYPE, Served
from tests.cli.world import Shell, free_port, listening


def test_a_webhook_is_made_and_its_key_is_shown_once(tenant: Served):
    url = f"http://127.0.0.1:{free_port()}/hook"
    made = tenant.webhook(url, "--max-in-flight", "5", "--rate", "2.5", "--header", "X-Route=blue=1")
    assert len(bytes.fromhex(made["private_key"])) == 32
    shown = tenant.shell.json("webhooks", "show", made["webhook"])
    assert (shown["url"], shown["status"], shown["max_in_flight"], shown["rate_per_second"]) == (url, "pending", 5, 2.5)
    assert shown["headers"] == ["X-Route"]
    text = tenant.shell.ok("webhooks", "show", made["webhook"]) + tenant.shell.ok("webhooks", "list")
    assert "pending" in text
    assert made["private_key"] not in text
    assert "blue" not in text


def test_a_key_can_be_taken_from_the_text_too(tenant: Served):
    text = tenant.shell.ok("webhooks", "create", "--name", "All", "--url", f"http://127.0.0.1:{free_port()}/", "--event", "all")
    line = next(line for line in text.splitlines() if line.startswith("Private Key"))
    assert len(bytes.fromhex(line.split()[2])) == 32


def test_a_handshake_is_asked_for_again_and_what_came_of_it_is_said(tenant: Served):
    with listening(tenant.shell, "--no-handshake") as deaf:
        made = tenant.webhook(deaf.url)
        done = tenant.shell.run("webhooks", "verify", made["webhook"])
    assert done.returncode == 1
    assert "what to do" in done.stdout
    with listening(tenant.shell, "--port", deaf.url.rsplit(":", 1)[1].split("/")[0]):
        assert "the webhook is verified" in tenant.shell.ok("webhooks", "verify", made["webhook"])
        assert "verified already" in tenant.shell.ok("webhooks", "verify", made["webhook"])


def test_an_edit_changes_what_is_given_and_nothing_else(tenant: Served):
    made = tenant.webhook(f"http://127.0.0.1:{free_port()}/hook", "--rate", "2", "--header", "X-Old=1", "--header", "X-Kept=2")
    edit = ("webhooks", "edit", made["webhook"])
    edited = tenant.shell.json(*edit, "--name", "New", "--rate", "none", "--header", "X-Old=", "--header", "X-New=3")
    assert (edited["name"], edited["url"], edited["rate_per_second"]) == ("New", made["url"], None)
    assert sorted(edited["headers"]) == ["X-Kept", "X-New"]
    assert edited["revision"] > made["revision"]

    stale = tenant.shell.run(*edit, "--name", "Newer", "--revision", str(made["revision"]))
    assert (stale.returncode, stale.stdout) == (1, "")
    assert "was changed meanwhile" in stale.stderr
    assert tenant.shell.json(*edit, "--event", "all", "--revision", str(edited["revision"]))["name"] == "New"
    assert "say what to change" in tenant.shell.run(*edit).stderr


def test_a_paused_webhook_holds_its_deliveries_and_sends_them_when_resumed(tenant: Served):
    with listening(tenant.shell) as receiver:
        made = tenant.proven(receiver.url)
        receiver.said("handshake")
        assert "verified, paused" in tenant.shell.ok("webhooks", "pause", made["webhook"])
        tenant.publish("held-1")
        (row,) = tenant.shell.lines("webhooks", "list")
        assert row["held"] == 1
        assert f"1, the oldest until {row['held_until']}" in tenant.shell.ok("webhooks", "show", made["webhook"])
        # Without PUBLISHER_URL, by the same setting that told the server where to listen.
        listen = {"PUBLISHER_URL": "", "GRIDHOOK_LISTEN": tenant.url.removeprefix("http://")}
        assert "paused" not in tenant.shell.ok("webhooks", "resume", made["webhook"], **listen)
        assert "held-1" in receiver.said("delivery")


def test_a_private_key_is_rotated_at_once_or_later(tenant: Served):
    port = str(free_port())
    made = tenant.webhook(f"http://127.0.0.1:{port}/hook")
    rotate = ("webhooks", "rotate-key", made["webhook"])
    second = tenant.shell.json(*rotate)
    assert second["private_key"] != made["private_key"]
    third = tenant.shell.json(*rotate, "--in", "2h")
    refused = tenant.shell.run(*rotate, "--at", "2000-01-01T00:00:00Z")
    assert refused.returncode == 1
    assert "lies in the past" in refused.stderr
    refused = tenant.shell.run(*rotate, "--in", "1h")
    assert refused.returncode == 1
    assert "is not in use yet" in refused.stderr

    keys = {key["id"]: key for key in tenant.shell.json("webhooks", "show", made["webhook"])["private_keys"]}
    assert (keys[second["id"]]["in_use"], keys[third["id"]]["in_use"]) == (True, False)
    assert keys[third["id"]]["activates_at"] == third["activates_at"]
    with listening(tenant.shell, "--port", port, "--key", made["private_key"], "--key", second["private_key"]) as receiver:
        tenant.shell.ok("webhooks", "verify", made["webhook"])
        tenant.publish("rotated-1")
        assert "key 2 of 2" in receiver.said("rotated-1")

    tenant.shell.ok("webhooks", "cancel-key", made["webhook"], third["id"])
    in_use = tenant.shell.run("webhooks", "cancel-key", made["webhook"], second["id"])
    assert (in_use.returncode, in_use.stderr.startswith("error: ")) == (1, True)


def test_deliveries_are_signed_and_the_key_before_signs_along(tenant: Served):
    port = str(free_port())
    made = tenant.webhook(f"http://127.0.0.1:{port}/hook")
    first = tenant.shell.json("webhooks", "sign", made["webhook"])
    second = tenant.shell.json("webhooks", "sign", made["webhook"], "--overlap", "1h")
    with listening(tenant.shell, "--port", port, "--signing-key", first["signing_key"]) as receiver:
        tenant.shell.ok("webhooks", "verify", made["webhook"])
        tenant.publish("signed-1")
        assert "signature ok" in receiver.said("signed-1")
        assert "signs along until" in tenant.shell.ok("webhooks", "show", made["webhook"])

        assert tenant.shell.run("webhooks", "unsign", made["webhook"], input="n\n").returncode == 1
        tenant.shell.ok("webhooks", "unsign", made["webhook"], "--yes")
        assert tenant.shell.json("webhooks", "show", made["webhook"])["signing_keys"] == []
        tenant.publish("signed-2")
        assert "is missing" in receiver.said("signed-2")
        third = tenant.shell.json("webhooks", "sign", made["webhook"])
        assert len({first["signing_key"], second["signing_key"], third["signing_key"]}) == 3
        tenant.publish("signed-3")
        assert "made with another key" in receiver.said("signed-3")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("create", "--name", "W", "--url", "http://10.0.0.1/", "--event", TYPE), "url: "),
        (("create", "--name", "W", "--url", "https://example.com/", "--event", "ag.landing_page.create"), "ag.landing_page.created"),
        (("pause", "wh_none"), "Webhook not found"),
        (("edit", "wh_none", "--name", "W"), "Webhook not found"),
        (("rotate-key", "wh_none"), "Webhook not found"),
        (("pause", "wh_none", "--account", "nobody"), "nobody"),
        (("pause", "wh_none", "--server", "http://127.0.0.1:1"), "start it with `gridhook serve`"),
        (("pause", "wh_none", "--server", "nonsense"), "is not the base URL"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_refusal_is_one_line_that_says_why(served: Served, arguments: tuple[str, ...], said: str):
    done = served.shell.run("webhooks", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("rotate-key", "wh_1", "--in", "2"), "such as 90s"),
        (("rotate-key", "wh_1", "--in", "2h", "--at", "2030-01-01T00:00:00Z"), "give --in or --at"),
        (("edit", "wh_1", "--header", "X-Key"), "must be Name=value"),
        (("edit", "wh_1", "--rate", "fast"), "must be a number, or none"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_an_option_that_cannot_be_read_is_named(served: Served, arguments: tuple[str, ...], said: str):
    done = served.shell.run("webhooks", *arguments)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_server_of_another_database_is_told_from_a_wrong_key(shell: Shell, served: Served):
    shell.ok("accounts", "add", "Elsewhere", "--id", "acc_elsewhere")
    done = shell.run("webhooks", "pause", "wh_1", "--account", "acc_elsewhere", "--server", served.url)
    assert done.returncode == 1
    assert "serves another database than this command reads" in done.stderr


def test_another_accounts_webhook_is_not_there(tenant: Served, served: Served):
    made = tenant.webhook(f"http://127.0.0.1:{free_port()}/hook")
    for command in ("show", "pause"):
        done = served.shell.run("webhooks", command, made["webhook"])
        assert (done.returncode, done.stdout) == (1, "")
