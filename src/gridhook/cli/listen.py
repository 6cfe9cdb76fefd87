"""`gridhook listen`: a receiver for trying things."""

from __future__ import annotations

import asyncio
import hmac
import signal
import time
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime
from urllib.parse import unquote

import click

from gridhook.cli import options
from gridhook.cli.terminal import Failure, json_line, pretty_json, safe, safe_bytes
from gridhook.rules.signatures import HEADERS, signature_headers
from gridhook.testing import Received, Receiver, Reply, echo

REMEMBERED = 100_000  # event ids, to mark repeats
SHOWN_BYTES = 4096  # of a body that is no JSON
TOLERANCE_SECONDS = 5 * 60  # by which a signature's time may be off, as in the libraries of Standard Webhooks


class Listener:
    """Decides each answer and says on the terminal what came. Everything in a request may be hostile."""

    def __init__(
        self,
        *,
        private_keys: Sequence[str],
        signing_keys: Sequence[str],
        statuses: tuple[int, ...],
        fail_first: int,
        hang: bool,
        delay: float,
        body: bool,
        as_json: bool,
    ) -> None:
        self._private_keys = private_keys
        self._signing_keys = signing_keys
        self._statuses = statuses
        self._fail_first = fail_first
        self._hang = hang
        self._delay = delay
        self._body = body
        self._json = as_json
        self._answered = 0
        self._seen: OrderedDict[str, int] = OrderedDict()

    def deliver(self, request: Received) -> Reply:
        """The answer to a delivery."""
        if request.method != "POST":
            self._say(request, "refused", 405, note=f"{safe(request.method)}, not POST")
            return Reply(405, (("Allow", "POST"),))
        key = self._key_of(request)
        if key is None:
            note = "no Authorization header" if request.header("authorization") is None else "another key than --private-key"
            self._say(request, "refused", 401, note=note)
            return Reply(401, (("WWW-Authenticate", "Bearer"),))
        notes = [f"key {key} of {len(self._private_keys)}"] if len(self._private_keys) > 1 else []
        if self._signing_keys:
            fault = signature_fault(request, self._signing_keys, time.time())
            if fault:
                self._say(request, "refused", 401, note=f"signature bad: {fault}")
                return Reply(401)
            notes.append("signature ok")
        if self._hang:
            self._say(request, "delivery", None, note="; ".join([*notes, "taken, never answered"]))
            return Reply(hang=True)
        status = self._status()
        self._say(request, "delivery", status, note="; ".join(notes))
        return Reply(status, (("Content-Type", "application/json"),), b'{"received": true}' if status < 300 else b"", delay=self._delay)

    def shake(self, request: Received) -> Reply:
        """The answer to a challenge: its echo."""
        self._say(request, "handshake", 200, note="challenge echoed")
        return echo(request)

    def ignore(self, request: Received) -> Reply:
        """The answer of one who knows nothing of handshakes."""
        self._say(request, "handshake", 200, note="not echoed (--no-handshake)")
        return Reply(200)

    def _key_of(self, request: Received) -> int | None:
        """Which of the keys came, counted from 1; 0 where any would do, None for a wrong one."""
        if not self._private_keys:
            return 0
        # The scheme's name is case-insensitive (RFC 9110 s11.1). In constant time: the header may be a guess at the key.
        scheme, _, token = (request.header("authorization") or "").partition(" ")
        given = token.strip().encode("latin-1") if scheme.lower() == "bearer" else b""
        matches = [hmac.compare_digest(given, key.encode()) for key in self._private_keys]
        return matches.index(True) + 1 if any(matches) else None

    def _status(self) -> int:
        self._answered += 1
        if self._answered <= self._fail_first:
            return 500
        return self._statuses[min(self._answered, len(self._statuses)) - 1] if self._statuses else 200

    def _say(self, request: Received, what: str, status: int | None, *, note: str = "") -> None:
        try:
            value = request.json()
        except (ValueError, RecursionError):
            value = None
        event = value if isinstance(value, dict) and what != "handshake" else {}
        id, type = (str(event.get(name, "-")) for name in ("id", "type"))
        times = self._count(id) if event and what == "delivery" else 1
        if self._json:
            line = {"at": datetime.now().astimezone().isoformat(timespec="milliseconds"), "kind": what, "status": status, "note": note}
            click.echo(
                json_line(line | {"seen": times, "headers": request.headers, "body": request.body.decode("utf-8", "backslashreplace")})
            )
            return
        parts = [datetime.now().strftime("%H:%M:%S.%f")[:-3], f"{what:9}", str(status or "---")]
        parts += [safe(type).ljust(34), safe(id)] if event else []
        parts += [f"DUPLICATE, seen {times} times"] if times > 1 else []
        parts += [note] if note else []
        click.echo("  ".join(parts))
        if self._body and what != "handshake":
            shown = safe_bytes(request.body, SHOWN_BYTES) if value is None else pretty_json(event.get("data", value) if event else value)
            click.echo("\n".join("    " + line for line in shown.splitlines()))

    def _count(self, id: str) -> int:
        times = self._seen[id] = self._seen.pop(id, 0) + 1
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return times


