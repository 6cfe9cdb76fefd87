"""`gridhook webhooks create`, `verify`, `edit`, `pause`, `resume`: what a person changes about a webhook, done by the running server."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import click

from gridhook.cli import one_attempt, options
from gridhook.cli.api import Api, under
from gridhook.cli.database import with_service
from gridhook.cli.shown import detail_json, detail_lines, fields, held, state
from gridhook.cli.terminal import Failure, json_line, safe
from gridhook.clock import SystemClock
from gridhook.model import Attempt, AttemptFilter, AttemptKind, AuthMethod, Echo
from gridhook.rules.catalogue import EVENT_TYPES
from gridhook.service import Service
from gridhook.service.webhooks import Detail

AUTH_METHOD = click.Choice([one.value for one in AuthMethod])
HANDSHAKES = AttemptFilter(kind=AttemptKind.VERIFICATION)
POLL_SECONDS = 0.25
SPARE_SECONDS = 10.0  # beyond the longest request: to start it and to write down what came of it
ONCE = "shown once; only its sealed form is kept"


@click.command("create")
@click.option("--name", required=True, help="A label that people recognise.")
@click.option("--url", "target", required=True, help="Where events are to be sent.")
@click.option("--event", "events", multiple=True, required=True, metavar="TYPE", help="A type to subscribe to, or `all`; repeatable.")
@click.option("--auth-method", type=AUTH_METHOD, help="How deliveries prove where they come from; left out: bearer_token.")
@click.option("--max-in-flight", type=int, help="Most requests at the same time.")
@click.option("--rate", type=options.number, help="Most requests per second.")
@click.option("--header", "headers", multiple=True, type=options.header, metavar="NAME=VALUE", help="Sent with each delivery; repeatable.")
@options.needs_server
def create(
    name: str,
    target: str,
    events: tuple[str, ...],
    auth_method: str | None,
    max_in_flight: int | None,
    rate: float | None,
    headers: tuple[tuple[str, str], ...],
    account: str,
    server: str | None,
    as_json: bool,
) -> None:
    """Register a webhook; prints its id and its Private Key, once, or with mtls the certificate that it will present.

    The server makes the handshake with the URL at once.

    \b
    gridhook webhooks create --name Prod --url https://hooks.example.com/ag --event ag.access_pass.issued --account acc_...
    """
    wanted: dict[str, Any] = {"name": name, "url": target, "subscribed_events": _types(events)}
    given = {"auth_method": auth_method, "max_in_flight": max_in_flight, "rate_per_second": rate, "headers": dict(headers) or None}
    created = Api.open(account, server).post("", wanted | {name: value for name, value in given.items() if value is not None})
    if as_json:
        click.echo(json_line({**detail_json(_detail(account, created["id"])), **_proof(created)}))
        return
    click.echo(f"webhook       {safe(created['id'])}")
    _say_proof(created)
    click.echo(f"The handshake with the URL is under way; `gridhook webhooks show {safe(created['id'])}` says how it stands.")


@click.command("verify")
@options.webhook
@options.needs_server
def verify(webhook_id: str, account: str, server: str | None, as_json: bool) -> None:
    """Make the handshake again and wait for what comes of it; exit code 1 when the webhook is still pending then.

    \b
    gridhook webhooks verify wh_... --account acc_...
    """
    api = Api.open(account, server)

    async def newest(service: Service) -> int:
        return max((attempt.id for attempt in await _handshakes(service, account, webhook_id)), default=0)

    before = with_service(newest)
    if api.post(under(webhook_id, "verify"))["verified"]:
        click.echo(json_line({"webhook": webhook_id, "verified": True}) if as_json else f"{safe(webhook_id)}: verified already")
        return
    made = _outcome(account, webhook_id, before)
    one_attempt.show(made, as_json)
    if made.attempt.echo not in (Echo.MATCHED, Echo.TRUSTED_HOST):
        sys.exit(1)


@click.command("edit")
@options.webhook
@click.option("--name", help="Another label.")
@click.option("--url", "target", help="Another URL: deliveries are held until the handshake with it succeeds.")
@click.option("--event", "events", multiple=True, metavar="TYPE", help="The types to subscribe to instead, or `all`; repeatable.")
@click.option("--auth-method", type=AUTH_METHOD, help="Another proof of where deliveries come from, used at once; not with other changes.")
@click.option("--max-in-flight", type=options.number_or_none, help="Most requests at the same time; none: no limit.")
@click.option("--rate", type=options.number_or_none, help="Most requests per second; none: no limit.")
@click.option(
    "--header", "headers", multiple=True, type=options.header, metavar="NAME=VALUE", help="Add or replace; NAME= removes; repeatable."
)
@click.option("--revision", type=int, help="Only if the webhook is at this revision still (see `show`): else somebody else edited it.")
@options.needs_server
def edit(
    webhook_id: str,
    name: str | None,
    target: str | None,
    events: tuple[str, ...],
    auth_method: str | None,
    max_in_flight: float | str | None,
    rate: float | str | None,
    headers: tuple[tuple[str, str], ...],
    revision: int | None,
    account: str,
    server: str | None,
    as_json: bool,
) -> None:
    """Change what is given and leave the rest: all of it or nothing. With --auth-method: prints the new Private Key, once, or certificate.

    \b
    gridhook webhooks edit wh_... --rate 20 --header 'X-Route=blue' --header 'X-Old=' --account acc_...
    """
    changes: dict[str, Any] = {field: value for field, value in (("name", name), ("url", target)) if value is not None}
    if events:
        changes["subscribed_events"] = _types(events)
    for field, limit in (("max_in_flight", max_in_flight), ("rate_per_second", rate)):
        if limit is not None:
            changes[field] = None if limit == options.NONE else limit
    if headers:
        changes["headers"] = {field: value or None for field, value in headers}
    if auth_method is not None:
        changes["auth_method"] = auth_method
    if not changes:
        raise click.UsageError("say what to change")
    edited = Api.open(account, server).patch(under(webhook_id), changes, if_match=None if revision is None else f'"{revision}"')
    detail = _detail(account, webhook_id)
    if as_json:
        click.echo(json_line({**detail_json(detail), **_proof(edited)}))
        return
    fields(detail_lines(detail, SystemClock().now()))
    _say_proof(edited)


@click.command("pause")
@options.webhook
@options.needs_server
def pause(webhook_id: str, account: str, server: str | None, as_json: bool) -> None:
    """Hold a webhook's deliveries from now on; each is kept until its event is too old.

    \b
    gridhook webhooks pause wh_... --account acc_...
    """
    Api.open(account, server).post(under(webhook_id, "pause"))
    _say_state(account, webhook_id, as_json)


@click.command("resume")
@options.webhook
@options.needs_server
def resume(webhook_id: str, account: str, server: str | None, as_json: bool) -> None:
    """Send what was held, oldest first, slowly at first.

    \b
    gridhook webhooks resume wh_... --account acc_...
    """
    Api.open(account, server).post(under(webhook_id, "resume"))
    _say_state(account, webhook_id, as_json)


def _types(names: Sequence[str]) -> list[str]:
    return list(EVENT_TYPES) if "all" in names else list(names)


def _proof(answer: Mapping[str, Any]) -> dict[str, Any]:
    """What the answer to a creation, or to another auth_method, shows once."""
    return {name: answer[name] for name in ("private_key", "client_cert") if name in answer}


def _say_proof(answer: Mapping[str, Any]) -> None:
    if "private_key" in answer:
        click.echo(f"Private Key   {answer['private_key']}   ({ONCE})")
    if "client_cert" in answer:
        click.echo(f"certificate   expires {safe(answer['cert_expires_at'])}; receivers must trust the output of `gridhook ca pem`")
        for line in answer["client_cert"].splitlines():
            click.echo(safe(line))


def _say_state(account: str, webhook_id: str, as_json: bool) -> None:
    detail = _detail(account, webhook_id)
    if as_json:
        click.echo(json_line(detail_json(detail)))
        return
    click.echo(f"{safe(webhook_id)}: {state(detail.webhook)}; held: {held(detail.counts.held, detail.counts.held_until)}")


def _detail(account: str, webhook_id: str) -> Detail:
    async def work(service: Service) -> Detail:
        return await service.webhooks.detail(account, webhook_id)

    return with_service(work)


# --- the handshake ---


async def _handshakes(service: Service, account: str, webhook_id: str) -> list[Attempt]:
    """The newest few."""
    await service.store.webhook(account, webhook_id)
    return (await service.store.attempts(account, webhook_id, filter=HANDSHAKES, limit=5)).attempts


def _outcome(account: str, webhook_id: str, before: int) -> one_attempt.Found:
    """What came of a handshake after attempt `before`, as soon as it is written. One that another took the place of says nothing.

    Raises `Failure` when none ends in the time that one may take.
    """

    async def work(service: Service) -> one_attempt.Found:
        deadline = time.monotonic() + service.settings.attempt_seconds + SPARE_SECONDS
        while time.monotonic() < deadline:
            for attempt in await _handshakes(service, account, webhook_id):
                if attempt.id > before and attempt.echo is not Echo.SUPERSEDED:
                    return await one_attempt.find(service, account, attempt.id)
            await asyncio.sleep(POLL_SECONDS)
        raise Failure("the handshake has no result yet; `gridhook attempts --kind verification` shows it later")

    return with_service(work)
