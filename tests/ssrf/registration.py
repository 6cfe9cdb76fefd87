"""The corpus at the API's height: who asks for a webhook with such a URL is answered 422 and told why, or 201."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address, ip_network
from typing import Any

from gridhook.model import Attempt, AttemptKind
from tests.web.world import HANG_GUARD_SECONDS, World

from .check import PUBLIC
from .corpus import Shot

WHERE = re.compile(r"([0-9a-fA-F:.]+) is in ([0-9a-fA-F:.]+/\d+), (.+)")


def is_to_be_refused(shot: Shot) -> bool:
    """Whether the fault can be seen at registration: not the turn that a name's answer takes later, nor what the receiver answers."""
    case = shot.case
    if case.kind == "dns-rebinding":
        return not set(case.answers[0]) <= PUBLIC
    return not case.allow and case.kind != "redirect"


async def register(world: World, shot: Shot) -> dict[str, Any]:
    """What the API answered, as a real caller with a real signature sees it. A handshake that follows is waited for."""
    body = json.dumps({"name": shot.case.id, "url": shot.url, "subscribed_events": ["ag.access_pass.issued"]}).encode()
    answer = await world.signed("POST", "/v1/console/webhooks", body)
    said = answer.json()
    handshakes: list[Attempt] = []
    if answer.status == 201:
        store = world.gridhook.store
        async with asyncio.timeout(HANG_GUARD_SECONDS):
            while not handshakes:
                page = await store.attempts(world.ours.account_id, said["id"], before=None, limit=10)
                handshakes = [attempt for attempt in page.attempts if attempt.kind is AttemptKind.VERIFICATION]
                await asyncio.sleep(0.005)  # the store announces it to nobody
    return {
        "id": shot.case.id,
        "way": shot.way,
        "status": answer.status,
        "field": said.get("field", ""),
        "message": said.get("message", ""),
    }


def faults(answered: Iterable[Mapping[str, Any]], tried: Iterable[Shot]) -> list[str]:
    known = {(shot.case.id, shot.way): shot for shot in tried}
    return [f"{one['id']} {one['way']}: {fault}" for one in answered for fault in _faults(one, known[one["id"], one["way"]])]


def _faults(one: Mapping[str, Any], shot: Shot) -> Iterator[str]:
    for kind, address, port in one.get("packets", ()):
        if is_to_be_refused(shot) or ip_address(address) not in {*PUBLIC, *(shot.answers[0] if shot.answers else ()), shot.case.ip}:
            yield f"{kind} packet to {address} port {port}"
    if not is_to_be_refused(shot):
        if one["status"] != 201:
            yield f"answered {one['status']} {one['message']!r}, not 201"
        return
    if one["status"] != 422 or one["field"] != "url":
        yield f"answered {one['status']} about {one['field']!r} {one['message']!r}, not 422 about the url"
    if not one["message"].startswith("url: "):
        yield f"says {one['message']!r}, which does not begin with the field"
    answers = shot.answers[0] if shot.answers else ()
    addresses = {shot.case.ip} if shot.case.ip is not None else set(answers) - PUBLIC
    if addresses and not _names(one["message"], addresses):
        yield f"says {one['message']!r}, which does not name one of {', '.join(map(str, addresses))} and its range"
    if shot.case.kind == "dns-empty" and "has no address in DNS" not in one["message"]:
        yield f"says {one['message']!r}"


def _names(message: str, addresses: set[Any]) -> bool:
    found = WHERE.search(message)
    if found is None:
        return False
    address, network = ip_address(found[1]), ip_network(found[2])
    # An address that carries another is refused for the range of that one, and says so.
    return address in addresses and (address in network or "carries" in found[3])
