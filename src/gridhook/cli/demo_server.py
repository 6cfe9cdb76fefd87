"""A server of the demo's own: a real `gridhook serve` in a child process, on a free port and a directory that goes with it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path

import click

from gridhook.cli.client import Client
from gridhook.cli.terminal import Failure, safe
from gridhook.config import PREFIX
from gridhook.errors import GridhookError

START_SECONDS = 30.0
STOP_SECONDS = 25.0
TRIES = 5  # ports
TAIL_LINES = 15
USUAL_PORT = 8080


class Server:
    """`await start()`, then `url`; `await stop()` ends it and removes what it left."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="gridhook-demo-"))
        self.url = ""
        self._process: asyncio.subprocess.Process | None = None

    @property
    def settings(self) -> dict[str, str]:
        """What a shell must export for `gridhook` commands to see this server's database, and to make links that lead to it."""
        listen = {f"{PREFIX}LISTEN": self.url.removeprefix("http://")} if self.url else {}
        return {f"{PREFIX}DATA_DIR": str(self.directory / "data"), **listen}

    @property
    def environment(self) -> dict[str, str]:
        """The demo's settings only: those of the shell are for another server."""
        return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)} | self.settings

    async def start(self) -> None:
        """Raises `Failure` with the end of the server's log when it does not come up."""
        for number in range(TRIES):
            port = free_port(USUAL_PORT if number == 0 else 0)
            self.url = f"http://127.0.0.1:{port}"
            extra = {f"{PREFIX}ALLOW_NETWORKS": "127.0.0.1/32"}
            log = os.open(self.directory / "server.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                # A session of its own: Ctrl-C in the terminal reaches the demo, which then stops the server in order.
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "gridhook", "serve", stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                    env=self.environment | extra, start_new_session=True,
                )  # fmt: skip
            finally:
                os.close(log)
            if await self._is_ready():
                return
            if not any("in use" in line for line in self.log_tail()):
                break  # somebody took the port in between: the only thing that another try can mend
        raise self.failure("the server did not start")

    async def _is_ready(self) -> bool:
        assert self._process is not None
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while self._process.returncode is None and asyncio.get_running_loop().time() < deadline:
            if await asyncio.to_thread(self._answers):
                return True
            await asyncio.sleep(0.1)
        return False

    def _answers(self) -> bool:
        try:
            with Client(self.url) as client:
                return client.get("/readyz", seconds=2).status == 200
        except GridhookError:
            return False

    async def died(self) -> int:
        """Returns when the server ends without having been told to: its exit code."""
        assert self._process is not None
        return await self._process.wait()

    def log_tail(self) -> list[str]:
        try:
            lines = (self.directory / "server.log").read_text(errors="backslashreplace").splitlines()
        except OSError:
            return []
        return [safe(line) for line in lines[-TAIL_LINES:]]

    def failure(self, what: str) -> Failure:
        """To be raised; shows the end of the server's log first, before the directory goes."""
        for line in self.log_tail():
            click.echo(f"  | {line}", err=True)
        return Failure(f"{what}; above is the end of its log")

    async def run(self, *arguments: str) -> str:
        """Standard output of `gridhook <arguments>` on this server's database. Raises `Failure`."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gridhook", *arguments, env=self.environment, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        out, err = await process.communicate()
        if process.returncode:
            raise Failure(f"gridhook {' '.join(arguments)}: {err.decode(errors='backslashreplace').strip()}")
        return out.decode()

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL if it takes too long; then the directory goes. Safe to call at any point."""
        process = self._process
        if process is not None and process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def free_port(wanted: int = 0) -> int:
    """`wanted` if nobody listens there, else any free one."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise Failure("no free port on 127.0.0.1")
