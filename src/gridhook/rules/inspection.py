"""What the guard thinks of a URL, in whole: what it is, where it leads, which rule decides about each address, what to change. Pure.

Nothing is decided here: the URL's grammar, the resolver and the address rule did, as they do for each delivery.
"""

from __future__ import annotations

from typing import Any, assert_never

from gridhook.model import Reason, Unreachable, Value
from gridhook.rules.addresses import Address, Admission, Refusal, RefusedBy, Target, UrlFault
from gridhook.rules.diagnosis import REASONS


class Judged(Value, frozen=True):
    """One address and the rule that decides about it: what refuses it, or what opened it although it is not public, or neither."""

    address: Address
    refusal: Refusal | None = None
    admission: Admission | None = None

    @property
    def is_allowed(self) -> bool:
        return self.refusal is None


class Inspection(Value, frozen=True):
    """`refused` is the outcome that a delivery to `url` would have at this moment, None when it would be sent.

    url: as it was asked. target: the same taken apart, None when it is no URL that we send to; `fault` then says what it breaks, and
        `offender` with which host name or port.
    addresses: every one that the host has, in DNS's order. aliases, ttl_seconds: of the DNS answer; both empty for a literal.
    lookup_us: what the lookup took; None: no lookup was needed, because a fresh answer was at hand or the host is an address.
    """

    url: str
    target: Target | None = None
    fault: UrlFault | None = None
    offender: str = ""
    addresses: tuple[Judged, ...] = ()
    aliases: tuple[str, ...] = ()
    ttl_seconds: int | None = None
    lookup_us: int | None = None
    refused: Unreachable | None = None

    @property
    def is_allowed(self) -> bool:
        return self.refused is None


def remedies(inspection: Inspection) -> tuple[str, ...]:
    """What the owner of the URL is to change, one sentence each; empty when it is allowed."""
    refused = inspection.refused
    if refused is None:
        return ()
    match inspection.fault:
        case UrlFault.SPELLING:
            return ("Correct the URL as it is said there; a good one looks like https://hooks.example.com/path.",)
        case UrlFault.PORT:
            return (
                "Let the receiver listen on the https port 443, or put a proxy on 443 in front of it, and leave the port out of the URL.",
            )
        case UrlFault.HOST_NAME:
            return ("Use a full host name that public DNS knows, such as hooks.example.com, with an A or AAAA record.",)
        case None if refused.reason is not Reason.ADDRESS_REFUSED:
            return (REASONS[refused.reason].remedy,)
    told = [
        "Point the host at public addresses only: publish an A or AAAA record with the address at which the internet reaches the receiver "
        "(that of a load balancer, a reverse proxy or a tunnel in front of it)."
    ]
    if any(judged.is_allowed for judged in inspection.addresses):
        at_fault = ", ".join(str(judged.address) for judged in inspection.addresses if not judged.is_allowed)
        told.append(f"Remove from DNS: {at_fault}. One refused address among public ones is enough to refuse.")
    return tuple(told)


def operator_remedies(inspection: Inspection) -> tuple[str, ...]:
    """What whoever runs this service could set to allow it, one sentence each. Not for customers: it names settings."""
    match inspection.fault:
        case UrlFault.HOST_NAME:
            return (f"If it is a receiver of yours: GRIDHOOK_ALLOW_HOSTS={inspection.offender} allows this very name.",)
        case UrlFault.PORT:
            return (f"GRIDHOOK_ALLOW_PORTS=80,443,{inspection.offender} allows it, and then these ports only.",)
    told = _openers(inspection)
    if told or inspection.refused is None:
        return told
    if inspection.refused.reason in (Reason.DNS_ERROR, Reason.DNS_TIMEOUT, Reason.DNS_EMPTY):
        return ("If the name is known elsewhere only, GRIDHOOK_DNS_SERVERS names the servers to ask; `gridhook doctor` tries them.",)
    return ()


