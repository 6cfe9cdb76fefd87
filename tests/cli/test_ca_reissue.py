"""The drill after the theft of a CA's key, as an operator does it in a shell beside a running server, and what a receiver sees of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import HURRIED, TYPE, Served
from tests.cli.world import Shell
from tests.receivers import real
from tests.transport.certificates import Authority

MTLS = ("--auth-method", "mtls")


@pytest.fixture(scope="module")
def receivers(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("receivers"), "Receivers Root")


@pytest.fixture
def served(shell: Shell, receivers: Authority) -> Iterator[Served]:
    with shell.serving(**HURRIED, GRIDHOOK_CA_FILE=str(receivers.path)) as url:
        yield Served(shell, url)


def states(shell: Shell, webhook: str) -> list[tuple[str, str]]:
    return [(one["id"], one["state"]) for one in shell.lines("webhooks", "certificates", webhook)]


def tried(shell: Shell, webhook: str) -> dict[str, Any]:
    """The last of the tests in the log, after one more."""
    shell.run("webhooks", "test", webhook, TYPE)
    found: dict[str, Any] = shell.lines("attempts", "--webhook", webhook, "--account", shell.environment["PUBLISHER_ACCOUNT"])[-1]
    return found


def test_after_the_theft_of_its_key_a_ca_is_replaced_while_the_server_runs(served: Served, receivers: Authority, tmp_path: Path):
    shell = served.shell
    stolen = shell.json("ca", "create")["authority"]
    before = shell.ok("ca", "pem").encode()
    leaf = receivers.leaf("127.0.0.1")
    with real.start("python", "1.3", tmp_path / "before", server_leaf=leaf, client_ca_bundle=before) as knows_the_old:
        webhook = served.proven(knows_the_old.url, *MTLS)["webhook"]
        ((old, _),) = states(shell, webhook)

        refused = shell.run("ca", "reissue", "--from", stolen, "--yes")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "signs itself: first make its successor with `gridhook ca roll --signs-in 0s`" in refused.stderr
        new = shell.json("ca", "roll", "--signs-in", "0s")["authority"]
        after = shell.ok("ca", "pem", new).encode()
        assert shell.ok("ca", "pem").encode() == after + before

        listed = shell.ok("ca", "reissue", "--from", stolen, "--dry-run")
        assert (webhook in listed, "1 to move" in listed, f"authority {new} signs now" in listed) == (True, True, True)
        (row,) = shell.lines("ca", "reissue", "--dry-run")
        assert (row["webhook"], row["certificate"], row["authority"], row["moves_to"]) == (webhook, old, stolen, new)
        asked = shell.run("ca", "reissue", "--from", stolen, input="n\n")
        assert (asked.returncode, f"Issue certificates of {new} to 1 webhooks" in asked.stderr) == (1, True)
        assert states(shell, webhook) == [(old, "presented")], "nothing was changed"

        done = shell.run("ca", "reissue", "--from", stolen, input="y\n")
        assert (done.returncode, f"1 webhooks to {new}" in done.stdout, "--no-fallback" in done.stdout) == (0, True, True)
        (current, _), *others = states(shell, webhook)
        assert others == [(old, "fallback")]
        attempt = tried(shell, webhook)
        assert (attempt["status"], attempt["credential"]) == (200, old), "who does not trust the new CA yet goes on for seven days"
        assert f"{stolen} issued {old}, which is in use" in shell.run("ca", "remove", stolen).stderr

        again = shell.json("ca", "reissue", "--from", stolen, "--yes")
        assert (again["moved"], again["left"], again["old_authorities"]) == (0, 0, [{"authority": stolen, "in_use": True}])
        listed = shell.ok("ca", "reissue", "--from", stolen, "--no-fallback", "--dry-run")
        assert ("its receiver has not taken the new one yet" in listed, "0 to move, 1 to fall back on no more" in listed) == (True, True)
        asked = shell.run("ca", "reissue", "--from", stolen, "--no-fallback", input="n\n")
        assert (asked.returncode, "destroy 1 old keys now? 1 receivers have not been seen" in asked.stderr) == (1, True)
        ended = shell.ok("ca", "reissue", "--from", stolen, "--no-fallback", "--yes")
        assert f"No certificate of {stolen} is in use any more. What is left to do: `gridhook ca remove {stolen}`" in ended
        assert states(shell, webhook) == [(current, "presented"), (old, "retired")]
        attempt = tried(shell, webhook)
        assert (attempt["status"], attempt["credential"]) == (None, current), "nothing of the old CA is presented any more"

    with real.start("python", "1.3", tmp_path / "after", server_leaf=leaf, client_ca_bundle=after) as trusts_the_new_only:
        shell.ok("webhooks", "edit", webhook, "--url", trusts_the_new_only.url)
        shell.ok("webhooks", "verify", webhook)
        attempt = tried(shell, webhook)
        assert (attempt["status"], attempt["credential"]) == (200, current)
    assert "removed" in shell.ok("ca", "remove", stolen)
    assert shell.ok("ca", "pem").encode() == after
    assert shell.json("ca", "reissue", "--yes")["moved"] == 0


def test_what_cannot_be_moved_ends_the_command_with_an_error_and_no_silence(shell: Shell):
    nothing = shell.run("ca", "reissue", "--yes")
    assert (nothing.returncode, "there is no gridhook database" in nothing.stderr) == (1, True)
    shell.ok("accounts", "add", "First")
    assert "make one with `gridhook ca create`" in shell.run("ca", "reissue").stderr
    shell.ok("ca", "create")
    assert "no authority ca_none" in shell.run("ca", "reissue", "--from", "ca_none", "--dry-run").stderr
    assert "no authority ca_none" in shell.run("ca", "pem", "ca_none").stderr
    assert "acc_none" in shell.run("ca", "reissue", "--account", "acc_none").stderr
    assert "moved         0 webhooks" in shell.ok("ca", "reissue"), "there is nothing to ask about"
