"""Who and what a sample tells of: one organisation, its people, a pass with its template and devices. Pure.

By the names that the schemas use. A seed is a small world: the same person holds the same pass in every type of event, so that
someone who tries one type after the other sees one story.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from gridhook.model import Instant
from gridhook.rules import ids
from gridhook.rules.instants import FIRST, LAST, rfc3339

SECOND_MS = 1000
HOUR_MS = 3600 * SECOND_MS
DAY_MS = 24 * HOUR_MS

T = TypeVar("T")

# Fictional; `.example` and 555-01xx belong to nobody (RFC 2606; North American numbering plan). Not all names are ASCII: nor are real ones.
_PEOPLE = (
    ("Dana Whitfield", "dana.whitfield"),
    ("Samir Haddad", "samir.haddad"),
    ("Zoë Lindqvist", "zoe.lindqvist"),
    ("Grace Nakamura", "grace.nakamura"),
    ("José Ortega", "jose.ortega"),
    ("Lee Okafor", "lee.okafor"),
    ("Priya Raman", "priya.raman"),
    ("Małgorzata Nowak", "malgorzata.nowak"),
    ("Tom Abernathy", "tom.abernathy"),
    ("Chen Wei", "chen.wei"),
)
_ROLES = (
    ("Facilities Manager", "Facilities"),
    ("Property Supervisor", "Facilities"),
    ("Software Engineer", "Engineering"),
    ("Laboratory Technician", "Research"),
    ("Financial Controller", "Finance"),
    ("Account Executive", "Sales"),
    ("Security Officer", "Security"),
    ("Recruiter", "People"),
)
_ORGANISATIONS = (
    ("Northwind Properties", "northwind-properties"),
    ("Harbour Street Offices", "harbour-street-offices"),
    ("Alder & Finch Research", "alder-finch-research"),
    ("Summit Coworking", "summit-coworking"),
    ("Lakeside University", "lakeside-university"),
)
_BADGES = ("Employee badge", "Contractor badge", "Resident key", "Visitor pass", "Member card")
_SITES = ("HQ", "North Tower", "Annex", "Campus West")
_WEBHOOKS = ("Door controllers", "Badge office", "HR sync", "Audit archive")
_ERRANDS = ("template stuck in review", "passes not installing", "balance questioned", "landing page preview blank")
_NOTICES = (30, 14, 7, 1)  # days before a certificate expires

# What fits together: wallet platform, its devices, and the protocols that its wallet speaks.
_DEVICES = {"apple": ("iphone", "apple_watch"), "android": ("android_phone", "android_watch")}
_PROTOCOLS = {"apple": ("desfire", "seos"), "android": ("smart_tap", "seos")}


@dataclass(frozen=True, slots=True)
class Draws:
    """Chance that is none: choices that follow from a seed. Each has a label, so that a new one changes none of the others."""

    seed: str

    def digest(self, label: str) -> bytes:
        """32 bytes."""
        return hashlib.sha256(f"{len(self.seed)}:{self.seed}{label}".encode("utf-8", "surrogatepass")).digest()

    def below(self, count: int, label: str) -> int:
        return int.from_bytes(self.digest(label)) % count

    def pick(self, options: Sequence[T], label: str) -> T:
        return options[self.below(len(options), label)]

    def digits(self, count: int, label: str) -> str:
        """Decimal digits, the first not zero."""
        return str(10 ** (count - 1) + self.below(9 * 10 ** (count - 1), label))

    def hexadecimal(self, count: int, label: str) -> str:
        return self.digest(label).hex()[:count]


class _Moment(NamedTuple):
    """Where a pass stands after an event, and on which devices."""

    state: str | None
    phone: str | None  # status on it; None: it does not hold the pass
    watch: str | None = None
    about: str | None = None  # the one device that the event is about


_MOMENTS: Mapping[str, _Moment] = {
    "issued": _Moment("created", None),
    "viewed": _Moment("created", None),
    "activated": _Moment("active", "installed", about="phone"),
    "updated": _Moment("active", "installed", "installed"),
    "suspended": _Moment("suspended", "suspended", "suspended"),
    "resumed": _Moment("active", "installed", "installed"),
    "unlinked": _Moment("unlink", "uninstalled", "uninstalled"),
    "deleted": _Moment("deleted", None),
    "expired": _Moment(None, "suspended", "suspended"),  # the schema has no word for it
    "renewed": _Moment("active", "installed", "installed"),
    "failed": _Moment("created", "credentials_created", about="phone"),
    "devices.added": _Moment("active", "installed", "installed", about="watch"),
    "devices.removed": _Moment("active", "installed", about="watch"),
    "devices.suspended": _Moment("active", "installed", "suspended", about="watch"),
    "devices.resumed": _Moment("active", "installed", "installed", about="watch"),
}
_NEW = frozenset(("issued", "viewed", "failed"))  # passes that nobody has installed yet


def common_facts(draws: Draws) -> dict[str, Any]:
    """What means the same wherever it stands."""
    full_name, mailbox = draws.pick(_PEOPLE, "person")
    organisation, slug = draws.pick(_ORGANISATIONS, "organisation")
    platform = draws.pick(tuple(_DEVICES), "platform")
    domain = f"{slug}.example"
    return {
        "account_id": ids.account_id(draws.digest("account")[:16]),
        "organization_name": organisation,
        "full_name": full_name,
        "email": f"{mailbox}@{domain}",
        "phone_number": f"+1202555{100 + draws.below(100, 'phone'):04d}",
        "employee_id": f"E-{draws.digits(5, 'employee')}",
        "department": draws.pick(_ROLES, "role")[1],
        "domain": domain,
        "url": f"https://{domain}/",
        "platform": platform,
        "protocol": draws.pick(_PROTOCOLS[platform], "protocol"),
        "card_number": draws.digits(5, "card"),
        "site_code": draws.digits(3, "site code"),
        "access_pass_id": _id(draws, "pass"),
        "card_template_id": _id(draws, "template"),
        "card_template_pair_id": _id(draws, "pair"),
        "landing_page_id": _id(draws, "landing page"),
        "credential_profile_id": _id(draws, "profile"),
        "webhook_id": ids.webhook_id(draws.digest("webhook")[:16]),
    }


def facts(type: str, draws: Draws, now: Instant) -> dict[str, Any]:
    """All that is known of one event's `data`, and more than its schema may ask for; nested as the schemas nest it."""
    family, _, happened = type.removeprefix("ag.").partition(".")
    common = common_facts(draws)
    match family:
        case "access_pass":
            own = _access_pass(happened, common, draws, now)
        case "card_template":
            own = _template(common, draws)
            if happened == "updated":
                own["name"] += " (new design)"
        case "card_template_pair":
            own = _pair(common, draws)
        case "hid_org":
            organisation = common["organization_name"]
            own = {"account_org_id": _hid_org(draws), "slug": common["domain"].partition(".")[0], "name": organisation}
        case "account_balance":
            own = _balance(draws)
        case "webhook":
            own = _certificate(draws, now)
        case "account":
            own = _impersonation(happened, common, draws, now)
        case _:
            own = {}
    return {**common, **own}