def notes(inspection: Inspection) -> tuple[str, ...]:
    """What is worth knowing although it changes no verdict."""
    target = inspection.target
    if target is None:
        return ()
    told = []
    if target.scheme == "http":
        told.append("http carries the Private Key and people's data readable by everyone on the way: use https for anything but trials.")
    if inspection.ttl_seconds is not None and inspection.lookup_us is None:
        told.append("This DNS answer was at hand from a moment ago; a change in DNS shows once its time to live is over.")
    return tuple(told)


def shown(inspection: Inspection, *, to_operator: bool = False) -> dict[str, Any]:
    """As JSON, every member always there.

    To a customer, three things stay untold, for they map the operator's network and help nobody to mend a URL: which setting opened
    an address, what the operator could set, and through which aliases a name led to an address that is not public. The addresses
    themselves are told, refused ones too: whoever published 10.0.0.5 by mistake must see it, and registering the URL tells it as well.
    """
    target, refused = inspection.target, inspection.refused
    is_public = all(judged.is_allowed and judged.admission is None for judged in inspection.addresses)
    document: dict[str, Any] = {
        "url": inspection.url.encode("utf-8", "backslashreplace").decode(),  # JSON has no lone surrogates
        "allowed": inspection.is_allowed,
        "reason": None if refused is None else refused.reason.value,
        "detail": None if refused is None else refused.detail,
        "target": None
        if target is None
        else {"url": target.url, "scheme": target.scheme, "host": target.host, "port": target.port, "path": target.path},
        "addresses": [_shown_address(judged, to_operator) for judged in inspection.addresses],
        "dns": None
        if inspection.ttl_seconds is None
        else {
            "aliases": list(inspection.aliases) if is_public or to_operator else [],
            "ttl_seconds": inspection.ttl_seconds,
            "lookup_ms": None if inspection.lookup_us is None else round(inspection.lookup_us / 1000, 1),
        },
        "remedies": list(remedies(inspection)),
        "notes": list(notes(inspection)),
    }
    if to_operator:
        document["operator_remedies"] = list(operator_remedies(inspection))
    return document


def _shown_address(judged: Judged, to_operator: bool) -> dict[str, Any]:
    refusal = judged.refusal
    document: dict[str, Any] = {
        "address": str(judged.address),
        "allowed": judged.is_allowed,
        "range": None if refusal is None else refusal.network,
        "why": None if refusal is None else refusal.why,
    }
    if to_operator:
        document["opened_by"] = None if judged.admission is None else str(judged.admission)
    return document


def _openers(inspection: Inspection) -> tuple[str, ...]:
    """What each kind of refusal would take to be lifted, one sentence per kind."""
    told = []
    refusals = [judged.refusal for judged in inspection.addresses if judged.refusal is not None]
    for by in RefusedBy:
        found = [refusal for refusal in refusals if refusal.by is by]
        if not found:
            continue
        exactly = "GRIDHOOK_ALLOW_NETWORKS=" + ",".join(f"{one.address}/{one.address.max_prefixlen}" for one in found)
        match by:
            case RefusedBy.TABLE:
                if inspection.target is not None and inspection.target.literal is None:
                    exactly += f" allows just this, GRIDHOOK_ALLOW_HOSTS={inspection.target.host} whatever this name resolves to"
                else:
                    exactly += " allows just this"
                told.append(f"If it is a receiver of yours: {exactly}.")
            case RefusedBy.SEALED:
                warning = "metadata services hand out this machine's own credentials"
                told.append(f"Only {exactly} opens this. Do not, unless you know what answers there: {warning}.")
            case RefusedBy.OPERATOR:
                networks = ", ".join(dict.fromkeys(one.network for one in found))
                told.append(f"GRIDHOOK_REFUSE_NETWORKS holds {networks}, and nothing opens that while it stands there.")
            case RefusedBy.ZONE:
                pass  # an address with a zone id is never reached
            case _:
                assert_never(by)
    return tuple(told)
