"""`gridhook check`: what the guard thinks of a URL, and how a receiver takes a trial. No server, no database."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gridhook.rules.signatures import new_key
from gridhook.testing import Answer, Received, Receiver, Reply
from tests.cli.world import Shell, next_line, wait_until

KEY = "the-receivers-own-key"
SIGNING_KEY = new_key(bytes(range(32)))


@contextmanager
def receiving(answer: Answer, handshake: Answer) -> Iterator[Receiver]:
    """A receiver beside the test, which waits for its commands."""
    receiver = Receiver(answer, handshake=handshake)
    started, stop = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with receiver:
            started.set()
            await stop.wait()

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert started.wait(30)
        yield receiver
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)
        loop.close()


def assert_untouched(receiver: Receiver) -> None:
    """Nobody connected before us: connections are accepted in the order in which they came."""
    with socket.create_connection((receiver.host, receiver.port)):
        wait_until(lambda: receiver.connections > 0)
    assert receiver.connections == 1


@pytest.mark.parametrize(("keys", "passed"), [(("--private-key", KEY), 15), (("--private-key", KEY, "--signing-key", SIGNING_KEY), 18)])
def test_our_own_receiver_passes_every_probe(shell: Shell, keys: tuple[str, ...], passed: int):
    with shell.started("listen", "--port", "0", *keys) as listening:
        url = next_line(listening, "listening on").split()[2]
        done = shell.run("check", url, "--conformance", "--allow-local", "--key", KEY, *keys[2:])
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("\npass  ") == passed
    assert "WARN" not in done.stdout
    assert "FAIL" not in done.stdout
    assert "] A delivery ..." in done.stderr
    assert not (shell.directory / "data").exists()


def test_a_sloppy_receiver_is_told_each_of_its_faults(shell: Shell):
    seen: set[str | None] = set()

    def sloppy(request: Received) -> Reply:
        if b"conformance.of_a_type" in request.body:
            return Reply(reset=True)
        known = request.event_id in seen
        seen.add(request.event_id)
        return Reply(409 if known else 204)

    with receiving(sloppy, handshake=lambda request: Reply(200, (), b"<h1>Hello</h1>")) as receiver:
        done = shell.run("check", receiver.url, "--conformance", "--json", WEBHOOK_PRIVATE_KEY=KEY, GRIDHOOK_ALLOW_NETWORKS="127.0.0.1/32")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    found = {finding["probe"]: finding for finding in report["findings"]}
    assert (report["allowed"], report["passed"]) == (True, False)
    for probe, came_back, advice in (
        ("handshake", "200 in", "Answer the handshake with exactly"),
        ("delivery", "204 in", "200 or 201"),
        ("duplicate", "409 in", "A repeat is no error"),
        ("unknown_type", "no answer after", "Types are added"),
        ("wrong_key", "204 in", "anyone who knows the URL"),
        ("no_key", "204 in", "anyone who knows the URL"),
    ):
        assert found[probe]["mark"] == "fail"
        assert came_back in found[probe]["came_back"]
        assert advice in found[probe]["advice"]
    assert KEY not in done.stdout + done.stderr


@pytest.mark.parametrize("options", [(), ("--conformance", "--key", KEY)])
def test_a_refused_url_is_explained_and_gets_not_one_packet(shell: Shell, options: tuple[str, ...]):
    with receiving(lambda request: Reply(200), handshake=lambda request: Reply(200)) as receiver:
        done = shell.run("check", receiver.url, *options)
        assert done.returncode == 1
        assert "REFUSED" in done.stdout
        assert "127.0.0.1  refused: in 127.0.0.0/8, loopback (RFC 1122)" in done.stdout
        assert "GRIDHOOK_ALLOW_NETWORKS=127.0.0.1/32" in done.stdout
        assert "pass" not in done.stdout
        assert_untouched(receiver)


def test_an_allowed_url_is_only_looked_at(shell: Shell):
    with receiving(lambda request: Reply(200), handshake=lambda request: Reply(200)) as receiver:
        assert shell.json("check", receiver.url, "--allow-local")["allowed"] is True
        assert shell.json("check", receiver.url.replace("127.0.0.1", "localhost"), "--allow-local")["allowed"] is True
        assert_untouched(receiver)
    found = shell.json("check", "https://93.184.216.34:8443/in")
    assert (found["target"]["port"], found["addresses"][0]["opened_by"], found["remedies"]) == (8443, None, [])


def test_a_url_with_something_invisible_in_it_is_refused_and_cannot_touch_the_terminal(shell: Shell):
    done = shell.run("check", "hooks.example.com/in\x1b[2J")
    assert done.returncode == 1
    assert "the URL has the invisible character U+001B" in done.stdout
    assert "\x1b" not in done.stdout


def test_a_name_that_dns_does_not_answer_is_refused_with_what_to_check(shell: Shell):
    done = shell.run("check", "https://a.example/in", "--json", GRIDHOOK_DNS_SERVERS="127.0.0.1#1", GRIDHOOK_DNS_SECONDS="0.3")
    found = json.loads(done.stdout)
    assert done.returncode == 1
    assert found["reason"] in ("dns_timeout", "dns_error")
    assert found["remedies"]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--conformance",), "--key"),
        (("--conformance", "--key", "a b"), "no header may carry"),
        (("--conformance", "--key", "k", "--signing-key", "secret"), "whsec_"),
    ],
)
def test_a_trial_without_usable_keys_does_not_begin(shell: Shell, options: tuple[str, ...], complaint: str):
    done = shell.run("check", "https://93.184.216.34/", *options)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert done.stdout == ""