def moment(at: Instant) -> str:
    """RFC 3339; what lies outside of its years becomes the nearest that does not."""
    return rfc3339(max(FIRST, min(LAST, at)))


def _access_pass(happened: str, common: Mapping[str, Any], draws: Draws, now: Instant) -> dict[str, Any]:
    then = _MOMENTS.get(happened, _MOMENTS["updated"])
    template = _template(common, draws)
    # One story in three is of somebody who has the pass on a watch too, unless the watch is what it is about.
    held = {"phone": then.phone, "watch": then.watch if then.about or draws.below(3, "wears a watch") == 0 else None}
    devices = {name: _device(name, status, common, draws) for name, status in held.items()}
    about = devices.get(then.about or "")
    start_at, expires_at = _validity(happened, draws, now)
    pass_id = common["access_pass_id"]
    credential = {
        "card_template_id": template["id"],
        "platform": template["platform"],
        "protocol": template["protocol"],
        "card_number": common["card_number"],
        "site_code": common["site_code"],
    }
    return {
        **credential,
        "id": pass_id,
        "state": then.state,
        "title": draws.pick(_ROLES, "role")[0],
        "start_date": moment(start_at),
        "expiration_date": moment(expires_at),
        "metadata": {"department": common["department"], "email": common["email"], "floor": 1 + draws.below(12, "floor")},
        "hid_org_id": template["hid_org_id"],
        "apple_user_id": f"apple_{draws.hexadecimal(12, 'apple user')}" if template["platform"] == "apple" and then.phone else None,
        "tag_id": f"04{draws.hexadecimal(12, 'tag')}".upper(),  # 04: the maker's number in the UID of a DESFire tag
        "file_data": None,
        "card_templates": [{**template, "metadata": None}],
        "device": None if about is None else {"type": about["type"], "id": about["id"]},
        "devices": [device for name, device in devices.items() if held[name] is not None],
        "details": {**credential, "id": pass_id, "status": then.state},
    }


