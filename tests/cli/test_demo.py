"""The first sixty seconds."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from gridhook.rules.catalogue import EVENT_TYPES
from tests.cli.test_users import Browser
from tests.cli.world import HANG_GUARD_SECONDS, Shell, free_port, next_line


@pytest.fixture
def shell(shell: Shell) -> Shell:
    """With a place for temporary files that can be looked into afterwards."""
    (shell.directory / "tmp").mkdir()
    shell.environment["TMPDIR"] = str(shell.directory / "tmp")
    return shell


def remains(shell: Shell) -> list[Path]:
    return list((shell.directory / "tmp").iterdir())


def test_the_demo_delivers_an_event_of_every_type_and_leaves_nothing(shell: Shell):
    # The settings of the outer shell are for another server, and a proxy is for other addresses.
    done = shell.run("demo", "--once", GRIDHOOK_LISTEN="127.0.0.1:1", http_proxy=f"http://127.0.0.1:{free_port()}")
    assert done.returncode == 0, done.stderr
    received = [line.split()[1] for line in done.stdout.splitlines() if line.startswith(" received")]
    assert received == list(EVENT_TYPES)
    assert "verified=True" in done.stdout
    assert "503  " in done.stdout
    assert "next attempt" in done.stdout
    assert remains(shell) == []


@pytest.mark.parametrize("moment", ["server", "account", "webhook", "received"])
def test_ctrl_c_at_any_moment_stops_the_server_and_leaves_nothing(shell: Shell, moment: str):
    with shell.started("demo") as process:
        next_line(process, f"{moment}  ")
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        out = process.stdout.read()
    assert process.returncode == 130
    assert "Traceback" not in out
    assert remains(shell) == []


def test_a_server_that_dies_is_reported_with_the_end_of_its_log(shell: Shell):
    with shell.started("demo") as process:
        next_line(process, "received  ")
        os.kill(child_of(process.pid), signal.SIGKILL)
        assert process.stdout is not None
        out = process.stdout.read()
    assert process.returncode == 1
    assert '"msg":"listening"' in out
    assert "error: the server ended by itself" in out
    assert remains(shell) == []


def test_the_demo_prints_a_link_that_signs_in_to_the_console(shell: Shell):
    with shell.started("demo") as process:
        link = next_line(process, "/console/link/").strip()
        browser = Browser()
        where, _ = browser.submit(link)
        _, page = browser.open(f"{where}/webhooks")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=HANG_GUARD_SECONDS)
    assert "/console/a/acc_" in where
    assert "Demo receiver" in page
    assert process.returncode == 0
    assert remains(shell) == []


def child_of(pid: int) -> int:
    (child,) = (int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return child


def test_without_the_sdk_the_demo_says_how_to_install_it(shell: Shell):
    (shell.directory / "accessgrid.py").write_text("raise ImportError('not here')")
    done = shell.run("demo", "--once", PYTHONPATH=os.pathsep.join([str(shell.directory), *filter(None, sys.path)]))
    assert done.returncode == 1
    assert done.stderr.startswith("error: AccessGrid's SDK is missing: pip install accessgrid")
