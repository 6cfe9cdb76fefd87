"""What must not have happened in the universe. Judges by the corpus alone; the rule under test has no say here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address
from typing import Any

from .corpus import Case

# The public addresses that the corpus uses for receivers whose DNS or answers turn hostile.
PUBLIC = {ip_address(text) for text in ("93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "178.63.67.106")}


def violations(seen: Iterable[Mapping[str, Any]], cases: Iterable[Case]) -> list[str]:
    """One line for each thing that was seen and must not be, or was not seen and must be."""
    known = {case.id: case for case in cases}
    return [f"{one['id']} {one['way']} round {one['round']}: {fault}" for one in seen for fault in _faults(one, known[one["id"]])]


def _faults(one: Mapping[str, Any], case: Case) -> Iterator[str]:
    expected, may_reach = _expected(one, case)
    if one["outcome"] not in expected:
        yield f"ended as {one['outcome']} {one['detail']!r}, not as {' or '.join(sorted(expected))}"
    for kind, address, port in one["packets"]:
        if ip_address(address) not in may_reach:
            yield f"{kind} packet to {address} port {port}"
    for hit in one["hits"]:
        if ip_address(hit["address"]) not in may_reach:
            yield f"request reached {hit['address']}"
    if len(one["hits"]) != (1 if may_reach else 0):
        yield f"{len(one['hits'])} requests arrived"
    if one["verified"] not in (None, one["outcome"] in ("200", "not_sent")):
        yield f"after {one['outcome']} the webhook is {'verified' if one['verified'] else 'pending'}"


def _expected(one: Mapping[str, Any], case: Case) -> tuple[set[str], set[object]]:
    """How the POST may end, and the addresses that may hear of it."""
    step = case.answers[min(one["round"], len(case.answers) - 1)] if case.answers else ()
    is_handshake = one["verified"] is not None
    if case.allow:
        if case.handshake == "skip" and is_handshake:
            return {"not_sent"}, set()
        if case.ip is not None:
            return {"200"}, {case.ip}
        literal = case.url.partition("://")[2].rpartition("/")[0].strip("[]")
        return {"200"}, set(step) or {ip_address(literal)}
    if case.kind == "redirect":
        assert case.response is not None
        return {str(case.response[0])}, set(step)
    if case.kind == "dns-rebinding":
        # Each attempt is judged by the answer that it got, whatever was true before.
        return ({"200"}, set(step)) if set(step) <= PUBLIC else ({"address_refused"}, set())
    if case.kind == "dns-empty":
        return {"dns_empty"}, set()
    return {"invalid", "url_refused", "address_refused"}, set()
