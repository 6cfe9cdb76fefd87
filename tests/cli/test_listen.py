"""`gridhook listen`, as a receiver for trying things."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime

import pytest
from standardwebhooks.webhooks import Webhook

from tests.cli.world import Listening, Shell, fetch, listening, rest


def test_it_echoes_the_challenge_and_prints_deliveries(shell: Shell):
    with listening(shell, "--body") as receiver:
        status, body = fetch(receiver.url, b"{}", X_AccessGrid_Webhook_Challenge="12ab")
        assert (status, json.loads(body)) == (200, {"challenge": "12ab"})
        assert receiver.deliver("e1") == 200
        assert "ag.landing_page.created" in receiver.said("e1")
        receiver.said('"landing_page_id": "lp_1"')


def test_it_marks_an_event_that_came_before(shell: Shell):
    with listening(shell) as receiver:
        assert (receiver.deliver("e1"), receiver.deliver("e2"), receiver.deliver("e1")) == (200, 200, 200)
        assert "  e1" in receiver.said("DUPLICATE, seen 2 times")


def test_it_refuses_a_delivery_without_the_right_key(shell: Shell):
    with listening(shell, "--private-key", "right") as receiver:
        assert receiver.deliver() == 401
        assert receiver.deliver(Authorization="Bearer wrong") == 401
        assert receiver.deliver(Authorization="Bearer r\u00efght") == 401
        assert receiver.deliver(Authorization="Bearer right") == 200
        # The challenge comes before there is a key to check.
        assert fetch(receiver.url, b"{}", X_AccessGrid_Webhook_Challenge="12ab")[0] == 200


def test_it_takes_the_old_and_the_new_key_while_keys_are_rotated(shell: Shell):
    with listening(shell, "--key", "old", "--key", "new") as receiver:
        assert receiver.deliver("e1", Authorization="Bearer new") == 200
        assert "e1  key 2 of 2" in receiver.said("delivery")
        assert receiver.deliver("e2", Authorization="Bearer old") == 200
        assert "e2  key 1 of 2" in receiver.said("delivery")
        assert receiver.deliver("e3", Authorization="Bearer older") == 401


def test_it_checks_the_signature_when_it_has_the_key(shell: Shell):
    old, new, other = ("whsec_" + base64.b64encode(bytes([n]) * 32).decode() for n in range(3))
    with listening(shell, "--signing-key", old, "--signing-key", new) as receiver:
        assert signed(receiver, old) == 200
        assert "signature ok" in receiver.said("delivery")
        assert signed(receiver, other, new) == 200
        assert signed(receiver, other) == 401
        assert "signature bad: made with another key" in receiver.said("refused")
        assert signed(receiver, new, body=b'{"id": "e2"}', sent=b'{"id": "e3"}') == 401
        assert signed(receiver, new, at=time.time() - 301) == 401
        assert "compare the clocks" in receiver.said("another time")
        assert receiver.deliver() == 401
        assert "is missing" in receiver.said("signature bad: webhook-id")


def signed(receiver: Listening, *keys: str, body: bytes = b'{"id": "e1"}', sent: bytes | None = None, at: float | None = None) -> int:
    """Deliver with a signature by each of the keys, made by the package that receivers check with."""
    when = datetime.fromtimestamp(int(time.time() if at is None else at), UTC)
    signatures = " ".join(Webhook(key).sign("e1", when, body.decode()) for key in keys)
    headers = {"webhook_id": "e1", "webhook_timestamp": str(int(when.timestamp())), "webhook_signature": signatures}
    return fetch(receiver.url, body if sent is None else sent, **headers)[0]


def test_a_signing_key_that_is_none_is_said_at_once(shell: Shell):
    done = shell.run("listen", "--signing-key", "secret")
    assert done.returncode == 2
    assert "--signing-key: a signing key is whsec_" in done.stderr


@pytest.mark.parametrize(
    ("options", "statuses"),
    [
        (("--status", "500"), [500, 500, 500]),
        (("--statuses", "500,503,201"), [500, 503, 201, 201]),
        (("--fail-first", "2"), [500, 500, 200, 200]),
    ],
)
def test_it_answers_as_told(shell: Shell, options: tuple[str, ...], statuses: list[int]):
    with listening(shell, *options) as receiver:
        assert [receiver.deliver(f"e{number}") for number in range(len(statuses))] == statuses


def test_it_leaves_a_webhook_pending_when_told(shell: Shell):
    with listening(shell, "--no-handshake") as receiver:
        assert b"12ab" not in fetch(receiver.url, b"{}", X_AccessGrid_Webhook_Challenge="12ab")[1]


def test_a_get_is_told_to_post(shell: Shell):
    with listening(shell) as receiver:
        assert fetch(receiver.url)[0] == 405


def test_what_a_stranger_sends_cannot_touch_the_terminal(shell: Shell):
    evil = "\x1b]0;owned\x07\x1b[2J\u202e\n\rforged line"
    event = {"id": evil, "type": evil, "data": {evil: evil}}
    with listening(shell, "--body") as receiver:
        fetch(receiver.url, json.dumps(event).encode())
        fetch(receiver.url, evil.encode())
        fetch(receiver.url, b"\xff\xfe\x00\x9b")
        receiver.deliver("the last")
        receiver.process.send_signal(2)
        out = rest(receiver.process)
    assert "the last" in out
    assert "\\x1b]0;owned\\x07" in out
    assert not set(out) & set("\x1b\x07\r\x00\x9b\u202e")
    assert not any(line.startswith("forged") for line in out.splitlines())


def test_json_output_is_one_safe_line_per_request(shell: Shell):
    with listening(shell, "--json") as receiver:
        fetch(receiver.url, b"\x1b[2J\x7f\xff")
        line = receiver.said('"kind"')
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["body"] == "\x1b[2J\x7f\\xff"


def test_a_taken_port_is_said_in_one_line(shell: Shell):
    with listening(shell) as receiver:
        port = receiver.url.rsplit(":", 1)[1].split("/")[0]
        done = shell.run("listen", "--port", port)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: cannot listen on 127.0.0.1:{port}: ")
