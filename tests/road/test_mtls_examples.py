"""The receivers of docs/mtls.md, read from the page and run: each serves its own webhook, before and after a rotation, and no other."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from gridhook.bench.harness import free_port
from gridhook.model import AttemptKind, AuthMethod, Webhook
from gridhook.rules.refusals import is_certificate_refusal
from gridhook.telemetry import Log
from gridhook.testing import FakeClock, Receiver
from tests.receivers import real
from tests.road.test_mtls import opened, receivers_authority, stack, status_of
from tests.road.test_stories import ISSUED, PATIENCE
from tests.transport.certificates import Authority, Leaf
from tests.transport.nameserver import NameServer, records

__all__ = ["receivers_authority", "stack"]

PAGE = (Path(__file__).parents[2] / "docs" / "mtls.md").read_text()
NAME = "wh_0123456789abcdefghjkmnpqrs"
HOST = "hooks.example.com"
SCRIPTS = Path(sysconfig.get_path("scripts"))
LANGUAGES = {"nginx": "nginx", "Caddy": "caddy", "Envoy": "yaml", "Node.js": "js", "uvicorn": "python"}


def example(language: str) -> str:
    """The one block of the page in this language. Fails when the page has none, or several."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert NAME in found
    return str(found)


NGINX = """
{user}
daemon off;
worker_processes 1;
pid nginx.pid;
error_log error.log;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  {example}
}}
"""

# What an application that FastAPI or Starlette serves does, at its shortest; `received` is where the test looks.
APPLICATION = """
import json, pathlib
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

async def webhook(request):
    challenge = request.headers.get("x-accessgrid-webhook-challenge")
    if challenge is not None:
        return JSONResponse({"challenge": challenge})
    with open("received", "a") as received:
        print(json.loads(await request.body())["id"], file=received)
    return JSONResponse({"received": True})

app = Starlette(routes=[Route("/webhook", webhook, methods=["POST"])])
"""


