"""The sample receivers that the console shows, started as they are, with a real gridhook that sends to them."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gridhook.telemetry import Log
from gridhook.web.pages.samples import Sample, samples
from tests.receivers import runners
from tests.receivers.real import node
from tests.web.world import LOW, World
from tests.web.world import running as gridhook_running

STARTED, NOT_STARTED = runners.here()


def test_a_newcomer_finds_a_sample_for_each_of_eight_frameworks():
    assert {sample.key for sample in samples()} == set(runners.RUNNERS)
    assert len(samples()) == 8
    for sample in samples():
        assert "PRIVATE_KEY=..." in "".join(sample.code.splitlines(keepends=True)[:3]), f"{sample.file} does not say how to start it"
        assert 25 <= len(sample.code.splitlines()) <= 62, sample.file


def test_the_samples_whose_languages_come_with_the_development_dependencies_are_always_started():
    assert {"fastapi", "flask"} <= {sample.key for sample in STARTED}
    assert len(STARTED) + len(NOT_STARTED) == 8


def test_the_express_sample_is_well_formed(tmp_path: Path):
    (sample,) = (sample for sample in samples() if sample.key == "express")
    (tmp_path / sample.file).write_text(sample.code)
    checked = subprocess.run([node(), "--check", sample.file], cwd=tmp_path, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.timeout(runners.PATIENCE * 2)
@pytest.mark.parametrize("sample", STARTED, ids=lambda sample: sample.key)
async def test_a_sample_is_verified_before_it_knows_its_key_then_takes_each_event_once_and_refuses_strangers(
    sample: Sample, tmp_path: Path, quiet_log: Log
):
    home = tmp_path / "receiver"
    home.mkdir()
    await asyncio.to_thread(runners.make, sample, home)
    port = runners.free_port()
    url = f"http://127.0.0.1:{port}/webhook"
    async with gridhook_running(tmp_path, quiet_log) as world:
        with runners.running(sample, home, port, private_key="") as said:
            webhook = await world.create(url)
            await world.verified(webhook["id"])
            early = await _published(world)
            (refused,) = await _attempts(world, webhook, early, 1)
            assert refused["status"] == 401, f"without a key it takes anybody's events: {_text(said)}"

        with runners.running(sample, home, port, private_key=webhook["private_key"]) as said:
            event_id = await _published(world)
            (taken,) = await _attempts(world, webhook, event_id, 1)
            assert taken["status"] == 200, _text(said)

            again = f"/v1/console/webhooks/{webhook['id']}/deliveries/{taken['delivery_id']}/redeliver"
            assert (await world.signed("POST", again)).status == 202
            repeated, _ = await _attempts(world, webhook, event_id, 2)
            assert repeated["status"] == 200, _text(said)

            findings = await _conformance(url, webhook["private_key"])
            assert len(findings) > 12
            assert [finding for finding in findings if finding["mark"] not in ("pass", "note")] == []

            last = await _published(world)
            await _worked_on(said, last)
            text = _text(said)
            assert text.count(event_id) == 1, f"the event that came twice was not worked on once: {text}"
            assert early not in text, "it worked on an event that it had refused"


async def _published(world: World) -> str:
    answer = await world.publish(LOW)
    assert answer.status == 202, answer
    event_id: str = answer.json()["id"]
    return event_id


async def _attempts(world: World, webhook: dict[str, Any], event_id: str, count: int) -> list[dict[str, Any]]:
    """Of this event, newest first, once there are so many."""
    async with asyncio.timeout(runners.PATIENCE):
        while True:
            found = [attempt for attempt in await world.attempts(webhook["id"], 1) if attempt["event_id"] == event_id]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.02)


async def _worked_on(said: Path, event_id: str) -> None:
    """Until the sample has printed this event's id."""
    async with asyncio.timeout(runners.PATIENCE):
        while event_id not in _text(said):
            await asyncio.sleep(0.02)


def _text(said: Path) -> str:
    return said.read_text("utf-8", "replace")


async def _conformance(url: str, private_key: str) -> list[dict[str, str]]:
    command = [sys.executable, "-m", "gridhook", "check", url, "--conformance", "--key", private_key, "--allow-local", "--json"]
    # The settings of this suite are none of the command's.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GRIDHOOK_")}
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, said = await process.communicate()
    assert out, said.decode()
    found: list[dict[str, str]] = json.loads(out)["findings"]
    return found
