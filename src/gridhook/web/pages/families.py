"""The event types as people choose among them: by family, under a name."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from gridhook.rules.catalogue import EventType, catalogue

_NAMES = {
    "access_pass": "Access passes",
    "card_template": "Card templates",
    "card_template_pair": "Card template pairs",
    "landing_page": "Landing pages",
    "credential_profile": "Credential profiles",
    "hid_org": "HID organisations",
    "account_balance": "Account balance",
    "webhook": "Webhooks",
    "account": "Account",
}


@dataclass(frozen=True, slots=True)
class Family:
    key: str
    name: str
    types: tuple[EventType, ...]


@cache
def families() -> tuple[Family, ...]:
    """In the catalogue's order; a family that has no name here is called by its key."""
    found: dict[str, list[EventType]] = {}
    for one in catalogue().types.values():
        found.setdefault(one.family, []).append(one)
    return tuple(Family(key, _NAMES.get(key, key.replace("_", " ").capitalize()), tuple(types)) for key, types in found.items())
