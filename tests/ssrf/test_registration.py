"""The corpus against the API: a URL that leads inside is refused in words that say where it leads.

Those that are to be accepted are followed by a real handshake, so they are tried in the universe (test_universe.py).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gridhook.errors import Invalid
from gridhook.rules.addresses import AddressPolicy, parse_url
from gridhook.telemetry import Log
from tests.ssrf.corpus import Shot, shots
from tests.ssrf.registration import faults, is_to_be_refused, register
from tests.transport.nameserver import NameServer, records
from tests.web.world import running

REFUSED = [shot for shot in shots() if is_to_be_refused(shot)]
POLICIES = sorted({json.dumps(dict(shot.case.policy)) for shot in REFUSED})


def host_of(shot: Shot) -> str:
    try:
        return parse_url(shot.url, AddressPolicy()).host
    except Invalid:
        return ""  # refused before any name is asked for


@pytest.mark.parametrize("policy", POLICIES)
async def test_a_webhook_whose_url_leads_inside_is_refused_naming_the_address_and_its_range(tmp_path: Path, quiet_log: Log, policy: str):
    tried = [shot for shot in REFUSED if json.dumps(dict(shot.case.policy)) == policy]
    given = json.loads(policy)
    async with NameServer() as names:
        settings: dict[str, Any] = {
            "allow_networks": (),
            "refuse_networks": tuple(given.get("extra_refuse", ())),
            "nat64_prefixes": tuple(given.get("nat64_prefixes", ())),
            "dns_servers": (f"{names.server.address}#{names.server.port}",),
        }
        answered = []
        async with running(tmp_path, quiet_log, **settings) as world:
            for shot in tried:
                names.zone[host_of(shot)] = records(*(str(ip) for ip in (shot.answers or ((),))[0]), ttl=0)
                answered.append(await register(world, shot))
            webhooks = await world.gridhook.store.webhooks(world.ours.account_id, offset=0, limit=1)
    assert faults(answered, tried) == []
    assert webhooks.total == 0


def test_every_case_to_refuse_was_tried():
    assert len(REFUSED) == 280
