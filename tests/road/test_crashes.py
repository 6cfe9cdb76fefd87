"""Nothing accepted is lost: the process is killed without warning, again and again, under load."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gridhook.bench.harness import EVENT_TYPE, SERVER, Rig, example_data, free_port, rig, wait_for

KILLS = 50
QUICK: dict[str, Any] = {"attempt_seconds": 1.0, "connect_seconds": 0.5, "poll_seconds": 0.2}  # a lease of 12 s
SABOTEUR = (sys.executable, str(Path(__file__).parent / "sabotaged.py"))


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


class Publishers:
    """Customers of the publish API that write down what was answered 202, and repeat what was not answered."""

    def __init__(self, made: Rig, threads: int = 4) -> None:
        self.made = made
        self.acknowledged: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(threads)]

    def __enter__(self) -> Publishers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        count = 0
        while not self._stop.is_set():
            event_id = f"crash-{number}-{count}"
            if self.publish(event_id):
                self.acknowledged.append(event_id)
                count += 1
            else:
                time.sleep(0.01)

    def publish(self, event_id: str) -> bool:
        body = msgspec.json.encode({"id": event_id, "type": EVENT_TYPE, "data": example_data()})
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.made.server_port}/v1/accounts/{self.made.account}/events",
            data=body,
            headers={"Authorization": f"Bearer {self.made.key}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return bool(answer.status == 202)
        except (urllib.error.URLError, OSError):
            return False


def kill_under_load(made: Rig, kills: int, seed: int) -> list[str]:
    """Kill and restart the server at random moments while publishers publish; what they were promised."""
    chance = random.Random(seed)
    with Publishers(made) as publishers:
        for _ in range(kills):
            time.sleep(chance.uniform(0.05, 0.4))
            made.kill_server()
            made.start_server()
        time.sleep(0.2)
    return publishers.acknowledged


def lost(made: Rig, acknowledged: list[str], seconds: float = 40.0) -> set[str]:
    """Which of them the receiver never got, once every lease has run out and every due delivery was made."""
    made.wait_received(len(acknowledged), seconds)
    return set(acknowledged) - set(made.control("dump")["ids"])


def unlogged(made: Rig, webhook: str) -> dict[str, int]:
    """Events for which the receiver saw more requests than the log has attempts."""
    logged: Counter[str] = Counter()
    cursor = ""
    while True:
        page = made.call("GET", f"/v1/console/webhooks/{webhook}/attempts", query=f"limit=100{cursor}")
        logged.update(attempt["event_id"] for attempt in page["attempts"] if attempt["kind"] == "delivery")
        if not page.get("next_cursor"):
            break
        cursor = f"&cursor={page['next_cursor']}"
    seen = made.control("dump")["counts"]
    return {event_id: count - logged[event_id] for event_id, count in seen.items() if count > logged[event_id]}


def lost_attempts(made: Rig, webhook: str) -> list[str]:
    """Events whose log shows a request that died with its process."""
    page = made.call("GET", f"/v1/console/webhooks/{webhook}/attempts", query="limit=100")
    return [attempt["event_id"] for attempt in page["attempts"] if attempt["reason"] == "worker_lost"]


@pytest.mark.timeout(400)
def test_fifty_kills_under_load_lose_nothing_and_every_request_a_receiver_saw_is_in_the_log(tmp_path: Path, database_url: str):
    kills = KILLS if not database_url else KILLS // 5
    with rig(tmp_path, database_url, **QUICK) as made:
        webhook = made.add_webhook()
        made.wait_verified(webhook)
        acknowledged = kill_under_load(made, kills, seed=kills)
        assert len(acknowledged) > 10 * kills, "the load was too thin to prove anything"
        assert lost(made, acknowledged) == set()
        # What the last kill cut short is logged by its next claim: at once on SQLite, when its lease has run out on PostgreSQL.
        wait_for(lambda: unlogged(made, webhook) == {}, 40.0, "the log of every request that the receiver saw")


@pytest.mark.timeout(200)
def test_the_checker_sees_a_build_that_answers_before_it_commits(tmp_path: Path):
    with rig(tmp_path, command=(*SABOTEUR, "answer-before-commit"), **QUICK) as made:
        # Held deliveries: what was answered and not committed cannot have been sent on from memory.
        made.control("set?handshake=0")
        webhook = made.add_webhook()
        acknowledged = kill_under_load(made, 4, seed=1)
        made.control("set?handshake=1")
        made.call("POST", f"/v1/console/webhooks/{webhook}/verify")
        made.wait_verified(webhook)
        assert lost(made, acknowledged, 5.0) != set()


@pytest.mark.timeout(200)
def test_the_checker_sees_a_build_that_forgets_lost_attempts(tmp_path: Path):
    with rig(tmp_path, command=(*SABOTEUR, "forget-lost-attempts"), **QUICK) as made:
        webhook = made.add_webhook()
        made.wait_verified(webhook)
        made.control("set?delay=0.2")
        acknowledged = kill_under_load(made, 6, seed=2)
        lost(made, acknowledged)
        assert unlogged(made, webhook) != {}


@pytest.mark.timeout(120)
def test_what_was_in_flight_at_a_kill_is_made_again_at_once_after_the_restart_and_not_when_its_lease_ends(tmp_path: Path):
    with rig(tmp_path) as made:  # a lease of 40 s: longer than this test may take
        webhook = made.add_webhook()
        made.wait_verified(webhook)
        made.control("set?delay=60")
        sent = made.publish("flying", events=5, connections=5, seconds=30.0)
        assert made.wait_received(5, 10.0) == 5
        made.kill_server()
        made.control("clear")
        made.control("set?delay=0")
        made.start_server()
        assert made.wait_received(5, 15.0) == 5
        assert set(made.control("dump")["ids"]) == set(sent.ids)
        wait_for(lambda: len(lost_attempts(made, webhook)) == 5, 60.0, "the log of what the kill cut short")


@pytest.mark.timeout(120)
def test_a_handshake_that_a_kill_cut_short_is_made_after_the_restart(tmp_path: Path):
    with rig(tmp_path) as made:
        made.control("set?mute=1")
        webhook = made.add_webhook()
        made.kill_server()
        made.control("set?mute=0")
        made.start_server()
        made.wait_verified(webhook)


@pytest.mark.timeout(60)
def test_a_second_server_on_the_same_embedded_database_is_refused_and_told_why(tmp_path: Path):
    with rig(tmp_path) as made:
        other = made.settings.replace(listen=f"127.0.0.1:{free_port()}")
        done = subprocess.run([*SERVER, "serve"], env=made.environment() | other.environment(), capture_output=True, text=True, timeout=30)
        assert done.returncode == 1
        assert "another gridhook serves from" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.timeout(120)
def test_sigterm_finishes_what_is_in_flight_and_nothing_is_sent_twice(tmp_path: Path):
    with rig(tmp_path) as made:
        made.wait_verified(made.add_webhook())
        made.control("set?delay=0.3")
        with Publishers(made) as publishers:
            for _ in range(3):
                time.sleep(0.8)
                assert made.server.stop() == 0
                made.start_server()
        assert lost(made, publishers.acknowledged) == set()
        assert made.control("stats")["repeats"] == 0


@pytest.mark.timeout(300)
def test_a_hundred_thousand_fault_free_deliveries_make_exactly_as_many_requests(tmp_path: Path):
    with rig(tmp_path) as made:
        made.wait_verified(made.add_webhook())
        sent = made.publish("many", events=100_000, batch=100, connections=8, seconds=240.0)
        assert len(sent.ids) == 100_000
        assert made.wait_received(100_000, 30.0) == 100_000
        dump = made.control("dump")
        assert set(dump["ids"]) == set(sent.ids)
        assert dump["repeats"] == 0


@pytest.mark.timeout(240)
def test_two_processes_on_one_postgresql_share_the_work_and_never_both_send(tmp_path: Path, postgres_url: str):
    with rig(tmp_path, postgres_url) as made:
        made.control("set?handshake=0")
        webhook = made.add_webhook()
        sent = made.publish("shared", events=5_000, batch=100, connections=4, seconds=60.0)
        other_settings = made.settings.replace(listen=f"127.0.0.1:{free_port()}")
        with (tmp_path / "second.log").open("wb") as log:
            environment = made.environment() | other_settings.environment()
            with subprocess.Popen([*SERVER, "serve"], env=environment, stdout=log, stderr=log) as second:
                try:
                    wait_for(lambda: answers(f"http://{other_settings.listen}/readyz"), 60.0, "the second process")
                    made.control("set?handshake=1")
                    made.call("POST", f"/v1/console/webhooks/{webhook}/verify")
                    assert made.wait_received(5_000, 20.0) == 5_000
                    assert made.control("stats")["repeats"] == 0
                finally:
                    second.terminate()
        second_log = (tmp_path / "second.log").read_text()
        assert '"msg":"attempt"' in second_log, "the second process had no share"
        assert len(sent.ids) == 5_000


@pytest.mark.timeout(240)
def test_the_checker_sees_two_processes_that_claim_without_a_lease(tmp_path: Path, postgres_url: str):
    command = (*SABOTEUR, "claim-what-is-leased")
    with rig(tmp_path, postgres_url, command=command) as made:
        made.control("set?delay=0.5")
        made.wait_verified(made.add_webhook())
        other = made.settings.replace(listen=f"127.0.0.1:{free_port()}")
        with (
            (tmp_path / "second.log").open("wb") as log,
            subprocess.Popen([*command, "serve"], env=made.environment() | other.environment(), stdout=log, stderr=log) as second,
        ):
            try:
                wait_for(lambda: answers(f"http://{other.listen}/readyz"), 60.0, "the second process")
                made.publish("twice", events=500, batch=100, connections=2, seconds=60.0)
                made.wait_received(500, 10.0)
                # Both hold the same rows for half a second; when the second looks is its affair.
                wait_for(lambda: made.control("stats")["repeats"] > 0, 30.0, "a delivery that both sent")
            finally:
                second.terminate()
