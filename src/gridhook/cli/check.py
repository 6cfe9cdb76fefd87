"""`gridhook check`: may this URL be sent to, and does the receiver behind it do what a robust one does?"""

from __future__ import annotations

import asyncio
import sys
import textwrap
from typing import Any, NamedTuple

import click

from gridhook.cli.terminal import pretty_json, safe
from gridhook.clock import SystemClock
from gridhook.config import Settings
from gridhook.engine.conformance import Finding, Mark, Probe, check_keys, examine, probes
from gridhook.rules import inspection as rules
from gridhook.rules.inspection import Inspection
from gridhook.transport import Transport, open_transport

LOOPBACK = ("127.0.0.0/8", "::1/128")
WIDTH = 110
MARKS = {Mark.PASS: "pass", Mark.NOTE: "note", Mark.WARN: "WARN", Mark.FAIL: "FAIL", Mark.SKIPPED: "----"}


class Keys(NamedTuple):
    """That the receiver under trial expects."""

    private: str
    signing: str | None


@click.command()
@click.argument("url")
@click.option("--conformance", is_flag=True, help="Play the sender against a receiver of yours, and report what a robust one does.")
@click.option("--key", envvar="WEBHOOK_PRIVATE_KEY", show_envvar=True, help="The Private Key that the receiver expects, for --conformance.")
@click.option(
    "--signing-key", envvar="WEBHOOK_SIGNING_KEY", show_envvar=True, help="Also sign deliveries (whsec_...), and try unsigned ones."
)
@click.option("--allow-local", is_flag=True, help="Allow this machine's own addresses (127.0.0.0/8, ::1, localhost), for this run only.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def check(url: str, conformance: bool, key: str | None, signing_key: str | None, allow_local: bool, as_json: bool) -> None:
    """Say whether the address guard lets deliveries go to URL, and what to change if not. Sends nothing to it.

    Needs neither a server nor a database: the settings of the environment decide, as for `gridhook serve`. Its DNS servers are asked.

    With --conformance, events are sent to URL if the guard lets them: handshakes, deliveries, repeats, unknown types, wrong keys and so
    on, some fifteen requests. The events are invented but look real: use a receiver of yours that may take them. For one on this
    machine add --allow-local; for one in your network set GRIDHOOK_ALLOW_HOSTS or GRIDHOOK_ALLOW_NETWORKS.

    Exit code 1 when the URL is refused, or when a probe FAILs.

    \b
    gridhook check https://hooks.example.com/in
    gridhook listen --private-key secret &
    gridhook check http://127.0.0.1:9000/hook --conformance --key secret --allow-local
    """
    keys = None
    if conformance:
        if not key:
            raise click.UsageError("--conformance needs --key, the Private Key that the receiver expects")
        keys = Keys(key, signing_key or None)
        try:
            check_keys(*keys)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
    settings = Settings.from_environment()
    if allow_local:
        settings = settings.replace(allow_networks=(*settings.allow_networks, *LOOPBACK), allow_hosts=(*settings.allow_hosts, "localhost"))
    if not asyncio.run(_run(url, settings, keys, as_json)):
        sys.exit(1)


async def _run(url: str, settings: Settings, keys: Keys | None, as_json: bool) -> bool:
    transport = open_transport(settings)
    await transport.start()
    try:
        inspection = await transport.explain(url)
        document = rules.shown(inspection, to_operator=True)
        if not as_json:
            click.echo("\n".join(_verdict(inspection)))
        passed = inspection.is_allowed
        if passed and keys is not None:
            findings = await _examine(transport, inspection, settings, keys, as_json)
            passed = all(finding.mark is not Mark.FAIL for finding in findings)
            document |= {"passed": passed, "findings": [finding.shown() for finding in findings]}
        if as_json:
            click.echo(pretty_json(document))
    finally:
        await transport.close()
    return passed


async def _examine(transport: Transport, inspection: Inspection, settings: Settings, keys: Keys, as_json: bool) -> list[Finding]:
    assert inspection.target is not None

    all_probes = probes(signing=keys.signing is not None)

    def starting(probe: Probe) -> None:
        # On standard error: progress is for people who wait, findings are for those who keep them.
        click.echo(f"[{all_probes.index(probe) + 1}/{len(all_probes)}] {probe.title} ...", err=True)

    findings: list[Finding] = []
    running = examine(
        transport,
        inspection.target,
        private_key=keys.private,
        signing_key=keys.signing,
        settings=settings,
        clock=SystemClock(),
        starting=starting,
    )
    async for finding in running:
        findings.append(finding)
        if not as_json:
            click.echo("\n".join(_told(finding)))
    if not as_json:
        counts = ", ".join(f"{count} {mark}" for mark in Mark if (count := sum(finding.mark is mark for finding in findings)))
        click.echo(f"{safe(inspection.target.url)}: {counts}")
    return findings


def _verdict(inspection: Inspection) -> list[str]:
    shown = rules.shown(inspection, to_operator=True)
    target, dns = shown["target"], shown["dns"]
    lines = [f"{'allowed' if inspection.is_allowed else 'REFUSED'}  {safe(target['url'] if target else inspection.url)}"]
    if target:
        lines += _field("host", f"{target['host']}, port {target['port']}, {target['scheme']}")
    if dns:
        lines += _field("DNS", _dns(dns, len(inspection.addresses)))
    for address in shown["addresses"]:
        lines += _field("address", _address(address))
    if inspection.refused is not None:
        lines += _field("because", f"{inspection.refused.detail} ({inspection.refused.reason})")
    for name, sentences in (("do", shown["remedies"]), ("operator", shown["operator_remedies"]), ("note", shown["notes"])):
        for sentence in sentences:
            lines += _field(name, sentence)
    return lines


def _dns(dns: dict[str, Any], count: int) -> str:
    way = f", by way of {' -> '.join(dns['aliases'])}" if dns["aliases"] else ""
    took = "" if dns["lookup_ms"] is None else f", answered in {dns['lookup_ms']:g} ms"
    return f"{count} address{'' if count == 1 else 'es'}{way}; time to live {dns['ttl_seconds']} s{took}"


def _address(shown: dict[str, Any]) -> str:
    if not shown["allowed"]:
        return f"{shown['address']}  refused: in {shown['range']}, {shown['why']}"
    return f"{shown['address']}  allowed: " + (f"by {shown['opened_by']}" if shown["opened_by"] else "public")


def _told(finding: Finding) -> list[str]:
    if finding.mark is Mark.SKIPPED:
        return [f"{MARKS[finding.mark]}  {finding.title}: not tried. {finding.advice}"]
    lines = [f"{MARKS[finding.mark]}  {finding.title}"]
    lines += _field("sent", finding.sent) + _field("came back", finding.came_back)
    if finding.mark not in (Mark.PASS, Mark.NOTE):
        lines += _field("expected", finding.expected)
    return lines + _field("advice", finding.advice)


def _field(name: str, text: str) -> list[str]:
    """Name and text, folded; nothing when there is no text."""
    return textwrap.wrap(
        safe(text), WIDTH, initial_indent=f"      {name:9}  ", subsequent_indent=" " * 17, break_long_words=False, break_on_hyphens=False
    )
