"""The processes of a bench run: a server on a fresh database, a receiver, publishers; and what each of them used."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from gridhook.app import offline
from gridhook.bench.certificate import write_certificate
from gridhook.bench.publisher import Sent
from gridhook.config import Settings
from gridhook.rules.catalogue import event_type
from gridhook.store import sqlite_path

EVENT_TYPE = "ag.access_pass.issued"
START_SECONDS = 30.0
RETRIES_AWAITED = 2  # how many of the retry schedule's delays are waited for: with the default one, two minutes and a half
OWED = """SELECT e.id, d.due_at FROM deliveries d JOIN events e ON e.seq = d.event_seq WHERE d.state IN ('held', 'queued')"""
SERVER = (sys.executable, "-m", "gridhook")


@dataclass
class Process:
    """A child whose memory and CPU are read from /proc while it runs."""

    name: str
    popen: subprocess.Popen[bytes]
    peak_rss: int = 0

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.popen.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def sample(self) -> int:
        """Resident bytes now; the peak is kept."""
        try:
            rss = int(Path(f"/proc/{self.popen.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except FileNotFoundError:
            return 0
        self.peak_rss = max(self.peak_rss, rss)
        return rss

    def stop(self) -> int:
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
        try:
            return self.popen.wait(60)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            return self.popen.wait()


@dataclass
class Rig:
    """A running server with one account, one publisher key and one receiver."""

    directory: Path
    receiver: Process
    server_port: int
    receiver_port: int
    account: str
    secret: str
    key: str
    settings: Settings
    command: tuple[str, ...]
    tls_port: int = 0  # of the receiver; 0: it has none
    server: Process = field(init=False)

    # --- the receiver -------------------------------------------------------------------------------------------

    def control(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.receiver_port}/-/{path}", timeout=30) as answer:
            said: dict[str, Any] = json.load(answer)
            return said

    # --- the server ---------------------------------------------------------------------------------------------

    def start_server(self) -> None:
        """Start (again) on the same database; returns when it is ready."""
        with (self.directory / "server.log").open("ab") as log:
            self.server = Process("server", subprocess.Popen([*self.command, "serve"], env=self.environment(), stdout=log, stderr=log))
        wait_for(self._is_ready, START_SECONDS, "the server")

    def environment(self) -> dict[str, str]:
        """This process's environment, with the rig's settings and no others."""
        return {name: value for name, value in os.environ.items() if not name.startswith("GRIDHOOK_")} | self.settings.environment()

    def _is_ready(self) -> bool:
        if self.server.popen.poll() is not None:
            raise RuntimeError("the server ended: " + (self.directory / "server.log").read_text()[-2000:])
        try:
            with urllib.request.urlopen(f"http://{self.settings.listen}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def kill_server(self) -> None:
        """kill -9: no warning, no last word."""
        self.server.popen.kill()
        self.server.popen.wait()

    def call(self, method: str, path: str, body: dict[str, Any] | None = None, query: str = "") -> dict[str, Any]:
        """A signed call of the console API."""
        payload = json.dumps(body).encode() if body is not None else b"{}"
        query = f"?{query}" + ("" if body is not None else "&sig_payload=%7B%7D")
        signature = hmac.new(self.secret.encode(), base64.b64encode(payload), hashlib.sha256).hexdigest()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.server_port}{path}{query}",
            method=method,
            data=payload if body is not None else None,
            headers={"X-ACCT-ID": self.account, "X-PAYLOAD-SIG": signature, "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
            said: dict[str, Any] = json.loads(text) if text else {}
            return said

    def add_webhook(self, url: str = "", auth_method: str = "bearer_token") -> str:
        """url: without one, the receiver's, in the clear."""
        webhook = self.call(
            "POST",
            "/v1/console/webhooks",
            {
                "name": "bench",
                "url": url or f"http://127.0.0.1:{self.receiver_port}/hook",
                "subscribed_events": [EVENT_TYPE],
                "auth_method": auth_method,
            },
        )
        return str(webhook["id"])

    def wait_verified(self, webhook_id: str) -> None:
        wait_for(
            lambda: bool(self.call("GET", f"/v1/console/webhooks/{webhook_id}")["status"] == "verified"), START_SECONDS, "verification"
        )

    def publish(self, name: str, during: Callable[[], None] | None = None, **plan: Any) -> Sent:
        """Run one publisher process to its end."""
        path, result = self.directory / f"{name}.plan", self.directory / f"{name}.sent"
        said = {
            "host": "127.0.0.1",
            "port": self.server_port,
            "account": self.account,
            "key": self.key,
            "prefix": f"{name}-",
            "type": EVENT_TYPE,
            "data": example_data(),
            "result": str(result),
        } | plan
        path.write_bytes(msgspec.json.encode(said))
        with subprocess.Popen([sys.executable, "-m", "gridhook.bench.publisher", str(path)]) as popen:
            try:
                while popen.poll() is None:
                    if during is not None:
                        during()
                    time.sleep(0.05)
            except BaseException:  # whatever ends the waiting, Ctrl-C and a test's time limit too: do not wait for the rest of the load
                popen.kill()
                raise
            if popen.returncode:
                raise RuntimeError(f"the publisher of {name} ended with {popen.returncode}")
        return msgspec.json.decode(result.read_bytes(), type=Sent)

    def owed(self) -> list[tuple[str, int | None]]:
        """What the server still has to deliver, as its database says: the event's id, and when it is tried next (None: held).

        A first attempt that timed out is owed until its retry, half a minute later: it has not arrived, and is not lost.
        """
        if self.settings.database_kind == "postgresql":
            import psycopg  # not at the top: with the embedded default nothing of PostgreSQL is loaded

            with psycopg.connect(self.settings.database_url) as database:
                return [(str(event), due_at) for event, due_at in database.execute(OWED)]
        with closing(sqlite3.connect(f"{sqlite_path(self.settings).resolve().as_uri()}?mode=ro", uri=True)) as file:
            return [(str(event), due_at) for event, due_at in file.execute(OWED)]

    def wait_received(
        self, count: int, seconds: float, during: Callable[[int], None] | None = None, progress: Callable[[str, float], None] | None = None
    ) -> int:
        """Wait until the receiver has `count` different ids; how many it has.

        When nothing more came for `seconds`, wait on only for what the server will try again; `progress` is told so.
        """
        last, since = -1, time.monotonic()
        while True:
            received = int(self.control("stats")["received"])
            if during is not None:
                during(received)
            if received >= count:
                return received
            if received != last:
                last, since = received, time.monotonic()
            elif time.monotonic() - since > seconds:
                if not self._will_try_again(time.monotonic() - since - seconds, progress, received / count):
                    return int(self.control("stats")["received"])
                time.sleep(0.5)
            time.sleep(0.02)

    def _will_try_again(self, waited: float, progress: Callable[[str, float], None] | None, share: float) -> bool:
        """Whether what the server owes has an attempt within the first delays of the retry schedule, `waited` seconds of which are over."""
        settings = self.settings
        longest = sum(settings.retry_delays_seconds[:RETRIES_AWAITED]) * (1 + settings.retry_jitter) + settings.attempt_seconds
        if waited > longest:
            return False
        until = (time.time() + longest - waited) * 1000
        waiting = sum(due_at is not None and due_at < until for _, due_at in self.owed())
        if waiting and progress is not None:
            progress(f"still owed: {waiting:,} wait for a retry", share)
        return waiting > 0


