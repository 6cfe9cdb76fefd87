"""A shell with gridhook in it: real processes, real files, a real server."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HANG_GUARD_SECONDS = 60
GRIDHOOK = (sys.executable, "-m", "gridhook")


class Shell:
    """Runs commands in a directory of its own, with none of the outer shell's settings."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        ours = ("GRIDHOOK_", "PUBLISHER_", "WEBHOOK_")
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        self.environment["GRIDHOOK_DATA_DIR"] = str(directory / "data")

    def run(self, *arguments: str, input: str | None = None, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*GRIDHOOK, *arguments],
            env=self.environment | settings,
            cwd=self.directory,
            input=input,
            capture_output=True,
            text=True,
            timeout=HANG_GUARD_SECONDS,
        )

    def ok(self, *arguments: str, **settings: str) -> str:
        """Standard output of a command that must succeed."""
        done = self.run(*arguments, **settings)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def json(self, *arguments: str, **settings: str) -> Any:
        return json.loads(self.ok(*arguments, "--json", **settings))

    def lines(self, *arguments: str, **settings: str) -> list[Any]:
        return [json.loads(line) for line in self.ok(*arguments, "--json", **settings).splitlines()]

    @contextmanager
    def started(self, *arguments: str, **settings: str) -> Iterator[subprocess.Popen[str]]:
        """A command that runs until told to stop; interrupted as by Ctrl-C in the end, if it has not ended by itself."""
        process = subprocess.Popen(
            [*GRIDHOOK, *arguments],
            env=self.environment | settings,
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            try:
                process.communicate(timeout=HANG_GUARD_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                raise

    @contextmanager
    def serving(self, **settings: str) -> Iterator[str]:
        """A running server; yields its URL. It must end well."""
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        log = self.directory / "server.log"
        with open(log, "ab") as out:
            process = subprocess.Popen(
                [*GRIDHOOK, "serve"],
                env=self.environment | {"GRIDHOOK_LISTEN": f"127.0.0.1:{port}", "GRIDHOOK_ALLOW_NETWORKS": "127.0.0.1/32"} | settings,
                cwd=self.directory,
                stdout=out,
                stderr=out,
            )
        try:
            wait_until(lambda: process.poll() is not None or ready(url), lambda: log.read_text())
            assert process.poll() is None, log.read_text()
            yield url
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(HANG_GUARD_SECONDS) == 0, log.read_text()


def wait_until(done: Any, complaint: Any = str) -> None:
    deadline = time.monotonic() + HANG_GUARD_SECONDS
    while not done():
        assert time.monotonic() < deadline, complaint()
        time.sleep(0.05)


def ready(url: str) -> bool:
    try:
        return fetch(f"{url}/readyz")[0] == 200
    except OSError:
        return False


def fetch(url: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    request = urllib.request.Request(url, body, {name.replace("_", "-"): value for name, value in headers.items()})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=HANG_GUARD_SECONDS) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def next_line(process: subprocess.Popen[str], containing: str) -> str:
    """The next line of output that contains this text."""
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if containing in line:
            return line.rstrip("\n")
    raise AssertionError(f"{containing!r} is not in {''.join(seen)!r}")


def rest(process: subprocess.Popen[str]) -> str:
    """What it still says until it ends."""
    assert process.stdout is not None
    return process.stdout.read()


class Listening:
    """A running `gridhook listen`."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
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
