"""`gridhook listen`, as a receiver for trying things."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.cli.world import Shell, fetch, next_line


class Listening:
    def __init__(self, process, url: str) -> None:
        self.process = process
        self.url = url

    def deliver(self, id: str = "e1", **headers: str) -> int:
        body = {"specversion": "1.0", "id": id, "type": "ag.landing_page.created", "data": {"landing_page_id": "lp_1"}}
        return fetch(self.url, json.dumps(body).encode(), **headers)[0]

    def said(self, containing: str) -> str:
        return next_line(self.process, containing)


@contextmanager
def listening(shell: Shell, *options: str) -> Iterator[Listening]:
    with shell.started("listen", "--port", "0", *options) as process:
        yield Listening(process, next_line(process, "listening on").split()[2])
    assert process.returncode == 0


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
        out = receiver.process.stdout.read()
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