def example_data() -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(event_type(EVENT_TYPE).example))


def wait_for(ready: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not come within {seconds:.0f} s")
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def rig(
    directory: Path, database_url: str = "", command: tuple[str, ...] = SERVER, tls_addresses: Sequence[str] = (), **changes: Any
) -> Iterator[Rig]:
    """A rig in `directory`, on SQLite there or on `database_url`. `changes`: settings of the server; `command`: what runs it.

    tls_addresses: where the receiver listens for TLS too.
    """
    directory.mkdir(exist_ok=True)
    certificate, trusted, client_ca = (str(directory / name) for name in ("receiver.pem", "trusted.pem", "clients.pem"))
    if tls_addresses:
        changes["ca_file"] = trusted
        write_certificate(tls_addresses, Path(certificate), Path(trusted))
    settings = Settings(
        data_dir=str(directory / "data"),
        database_url=database_url,
        listen=f"127.0.0.1:{free_port()}",
        allow_networks=("127.0.0.0/8",) if tls_addresses else ("127.0.0.1/32",),
        master_key_file=str(directory / "master.key"),
        **{"api_per_second": 0} | changes,  # the rig looks at the log as fast as it can
    )

    authorities: list[bytes] = []

    async def prepare() -> tuple[str, str, str]:
        async with offline(settings) as service:
            account, secret = await service.create_account("bench")
            key = await service.create_publisher_key("bench")
            authorities.append(await service.authorities.bundle() if tls_addresses else b"")
            return account.id, secret.text, key.text

    key_file = directory / "master.key"
    key_file.touch(mode=0o600)
    key_file.write_text("bench:" + base64.b64encode(os.urandom(32)).decode())
    account, secret, key = asyncio.run(prepare())
    Path(client_ca).write_bytes(b"".join(authorities))
    files = (certificate, client_ca) if tls_addresses else ()
    with subprocess.Popen([sys.executable, "-m", "gridhook.bench.receiver", "0", *files], stdout=subprocess.PIPE) as receiver:
        assert receiver.stdout is not None
        port, *tls_port = map(int, receiver.stdout.readline().split())
        made = Rig(
            directory=directory,
            receiver=Process("receiver", receiver),
            server_port=int(settings.listen.rpartition(":")[2]),
            receiver_port=port,
            tls_port=tls_port[0] if tls_port else 0,
            account=account,
            secret=secret,
            key=key,
            settings=settings,
            command=command,
        )
        try:
            made.start_server()
            yield made
        finally:
            if hasattr(made, "server"):
                made.server.stop()
            receiver.kill()