def command(server: str, text: str, home: Path) -> list[str]:
    """How this server is started with this text."""
    match server:
        case "nginx":
            (home / "nginx.conf").write_text(NGINX.format(user="user root;" if os.geteuid() == 0 else "", example=text))
            return [real.nginx(), "-p", str(home), "-c", "nginx.conf", "-e", "error.log"]
        case "Caddy":
            # Nothing beside the page's own port: neither the administration, nor port 80.
            (home / "Caddyfile").write_text("{\n\tadmin off\n\tauto_https disable_redirects\n}\n" + text)
            return [str(SCRIPTS / "caddy"), "run", "--config", "Caddyfile", "--adapter", "caddyfile"]
        case "Envoy":
            (home / "envoy.yaml").write_text(text)
            return [str(SCRIPTS / "envoy"), "-c", "envoy.yaml", "--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]
        case "Node.js":
            (home / "receiver.mjs").write_text(text)
            return [real.node(), "receiver.mjs"]
        case _:
            (home / "receiver.py").write_text(APPLICATION)
            (home / "serve.py").write_text(text)
            return [sys.executable, "serve.py"]


@contextlib.contextmanager
def running(server: str, text: str, home: Path, port: int) -> Iterator[None]:
    with (home / "output").open("wb") as output:
        environment = {**os.environ, "HOME": str(home), "XDG_DATA_HOME": str(home), "XDG_CONFIG_HOME": str(home)}
        process = subprocess.Popen(
            command(server, text, home), cwd=home, stdout=output, stderr=output, env=environment, start_new_session=True
        )
        try:
            until = time.monotonic() + PATIENCE
            while process.poll() is None and time.monotonic() < until:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                time.sleep(0.02)
            else:
                raise AssertionError(f"{server} did not start: {(home / 'output').read_text()[-2000:]}")
            yield
        finally:
            # Some wait for connections that are kept alive; of nginx, the worker would outlive its master.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(PATIENCE)


def placed(text: str, home: Path, leaf: Leaf, bundle: bytes) -> str:
    """The example with its files in this directory, which is made."""
    home.mkdir()
    files = {"hooks.example.com.pem": leaf.certificate, "hooks.example.com.key": leaf.key, "accessgrid-ca.pem": bundle}
    for name, content in files.items():
        (home / name).write_bytes(content)
        assert f"/etc/ssl/{name}" in text
        text = text.replace(f"/etc/ssl/{name}", str(home / name))
    return text


@pytest.mark.timeout(90)
@pytest.mark.parametrize("server", LANGUAGES)
async def test_the_example_for_this_server_admits_its_own_webhook_and_no_other(
    tmp_path: Path, receivers_authority: Authority, stack: contextlib.ExitStack, quiet_log: Log, server: str
) -> None:
    clock = FakeClock(time.time_ns() // 1_000_000)
    port = free_port()
    url = f"https://{HOST}:{port}/webhook"
    async with NameServer() as names, Receiver() as application:
        names.zone[HOST] = records("127.0.0.1")
        asked = f"127.0.0.1#{names.server.port}"
        async with opened(tmp_path, receivers_authority, stack, quiet_log, clock, dns_servers=(asked,), verify_interval_seconds=0) as world:
            service, account = world.gridhook.service.webhooks, world.story.account

            async def created() -> Webhook:
                new = await service.create(account, name="Vault", url=url, subscribed_events=[ISSUED], auth_method=AuthMethod.MTLS)
                return new.webhook

            webhook, stranger = await created(), await created()
            for one in (webhook, stranger):
                await world.story.attempts(one, 1, AttemptKind.VERIFICATION)  # nobody listens yet

            home = tmp_path / "server"
            bundle = await world.gridhook.service.authorities.bundle()
            text = placed(example(LANGUAGES[server]), home, receivers_authority.leaf(HOST), bundle)
            text = re.sub(r"\b443\b", str(port), text.replace(NAME, webhook.id).replace("3000", str(application.port)))
            if server == "Caddy":
                text = text.replace(f"{HOST} {{", f"{HOST}:{port} {{")

            with running(server, text, home, port):
                for one in (webhook, stranger):
                    assert not await service.verify(account, one.id)
                await world.story.until(lambda w: w.is_verified, webhook.id)
                refused = (await world.story.attempts(stranger, 2, AttemptKind.VERIFICATION))[-1]
                assert status_of(refused.outcome) == 403 or is_certificate_refusal(refused.outcome)
                assert not (await world.gridhook.store.webhook(account, stranger.id)).is_verified
                first = await world.delivered(webhook, "evt-1")
                new = await world.rotate(webhook)
                second = await world.delivered(webhook, "evt-2")
                assert [(status_of(one.outcome), one.note) for one in (first, second)] == [(200, None)] * 2
                assert second.credential_id == new.id
                await world.accepted(webhook, new.id)
                assert await arrived(server, home, application) == ["evt-1", "evt-2"]


async def test_who_pins_in_nginx_as_the_page_says_refuses_other_webhooks_and_is_served_with_the_pinned_certificate_after_a_rotation(
    tmp_path: Path, receivers_authority: Authority, stack: contextlib.ExitStack, quiet_log: Log
) -> None:
    (pin,) = re.findall(r"`(if \(\$ssl_client_fingerprint .*?)`", PAGE)
    clock = FakeClock(time.time_ns() // 1_000_000)
    port = free_port()
    async with (
        Receiver() as application,
        opened(tmp_path, receivers_authority, stack, quiet_log, clock, verify_interval_seconds=0) as world,
    ):
        url = f"https://127.0.0.1:{port}/webhook"
        (webhook, pinned), (stranger, _) = [await world.webhook(url, verified=False) for _ in range(2)]
        for one in (webhook, stranger):
            await world.story.attempts(one, 1, AttemptKind.VERIFICATION)  # nobody listens yet
        fingerprint = x509.load_pem_x509_certificate(pinned.chain).fingerprint(hashes.SHA1()).hex()
        home = tmp_path / "server"
        text = placed(example("nginx"), home, world.leaf, await world.gridhook.service.authorities.bundle())
        text = re.sub(r"if \(\$ssl_client_s_dn .*", lambda _: pin.replace("4f8a...", fingerprint), text)
        text = re.sub(r"\b443\b", str(port), text.replace("3000", str(application.port)))
        assert fingerprint in text
        with running("nginx", text, home, port):
            for one in (webhook, stranger):
                assert not await world.gridhook.service.webhooks.verify(world.story.account, one.id)
            await world.story.until(lambda w: w.is_verified, webhook.id)
            assert is_certificate_refusal((await world.story.attempts(stranger, 2, AttemptKind.VERIFICATION))[-1].outcome)
            await world.rotate(webhook)
            served = await world.delivered(webhook, "evt-1")
            assert (status_of(served.outcome), served.credential_id) == (200, pinned.id)
            assert served.note is not None
            assert [one.event_id for one in await application.received(1)] == ["evt-1"]


async def arrived(server: str, home: Path, application: Receiver) -> list[str]:
    """What reached the application, be it behind the server or within it."""
    if server == "Node.js":
        return (home / "output").read_text().split()
    if server == "uvicorn":
        return (home / "received").read_text().split()
    return [str(one.event_id) for one in await application.received(2)]
