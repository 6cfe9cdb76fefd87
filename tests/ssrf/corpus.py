"""The corpus: addresses and URLs with what must become of them. `cases()` for whoever wants to try them at another height."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

CORPUS = Path(__file__).parent.parent / "rules" / "ssrf_cases.json"
EXAMPLE = ip_address("93.184.216.34")

Answers = tuple[tuple[IPv4Address | IPv6Address, ...], ...]
"""What DNS says at the n-th lookup; the last one repeats."""


@dataclass(frozen=True, slots=True)
class Case:
    """One row. Exactly one of `ip` and `url` is set.

    answers: what DNS says at the n-th lookup (the last one repeats); one empty tuple: the name has no address.
    policy: keywords for `AddressPolicy.from_texts`.
    response: status and Location that the receiver answers with.
    handshake: "skip" or "required" where it matters, else "".
    """

    id: str
    allow: bool
    tier: str
    kind: str
    why: str
    ip: IPv4Address | IPv6Address | None = None
    url: str = ""
    answers: Answers = ()
    policy: Mapping[str, Any] = field(default_factory=dict)
    response: tuple[int, str] | None = None
    handshake: str = ""

    @property
    def is_refused_by_url_alone(self) -> bool:
        """A registration must answer 422: the fault can be seen without DNS. (DNS, where asked, would say a fine address.)"""
        return bool(self.url) and not self.allow and self.response is None and set(self.answers) <= {(EXAMPLE,)}

    def __str__(self) -> str:
        return f"{self.id}-{self.kind}"


def cases() -> list[Case]:
    return [_case(row) for row in json.loads(CORPUS.read_text("utf-8"))]


def flipping(steps: int = 500) -> Case:
    """A name whose answer changes at random with every lookup: what was true at the check is no use at the connection."""
    chance = random.Random(20261122)
    fine = ((EXAMPLE,), (ip_address("2606:2800:220:1:248:1893:25c8:1946"),))
    bad = tuple((ip_address(text),) for text in ("127.0.0.1", "169.254.169.254", "10.0.0.5", "::1", "fd00:ec2::254", "64:ff9b::a9fe:a9fe"))
    mixed = tuple((EXAMPLE, *step) for step in bad)
    answers = tuple(chance.choice((*fine, *fine, *fine, *bad, *mixed)) for _ in range(steps))
    return Case("FLIP", False, "core", "dns-rebinding", "flips at random", url="https://flip.example.com/hook", answers=answers)


def trusted_but_private() -> list[Case]:
    """The host that needs no handshake, on the day when its name points inside."""
    bad = [ip_address(text) for text in ("10.0.0.5", "169.254.169.254", "::1")]
    steps = [(ip,) for ip in bad] + [(ip_address("178.63.67.106"), bad[0])]
    url = "https://webhook.site/abc"
    return [
        Case(f"SITE{number}", False, "core", "dns-private", "trusted, not public", url=url, answers=(step,), handshake="skip")
        for number, step in enumerate(steps)
    ]


def every_case() -> list[Case]:
    """What is tried in the universe: the corpus, and what only a run of the whole can show."""
    return [*cases(), *trusted_but_private(), flipping()]


@dataclass(frozen=True, slots=True)
class Shot:
    """One URL to try. Addresses of the corpus are tried as a literal and as what a name resolves to."""

    case: Case
    way: str  # url, literal, named
    url: str
    answers: Answers


def shots() -> list[Shot]:
    found = []
    for case in every_case():
        if case.ip is None:
            found.append(Shot(case, "url", case.url, case.answers))
        else:
            host = f"[{case.ip}]" if case.ip.version == 6 else str(case.ip)
            found.append(Shot(case, "literal", f"http://{host}/hook", ()))
            found.append(Shot(case, "named", f"https://{case.id.lower()}.example.com/hook", ((case.ip,),)))
    return found


def ip_cases() -> list[Case]:
    return [case for case in cases() if case.ip is not None]


def url_cases() -> list[Case]:
    return [case for case in cases() if case.url]


def _case(row: dict[str, Any]) -> Case:
    steps = row.get("resolves_seq") or ([row["resolves_to"]] if "resolves_to" in row else [])
    response = row.get("response")
    return Case(
        id=row["id"],
        allow=row["expect"] == "allow",
        tier=row["tier"],
        kind=row["class"],
        why=row["why"],
        ip=ip_address(row["ip"]) if "ip" in row else None,
        url=row.get("url", ""),
        answers=tuple(tuple(ip_address(text) for text in step) for step in steps),
        policy=row.get("config", {}),
        response=(response["status"], response["location"]) if response else None,
        handshake=row.get("handshake", ""),
    )
