"""AccessGrid's own Python SDK, old and new, as a customer uses it against a running server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gridhook.bench.harness import EVENT_TYPE, rig, wait_for

ROOT = Path(__file__).resolve().parent.parent.parent

CUSTOMER = """
import sys
from accessgrid import AccessGrid
account, secret, server, receiver = sys.argv[1:]
client = AccessGrid(account, secret, base_url=server)
created = client.console.webhooks.create(
    name="Café badge sync ☕", url=receiver, subscribed_events=["ag.access_pass.issued"], auth_method="bearer_token")
assert len(created.private_key) == 64, created.private_key
listed = client.console.webhooks.list()
assert [w.id for w in listed] == [created.id]
assert listed[0].name == "Café badge sync ☕"
assert client.console.webhooks.list(page=2, per_page=10) == []
print(created.id)
"""

PROOF = """
import sys
from accessgrid import AccessGrid
account, secret, server, webhook = sys.argv[1:]
webhooks = AccessGrid(account, secret, base_url=server).console.webhooks
print(webhooks.verify(webhook).verified if hasattr(webhooks, "verify") else "cannot ask")
"""

FAREWELL = """
import sys
from accessgrid import AccessGrid
account, secret, server, webhook = sys.argv[1:]
webhooks = AccessGrid(account, secret, base_url=server).console.webhooks
webhooks.delete(webhook)
try:
    webhooks.delete(webhook)
except Exception as error:
    print(error)
"""


@pytest.fixture(scope="session")
def sdk_0_4_0(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The oldest SDK that knows webhooks, in a directory of its own."""
    target = tmp_path_factory.mktemp("sdk")
    requirements = ROOT / "requirements" / "sdk-0.4.0.txt"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--require-hashes", "--target", str(target), "-r", str(requirements)], check=True
    )
    return target


@pytest.mark.timeout(180)
@pytest.mark.parametrize("version", ["0.6.0", "0.4.0"])
def test_a_customer_with_this_sdk_registers_and_receives(version: str, tmp_path: Path, request: pytest.FixtureRequest):
    environment = dict(os.environ)
    if version == "0.4.0":
        environment["PYTHONPATH"] = str(request.getfixturevalue("sdk_0_4_0"))

    def run(script: str, *arguments: str) -> str:
        done = subprocess.run([sys.executable, "-c", script, *arguments], env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert run("from importlib.metadata import version; print(version('accessgrid'))") == version
    with rig(tmp_path) as made:
        server = f"http://127.0.0.1:{made.server_port}"
        webhook = run(CUSTOMER, made.account, made.secret, server, f"http://127.0.0.1:{made.receiver_port}/hook")
        made.wait_verified(webhook)
        assert run(PROOF, made.account, made.secret, server, webhook) == ("cannot ask" if version == "0.4.0" else "True")
        sent = made.publish("sdk", events=3, connections=1, seconds=30.0)
        assert made.wait_received(3, 20.0) == 3
        assert set(made.control("dump")["ids"]) == set(sent.ids)

        def logged() -> set[tuple[str, str, int]]:
            log = made.call("GET", f"/v1/console/webhooks/{webhook}/attempts")["attempts"]
            return {(a["event_id"], a["event_type"], a["status"]) for a in log if a["kind"] == "delivery"}

        wait_for(lambda: len(logged()) == 3, 30.0, "the log of what was received")  # written just after the answer
        assert logged() == {(event_id, EVENT_TYPE, 200) for event_id in sent.ids}
        assert "Webhook not found" in run(FAREWELL, made.account, made.secret, server, webhook)
