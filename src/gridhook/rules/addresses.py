"""Who may be reached, in one import: the URL's grammar and the address rule. Pure: names are resolved elsewhere and judged here."""

from __future__ import annotations

from gridhook.rules.address_policy import (
    PUBLIC_ONLY,
    Address,
    AddressPolicy,
    Admission,
    Network,
    Refusal,
    RefusedBy,
    admission,
    is_public,
    refusal,
)
from gridhook.rules.hostnames import BadName, LiteralName, ascii_host
from gridhook.rules.urls import URL_LIMIT, Target, UrlFault, UrlRefused, parse_url

__all__ = [
    "PUBLIC_ONLY",
    "URL_LIMIT",
    "Address",
    "AddressPolicy",
    "Admission",
    "BadName",
    "LiteralName",
    "Network",
    "Refusal",
    "RefusedBy",
    "Target",
    "UrlFault",
    "UrlRefused",
    "admission",
    "ascii_host",
    "is_public",
    "parse_url",
    "refusal",
]
