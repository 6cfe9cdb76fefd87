"""The corpus against the real transport, in a network namespace where every address is local: not one packet goes astray."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.ssrf.attack import IMPOSSIBLE
from tests.ssrf.check import violations
from tests.ssrf.corpus import every_case, shots
from tests.ssrf.registration import faults

ROOT = Path(__file__).parent.parent.parent
EVERY = every_case()
HANG_GUARD_SECONDS = 100


def run(*arguments: str) -> list[dict[str, Any]]:
    """What was seen. The environment names a proxy, which must not be used either."""
    proxy = {name: "http://10.9.9.9:3128" for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.ssrf.attack", *arguments],
        cwd=ROOT,
        env={**{name: text for name, text in os.environ.items() if not name.startswith("GRIDHOOK_")}, **proxy},
        capture_output=True,
        text=True,
        timeout=HANG_GUARD_SECONDS,
        check=False,
    )
    if done.returncode == IMPOSSIBLE:
        pytest.skip(f"no network namespace can be made here, so the corpus was NOT tried end to end: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    seen: list[dict[str, Any]] = json.loads(done.stdout)
    return seen


def test_no_packet_reaches_a_refused_address_and_every_allowed_one_is_reached():
    seen = run("transport")
    assert violations(seen, EVERY) == []
    assert len(seen) == 1215  # 355 URLs, two attempts each, more where the answers change
    assert sum(one["outcome"] == "200" for one in seen) > 300


def test_handshakes_and_deliveries_of_webhooks_that_were_let_in_reach_no_refused_address():
    """As when a name that was fine at registration points inside a day later, or the rule has grown stricter since."""
    seen = run("road")
    assert violations(seen, EVERY) == []
    handshakes = [one for one in seen if one["verified"] is not None]
    assert len(seen) == 1215
    assert len(handshakes) == 355
    assert {one["id"] for one in handshakes if one["outcome"] == "not_sent"} == {"S411", "S413"}
    assert {one["id"] for one in handshakes if one["verified"]} >= {"S411", "S413", "S414", "S415", "S416"}


def test_the_api_takes_every_url_that_is_fine_and_refuses_the_others_without_a_packet():
    answered = run("api")
    assert faults(answered, shots()) == []
    assert [one["status"] for one in answered].count(201) == 355 - 280


def test_the_check_notices_an_api_that_asks_is_global():
    found = faults(run("api", "--sabotaged"), shots())
    assert "S362 url: tcp packet to 64:ff9b::a9fe:a9fe port 443" in found
    assert len([line for line in found if "answered 201" in line]) > 40


@pytest.mark.parametrize("caller", ["transport", "road"])
def test_the_check_notices_a_guard_that_asks_is_global(caller: str):
    found = violations(run(caller, "--sabotaged"), EVERY)
    for case, address in (("S362", "64:ff9b::a9fe:a9fe"), ("S364", "fec0::1")):
        assert f"{case} url round 0: tcp packet to {address} port 443" in found
        assert f"{case} url round 1: request reached {address}" in found
    assert len([line for line in found if "packet to" in line]) > 40
