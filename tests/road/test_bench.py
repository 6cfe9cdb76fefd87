"""The bench tells an event that is lost from one that waits for its retry, and a run that lost any fails."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from gridhook.bench.harness import Rig, rig, wait_for
from gridhook.bench.result import Progress, Result, compare
from gridhook.bench.scenarios import SCENARIOS
from gridhook.cli.bench import bench
from gridhook.store import sqlite_path

PATIENCE = 0.2
HASTY: dict[str, Any] = {"connect_seconds": 0.3, "attempt_seconds": 1.0, "ramp_per_second": 10**6}


def publish_to_a_receiver_that_hangs(made: Rig, events: int) -> list[str]:
    """Each first attempt ends in a time limit; returns when all of them wait for their second, the receiver being well again."""
    made.wait_verified(made.add_webhook(f"https://127.0.0.1:{made.tls_port}/hook", "mtls"))
    made.receiver.popen.send_signal(signal.SIGSTOP)
    try:
        sent = made.publish("hung", events=events, connections=events, seconds=30.0)
        wait_for(lambda: attempted(made) == events, 30.0, "the end of every first attempt")
    finally:
        made.receiver.popen.send_signal(signal.SIGCONT)
    return sent.ids


def attempted(made: Rig) -> int:
    """How many deliveries were tried once and wait for the second time."""
    statement = "SELECT id FROM deliveries WHERE state = 'queued' AND lease IS NULL AND attempts = 1"
    if made.settings.database_url:
        with psycopg.connect(made.settings.database_url) as server:
            return len(server.execute(statement).fetchall())
    with closing(sqlite3.connect(sqlite_path(made.settings))) as file:
        return len(file.execute(statement).fetchall())


@pytest.mark.timeout(120)
def test_what_waits_for_its_first_retry_is_waited_for_and_not_called_lost(tmp_path: Path, database_url: str):
    said: list[str] = []
    with rig(tmp_path, database_url, tls_addresses=["127.0.0.1"], retry_delays_seconds=(5, 5), **HASTY) as made:
        ids = publish_to_a_receiver_that_hangs(made, 8)
        assert sorted(event for event, due_at in made.owed() if due_at is not None) == sorted(ids)
        assert made.control("stats")["received"] <= 1, "more got through than the handshake's connection, left open, could carry"
        assert made.wait_received(8, PATIENCE, progress=lambda what, _: said.append(what)) == 8
        assert set(made.control("dump")["ids"]) == set(ids)
    assert "still owed: 8 wait for a retry" in said


def run(monkeypatch: pytest.MonkeyPatch, scenario: Callable[[Path, Progress], Result]) -> tuple[int, str]:
    monkeypatch.setitem(SCENARIOS, "singles", lambda directory, database_url, seconds, progress: scenario(directory, progress))
    done = CliRunner().invoke(bench, ["singles"], catch_exceptions=False)
    return done.exit_code, done.output


@pytest.mark.timeout(120)
def test_a_run_whose_server_forgot_events_says_how_many_and_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def forgetful(directory: Path, progress: Progress) -> Result:
        result = Result("forgetful")
        with rig(directory, **HASTY) as made:
            made.control("set?handshake=0")
            webhook = made.add_webhook()
            sent = made.publish("held", events=10, connections=2, seconds=30.0)
            with closing(sqlite3.connect(sqlite_path(made.settings), timeout=30)) as database, database:
                database.execute("DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries ORDER BY id LIMIT 3)")
            made.control("set?handshake=1")
            made.call("POST", f"/v1/console/webhooks/{webhook}/verify")
            made.wait_verified(webhook)
            assert made.wait_received(10, 2.0, progress=progress) == 7
            compare(result, made, sent)
        return result

    monkeypatch.chdir(tmp_path)
    code, output = run(monkeypatch, forgetful)
    assert code == 1
    assert "forgetful: 10 accepted, 3 lost, 0 still owed, 0 delivered twice" in output
    assert "LOST EVENTS" in output
    assert "STILL OWED" not in output


@pytest.mark.timeout(120)
def test_a_run_whose_server_never_got_to_the_retries_ends_and_fails_and_calls_nothing_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def stopped(directory: Path, progress: Progress) -> Result:
        result = Result("stopped")
        with rig(directory, retry_delays_seconds=(3,), **HASTY) as made:
            made.wait_verified(made.add_webhook())
            made.control("set?delay=60")
            sent = made.publish("slow", events=4, connections=4, seconds=30.0)
            wait_for(lambda: attempted(made) == 4, 30.0, "the end of every first attempt")
            made.kill_server()
            made.control("clear")
            assert made.wait_received(4, PATIENCE, progress=progress) == 0
            compare(result, made, sent)
        return result

    monkeypatch.chdir(tmp_path)
    code, output = run(monkeypatch, stopped)
    assert code == 1
    assert "stopped: 4 accepted, 0 lost, 4 still owed, 0 delivered twice" in output
    assert "still owed: 4 wait for a retry" in output
    assert "STILL OWED" in output
    assert "LOST EVENTS" not in output


@pytest.mark.timeout(120)
def test_a_load_of_so_many_events_sends_no_more_when_its_first_are_answered_before_its_last_connections_are_made(tmp_path: Path):
    with rig(tmp_path) as made:
        made.wait_verified(made.add_webhook())
        assert len(made.publish("few", events=5, connections=60, seconds=30.0).ids) == 5
        assert made.wait_received(5, 10.0) == 5


@pytest.mark.timeout(120)
def test_a_load_whose_server_dies_ends_and_says_so(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    def kill_when_some_arrived() -> None:
        if made.control("stats")["received"]:
            made.server.popen.kill()

    with rig(tmp_path) as made:
        made.wait_verified(made.add_webhook())
        with pytest.raises(RuntimeError, match="the publisher of cut ended with 1"):
            made.publish("cut", kill_when_some_arrived, connections=8, seconds=60.0)
        assert "the server closed a connection whose publish it had not answered" in capfd.readouterr().err
