"""`gridhook publish`: events from a shell to a running server."""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from gridhook.cli import options
from gridhook.cli.client import Answer, Client, NoAnswer, listening_url
from gridhook.cli.terminal import Failure, json_line, safe
from gridhook.errors import GridhookError
from gridhook.rules.catalogue import event_type

LISTEN = "127.0.0.1:8080"  # where a server listens that was told nothing else
BATCH_EVENTS = 500
BATCH_BYTES = 4 * 1024 * 1024
PLAIN = "application/json"
BATCH = "application/cloudevents-batch+json"
TRIES = 10  # of a batch that the server cannot take now
LONGEST_WAIT = 30.0  # seconds between two tries


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one event. `message` is empty when it was accepted."""

    id: str
    deliveries: int = 0
    duplicate: bool = False
    field: str = ""
    message: str = ""

    @property
    def accepted(self) -> bool:
        return not self.message

    def line(self) -> str:
        if not self.accepted:
            where = f"{safe(self.field)}: " if self.field and not self.message.startswith(self.field) else ""
            return f"refused    {safe(self.id)}  {where}{safe(self.message)}"
        state = "duplicate" if self.duplicate else "accepted "
        return f"{state}  {safe(self.id)}  deliveries: {self.deliveries}"


@click.command()
@click.argument("type", required=False)
@click.option("--data", help="The event's data: JSON, @FILE, or - for standard input.")
@click.option("--example", is_flag=True, help="Take the catalogue's example as data.")
@click.option(
    "--id", "event_id", type=options.text, help="The event's id; made here when left out. The same id and content is never sent twice."
)
@click.option("--time", "event_time", type=options.text, help="When it happened, RFC 3339; left out: now.")
@click.option("--file", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Many: .ndjson, or a JSON array.")
@click.option("--account", type=options.text, envvar="PUBLISHER_ACCOUNT", required=True, show_envvar=True, help="Whose event it is.")
@click.option("--key", envvar="PUBLISHER_KEY", required=True, show_envvar=True, help="A publisher key, see `gridhook publishers add`.")
@click.option("--url", envvar="PUBLISHER_URL", show_envvar=True, help="The server; left out: http://<GRIDHOOK_LISTEN>, or 127.0.0.1:8080.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per event.")
def publish(
    type: str | None,
    data: str | None,
    example: bool,
    event_id: str | None,
    event_time: str | None,
    file: Path | None,
    account: str,
    key: str,
    url: str | None,
    as_json: bool,
) -> None:
    """Publish one event of TYPE, or all events of --file.

    An event in a file is {"type", "data", "id"?, "time"?} or a CloudEvent; each is judged alone and the good ones are kept.
    Prints what became of each; exit code 1 when any was refused, with field and reason.

    \b
    gridhook publish ag.access_pass.issued --example --account acc_...
    gridhook publish ag.landing_page.created --data '{"landing_page_id": "lp_1"}' --account acc_...
    gridhook publish --file events.ndjson --account acc_...
    """
    if (type is None) == (file is None):
        raise click.UsageError("give one event type, or --file")
    if file is not None and (data is not None or example or event_id or event_time):
        raise click.UsageError("--data, --example, --id and --time are for a single event")
    with Client(url or listening_url(os.environ.get("GRIDHOOK_LISTEN", LISTEN))) as client:
        if file is not None:
            refused = _publish_file(client, account, key, file, as_json)
        else:
            assert type is not None
            event = {"type": type, "data": _data(type, data, example), "id": event_id or str(uuid.uuid4())}
            result = publish_one(client, account, key, event | ({"time": event_time} if event_time else {}))
            _show(result, as_json)
            refused = 0 if result.accepted else 1
    if refused:
        sys.exit(1)


def publish_one(client: Client, account: str, key: str, event: dict[str, Any]) -> Result:
    """One event in the plain spelling, with an id. Raises `GridhookError` when it cannot be said what became of it."""
    try:
        answer = client.publish(account, key, json.dumps(event).encode(), PLAIN)
    except NoAnswer as error:
        if error.sent:
            raise GridhookError(f"{error}; it may have been accepted: repeat with --id {event['id']}, that never sends it twice") from None
        raise
    said = answer.json()
    if answer.status in (401, 403, 404, 429, 503) or answer.status >= 500 or not isinstance(said, dict):
        # Not this event's fault.
        raise GridhookError(answer.message)
    return _result(said, event["id"])


def _data(type: str, text: str | None, example: bool) -> Any:
    if example == (text is not None):
        raise click.UsageError("give --data, or --example")
    if text is None:
        return dict(event_type(type, field="TYPE").example)
    if text == "-":
        text = sys.stdin.read()
    elif text.startswith("@"):
        text = Path(text[1:]).read_text(encoding="utf-8")
    try:
        return json.loads(text)
    except ValueError as error:
        raise Failure(f"--data is not JSON: {error}") from None


# --- files ---


def _publish_file(client: Client, account: str, key: str, file: Path, as_json: bool) -> int:
    """How many were refused."""
    events = [_cloud_event(value) for value in _read(file)]
    accepted = refused = 0
    with click.progressbar(length=len(events), label="publishing", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        for batch in _batches(events):
            for result in _publish_batch(client, account, key, batch):
                accepted += result.accepted
                refused += not result.accepted
                if as_json or not result.accepted:
                    _show(result, as_json)
            bar.update(len(batch))
    if not as_json:
        click.echo(f"{accepted} accepted, {refused} refused")
    return refused


def _read(file: Path) -> Iterator[Any]:
    text = file.read_text(encoding="utf-8")
    if text.lstrip().startswith("["):
        try:
            yield from json.loads(text)
        except ValueError as error:
            raise Failure(f"{file}: not JSON: {error}") from None
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield json.loads(line)
            except ValueError as error:
                raise Failure(f"{file}, line {number}: not JSON: {error}; nothing was published") from None


def _cloud_event(value: Any) -> Any:
    """The plain spelling as a CloudEvent, which is what a batch is made of; anything else as it is, for the server to judge."""
    if not isinstance(value, dict) or "specversion" in value:
        return value
    return {"specversion": "1.0", "source": "/gridhook/cli", "id": str(uuid.uuid4())} | value


def _batches(events: Iterable[Any]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for event in events:
        encoded = json.dumps(event).encode()
        if batch and (len(batch) == BATCH_EVENTS or size + len(encoded) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(encoded)
        size += len(encoded) + 1
    if batch:
        yield batch


def _publish_batch(client: Client, account: str, key: str, batch: list[bytes]) -> list[Result]:
    """Repeats what the server could not take now: ids make that safe."""
    body = b"[" + b",".join(batch) + b"]"
    for attempt in range(1, TRIES + 1):
        try:
            answer: Answer | None = client.publish(account, key, body, BATCH)
        except NoAnswer:
            if attempt == TRIES:
                raise
            answer = None
        if answer is not None and answer.status not in (429, 503):
            break
        if answer is not None and attempt == TRIES:
            raise GridhookError(answer.message)
        time.sleep(min(LONGEST_WAIT, (answer.retry_after if answer else None) or attempt))
    assert answer is not None
    elements = _elements(answer.json())
    if len(elements) != len(batch):
        raise GridhookError(answer.message)
    ids = [value.get("id") if isinstance(value, dict) else None for value in map(json.loads, batch)]
    return [_result(element, str(id or "-")) for element, id in zip(elements, ids, strict=True)]


def _elements(said: Any) -> list[Any]:
    found = said.get("results") if isinstance(said, dict) else None
    return found if isinstance(found, list) else []


def _result(element: Any, id: str) -> Result:
    if not isinstance(element, dict):
        return Result(id, message="the server's answer cannot be read")
    if message := element.get("message"):
        return Result(id, field=str(element.get("field") or ""), message=str(message))
    return Result(str(element.get("id", id)), int(element.get("deliveries", 0)), bool(element.get("duplicate", False)))


def _show(result: Result, as_json: bool) -> None:
    if as_json:
        ok = {"deliveries": result.deliveries, "duplicate": result.duplicate}
        click.echo(json_line({"id": result.id, **(ok if result.accepted else {"field": result.field, "message": result.message})}))
    else:
        click.echo(result.line(), err=not result.accepted)