def _device(name: str, status: str | None, common: Mapping[str, Any], draws: Draws) -> dict[str, Any]:
    phone, watch = _DEVICES[common["platform"]]
    return {
        "id": f"dev_{draws.hexadecimal(8, name)}",
        "card_template_id": common["card_template_id"],
        "platform": common["platform"],
        "type": phone if name == "phone" else watch,
        "protocol": common["protocol"],
        "status": status,
        "card_number": common["card_number"],
        "site_code": common["site_code"],
        "file_data": None,
    }


def _validity(happened: str, draws: Draws, now: Instant) -> tuple[Instant, Instant]:
    """From when and until when the pass is valid: now, unless it has just expired."""
    days = 365 * (1 + draws.below(3, "years"))
    this_hour, today = now - now % HOUR_MS, now - now % DAY_MS
    if happened == "expired":
        expires_at = this_hour - (1 + draws.below(24, "expired")) * HOUR_MS
        return expires_at - days * DAY_MS, expires_at
    if happened in _NEW:
        start_at = this_hour - (1 + draws.below(24, "issued")) * HOUR_MS
    elif happened == "renewed":  # in its first year's last month, for longer than that year
        start_at, days = today - (335 + draws.below(30, "renewed")) * DAY_MS + 8 * HOUR_MS, days + 365
    else:
        start_at = today - (2 + draws.below(300, "started")) * DAY_MS + 8 * HOUR_MS
    return start_at, start_at + days * DAY_MS


def _template(common: Mapping[str, Any], draws: Draws) -> dict[str, Any]:
    return {
        "id": common["card_template_id"],
        "name": _badge(draws),
        "platform": common["platform"],
        "protocol": common["protocol"],
        "metadata": {"building": draws.pick(_SITES, "site")},
        "hid_org_id": _hid_org(draws) if common["protocol"] == "seos" else None,
    }


def _pair(common: Mapping[str, Any], draws: Draws) -> dict[str, Any]:
    """The template that all else tells of, and its twin for the other platform."""
    name = _badge(draws)
    made: dict[str, Any] = {"name": name}
    for platform, role in (("apple", "ios_template"), ("android", "android_template")):
        own = platform == common["platform"]
        made[role] = {
            "id": common["card_template_id"] if own else _id(draws, "twin template"),
            "name": f"{name} ({platform.capitalize()})",
            "platform": platform,
            "protocol": common["protocol"] if own else draws.pick(_PROTOCOLS[platform], "twin protocol"),
        }
    return made


def _balance(draws: Draws) -> dict[str, Any]:
    # In quarters of a dollar, which binary fractions hold exactly: the three numbers agree to the last digit.
    threshold = draws.pick((50.0, 100.0, 250.0, 500.0), "threshold")
    below = (1 + draws.below(int(threshold * 4), "below")) / 4
    return {"threshold": threshold, "current_balance": threshold - below, "amount_below_threshold": below}


def _certificate(draws: Draws, now: Instant) -> dict[str, Any]:
    days = draws.pick(_NOTICES, "notice")
    hours = 1 + draws.below(22, "certificate")  # whole days are left, and some hours
    expires_at = now - now % HOUR_MS + days * DAY_MS + hours * HOUR_MS
    return {"webhook_name": draws.pick(_WEBHOOKS, "webhook name"), "cert_expires_at": moment(expires_at), "days_until_expiration": days}


def _impersonation(happened: str, common: Mapping[str, Any], draws: Draws, now: Instant) -> dict[str, Any]:
    ended_at = now - now % SECOND_MS
    lasted_ms = (120 + draws.below(3000, "lasted")) * SECOND_MS if happened == "impersonation_ended" else 0
    staff = [name for name, _ in _PEOPLE if name != common["full_name"]]
    return {
        "actor_id": f"support_{draws.digits(3, 'actor')}",
        "actor_name": draws.pick(staff, "actor"),
        "reason": f"Ticket {draws.digits(5, 'ticket')}: {draws.pick(_ERRANDS, 'errand')}",
        "started_at": moment(ended_at - lasted_ms),
        "ended_at": moment(ended_at),
    }


def _badge(draws: Draws) -> str:
    return f"{draws.pick(_BADGES, 'badge')}, {draws.pick(_SITES, 'site')}"


def _hid_org(draws: Draws) -> str:
    return _id(draws, "hid org")


def _id(draws: Draws, label: str) -> str:
    return f"0x{draws.hexadecimal(8, label)}"
