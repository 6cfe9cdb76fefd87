"""`gridhook demo`: the main job on your screen, from nothing to delivered events."""

from __future__ import annotations

import asyncio
import hmac
import importlib
import json
import os
import shutil
import signal
import sys
import time
from typing import Any

import click

from gridhook.cli.client import Client
from gridhook.cli.demo_server import Server
from gridhook.cli.publish import publish_one
from gridhook.cli.terminal import Failure, safe, table
from gridhook.rules.catalogue import EVENT_TYPES, catalogue
from gridhook.rules.ids import UUID_BYTES, uuid7
from gridhook.testing import Received, Receiver, Reply

SLOW = 5  # the first so many events come one by one, to be watched
SLOW_SECONDS = 0.8
FAST_SECONDS = 0.05
FAILED_ONCE = "ag.account_balance.low"  # the receiver answers its first delivery 503
VERIFY_TRIES = 3
VERIFY_SECONDS = 11.0  # between two: the server limits how often a handshake may be asked for
SHOWN_ATTEMPTS = 14
ADMIN = "admin@demo.example"


@click.command()
@click.option(
    "--once", is_flag=True, help="End by itself once every event was sent; the one that is refused once is not waited for. Exit code 0."
)
def demo(once: bool) -> None:
    """Start a server and a receiver, register a webhook through AccessGrid's SDK, and watch events arrive.

    Everything is real and local: a server on SQLite in a temporary directory, the handshake, the deliveries, the attempts log.
    The server then runs until Ctrl-C. Nothing remains.
    """
    try:
        sdk = importlib.import_module("accessgrid")
    except ImportError:
        raise Failure("AccessGrid's SDK is missing: pip install accessgrid==0.6.0 (`make demo` installs it)") from None
    # The SDK would send 127.0.0.1 to a proxy.
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), "127.0.0.1")))
    story = Demo(sdk, once)
    try:
        asyncio.run(story.run())
    except KeyboardInterrupt:
        click.echo("\nstopped, nothing remains")
        sys.exit(0 if story.is_told else 130)