def signature_fault(request: Received, keys: Sequence[str], now: float) -> str:
    """What is wrong with the Standard Webhooks signature; empty when one of the keys made it, not long ago."""
    id, timestamp, signatures = (request.header(name) for name in HEADERS)
    if not id or not timestamp or not signatures:
        return "webhook-id, webhook-timestamp or webhook-signature is missing"
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 13):
        return "webhook-timestamp is no number of seconds"
    if abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        return f"made at another time than now ({TOLERANCE_SECONDS} s are tolerated): compare the clocks"
    expected = [dict(signature_headers([key], unquote(id), int(timestamp), request.body)) for key in keys]
    if any(one["webhook-id"] != id for one in expected):
        return "webhook-id is not spelled as a sender of ours does it"
    given = [one.encode("latin-1") for one in signatures.split(" ")]
    # Every pair is compared: the time tells nothing.
    same = [hmac.compare_digest(ours["webhook-signature"].encode(), theirs) for ours in expected for theirs in given]
    return "" if any(same) else "made with another key than --signing-key, or the body was changed on its way"


@click.command()
@click.option("--port", default=9000, show_default=True, type=click.IntRange(0, 65535), help="0: any free one.")
@click.option("--host", type=options.text, default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    *("--private-key", "--key", "private_keys"),
    multiple=True,
    envvar="WEBHOOK_PRIVATE_KEY",
    show_envvar=True,
    help="The webhook's key: others get 401. Repeat it to take an old and a new one while keys are rotated.",
)
@click.option(
    *("--signing-key", "signing_keys"),
    multiple=True,
    envvar="WEBHOOK_SIGNING_KEY",
    show_envvar=True,
    help="whsec_...: check the signature of Standard Webhooks too; a bad one gets 401. Repeatable.",
)
@click.option("--status", type=click.IntRange(200, 599), help="Answer every delivery with this status.")
@click.option("--statuses", type=options.text, help="Comma-separated: answer with these in turn, then with the last for ever.")
@click.option("--fail-first", default=0, type=click.IntRange(0), metavar="N", help="Answer the first N deliveries with 500.")
@click.option("--hang", is_flag=True, help="Take deliveries and never answer.")
@click.option("--delay", default=0.0, type=options.Number(0), metavar="SECONDS", help="Wait before each answer.")
@click.option("--no-handshake", is_flag=True, help="Do not echo challenges: a webhook stays pending.")
@click.option("--body", is_flag=True, help="Print the data of each delivery.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per request, with headers (keys too) and body.")
def listen(
    port: int,
    host: str,
    private_keys: tuple[str, ...],
    signing_keys: tuple[str, ...],
    status: int | None,
    statuses: str | None,
    fail_first: int,
    hang: bool,
    delay: float,
    no_handshake: bool,
    body: bool,
    as_json: bool,
) -> None:
    """Receive webhooks and print them: answers the handshake, checks the key, fails as told.

    A server sends to 127.0.0.1 only with GRIDHOOK_ALLOW_NETWORKS=127.0.0.1/32 in its environment. Ends with Ctrl-C.

    \b
    gridhook listen --port 9000 --key $OLD --key $NEW --signing-key whsec_...
    """
    if status is not None and statuses:
        raise click.UsageError("give --status or --statuses")
    try:
        for key in signing_keys:
            signature_headers([key], "probe", 0, b"")
    except ValueError as error:
        raise click.UsageError(f"--signing-key: {error}") from None
    listener = Listener(
        private_keys=private_keys,
        signing_keys=signing_keys,
        statuses=(status,) if status is not None else _parsed(statuses or ""),
        fail_first=fail_first,
        hang=hang,
        delay=delay,
        body=body,
        as_json=as_json,
    )
    receiver = Receiver(listener.deliver, host=host, port=port, handshake=listener.ignore if no_handshake else listener.shake, keep=False)
    asyncio.run(_run(receiver, as_json))


async def _run(receiver: Receiver, as_json: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        await receiver.start()
    except OSError as error:
        raise Failure(
            f"cannot listen on {receiver.host}:{receiver.port}: {error.strerror or error}; choose another --host or --port"
        ) from None
    # On standard error in JSON mode: there, every line of output is a request.
    click.echo(f"listening on {receiver.url} (any path); Ctrl-C ends", err=as_json)
    await stop.wait()
    await receiver.close()


def _parsed(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isascii() and part.isdigit() and 200 <= int(part) <= 599 for part in parts):
        raise click.BadParameter("must be statuses from 200 to 599, such as 500,503,200", param_hint="--statuses")
    return tuple(map(int, parts))