class Demo:
    def __init__(self, sdk: Any, once: bool) -> None:
        self._sdk = sdk
        self._once = once
        self._published: dict[str, float] = {}  # event id: when it was published, on the monotonic clock
        self._times: dict[str, int] = {}
        self._private_key = ""
        self.is_told = False

    async def run(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        server = Server()
        try:
            async with Receiver(self._deliver) as receiver:
                await server.start()
                story = asyncio.ensure_future(self._tell(server, receiver))
                death = asyncio.ensure_future(server.died())
                try:
                    await asyncio.wait((story, death), return_when=asyncio.FIRST_COMPLETED)
                    if story.done():
                        story.result()
                    else:
                        raise server.failure(f"the server ended by itself (exit code {death.result()})")
                finally:
                    for part in (story, death):
                        part.cancel()
                    await asyncio.gather(story, death, return_exceptions=True)
        finally:
            await asyncio.shield(server.stop())

    async def _tell(self, server: Server, receiver: Receiver) -> None:
        _step("server", f"gridhook serve on {server.url}, SQLite in {server.directory}")
        _step("receiver", f"{receiver.url} echoes the handshake, checks the key, answers 200; {FAILED_ONCE} gets 503 the first time")
        account = json.loads(await server.run("accounts", "add", "Demo account", "--json"))
        key = json.loads(await server.run("publishers", "add", "Demo publisher", "--account", account["account"], "--json"))["key"]
        _step("account", f"{account['account']}, by `gridhook accounts add`; a publisher key, by `gridhook publishers add`")
        webhook = await self._register(server, receiver, account)
        _step("publish", f"{len(EVENT_TYPES)} events, one of each type")
        await self._publish(server, account["account"], key)
        try:
            await receiver.received(len(EVENT_TYPES))
        except TimeoutError as error:
            raise server.failure(f"not every event arrived: {error}") from None
        await self._show_attempts(server, account["account"])
        self.is_told = True
        if self._once:
            _step("done", "server stopped, nothing remains")
            return
        _next(server, account, webhook, key, await self._invite(server, account["account"]))
        await asyncio.Event().wait()

    # --- the webhook ---

    async def _register(self, server: Server, receiver: Receiver, account: dict[str, str]) -> str:
        """Through the SDK, as a customer does; returns the webhook's id once it is verified."""
        client = self._sdk.AccessGrid(account["account"], account["secret"], server.url)
        webhooks = client.console.webhooks
        try:
            webhook = await asyncio.to_thread(
                webhooks.create, name="Demo receiver", url=receiver.url, subscribed_events=list(EVENT_TYPES), auth_method="bearer_token"
            )
            _step("webhook", f"{webhook.id}, by the accessgrid SDK: client.console.webhooks.create(...)")
            self._private_key = webhook.private_key
            try:
                await receiver.shaken()
            except TimeoutError:
                raise server.failure("the server made no handshake") from None
            for _ in range(VERIFY_TRIES):
                await asyncio.sleep(0.3)
                if (await asyncio.to_thread(webhooks.verify, webhook.id)).verified:
                    _step("verified", "the receiver echoed the challenge; the SDK's verify() says verified=True")
                    return str(webhook.id)
                await asyncio.sleep(VERIFY_SECONDS)
        except self._sdk.AccessGridError as error:
            raise Failure(f"the SDK was refused: {error}") from None
        raise server.failure("the webhook did not become verified")

    async def _invite(self, server: Server, account: str) -> str:
        """A link that signs in to the console as the account's admin."""
        await server.run("users", "add", ADMIN, "--account", account, "--role", "admin")
        return str(json.loads(await server.run("users", "link", ADMIN, "--sign-in", "--json"))["link"])

    # --- the events ---

    async def _publish(self, server: Server, account: str, key: str) -> None:
        with Client(server.url) as client:
            for number, name in enumerate(EVENT_TYPES):
                id = uuid7(time.time_ns() // 1_000_000, os.urandom(UUID_BYTES))
                event = {"type": name, "id": id, "data": dict(catalogue().types[name].example)}
                self._published[id] = time.monotonic()
                result = await asyncio.to_thread(publish_one, client, account, key, event)
                if not result.accepted:
                    raise Failure(f"{name} was refused: {result.field} {result.message}")
                await asyncio.sleep(SLOW_SECONDS if number < SLOW else FAST_SECONDS)

    def _deliver(self, request: Received) -> Reply:
        """Show it, and decide the answer."""
        if not hmac.compare_digest(request.header("authorization") or "", f"Bearer {self._private_key}"):
            _step("refused", "a delivery without the webhook's Private Key")
            return Reply(401)
        event = request.json()
        id, name = event["id"], event["type"]
        times = self._times[id] = self._times.get(id, 0) + 1
        after = request.at - self._published.get(id, request.at)
        since = f"{after * 1000:6.1f} ms" if after < 10 else f"{after:6.1f} s "
        if name == FAILED_ONCE and times == 1:
            _step("received", f"{name:42} {since} after publishing; answered 503, so it comes again in 30 s")
            return Reply(503)
        _step("received", f"{name:42} {since} after publishing" + (f" (attempt {times})" if times > 1 else ""))
        return Reply(200, (("Content-Type", "application/json"),), b'{"received": true}')

    # --- the log ---

    async def _show_attempts(self, server: Server, account: str) -> None:
        lines: list[dict[str, Any]] = []
        for _ in range(20):
            # An attempt is written just after the receiver has answered.
            lines = [json.loads(line) for line in (await server.run("attempts", "--account", account, "--json")).splitlines()]
            if len(lines) > len(EVENT_TYPES):
                break
        _step("log", f"{len(lines)} attempts; the last {SHOWN_ATTEMPTS}:")
        rows = [
            (
                line["started_at"].partition("T")[2],
                line["event_type"] or line["kind"],
                line["number"],
                line["status"] or line["reason"],
                f"{line['timings_us']['total'] / 1000:.1f}",
                line["summary"] + (f"; next attempt {line['next_attempt_at']}" if line["next_attempt_at"] else ""),
            )
            for line in lines[-SHOWN_ATTEMPTS:]
        ]
        width = shutil.get_terminal_size((140, 24)).columns - 2 if sys.stdout.isatty() else 1000
        for text in table(("STARTED", "EVENT TYPE", "#", "RESULT", "MS", "WHAT HAPPENED"), rows).splitlines():
            click.echo("  " + text[:width])


def _step(what: str, text: str) -> None:
    click.echo(f"{click.style(f'{what:>9}', bold=True)}  {safe(text)}")


def _next(server: Server, account: dict[str, str], webhook: str, key: str, link: str) -> None:
    exports = "\n".join(f"  export {name}={value}" for name, value in server.settings.items())
    click.echo(
        f"""
The server keeps running; Ctrl-C stops it. The console, signed in as {ADMIN} (the link works once):

  {link}

In another shell (after `. .venv/bin/activate`, or with .venv/bin/ in front):

{exports}
  export PUBLISHER_URL={server.url} PUBLISHER_KEY={key} PUBLISHER_ACCOUNT={account["account"]}

  gridhook publish ag.access_pass.issued --example
  gridhook publish ag.landing_page.created --data '{{"landing_page_id": 7}}'     # refused: says which field and why
  gridhook attempts --follow
  gridhook webhooks show {webhook} --account {account["account"]}
  gridhook users link {ADMIN} --sign-in                   # another link to the console
  gridhook listen --port 9000 --statuses 500,200                          # a receiver that fails once, for a webhook of your own
  curl -s {server.url}/readyz
  curl -s {server.url}/schemas/webhooks/ag.access_pass.issued/1.json

The webhook API, for the SDK: account {account["account"]}, secret {account["secret"]}
"""
    )
