"""One spelling for a host name: ASCII A-labels, lower case, without the root dot. Converted once, here, and never again."""

from __future__ import annotations

import re
import unicodedata
from ipaddress import AddressValueError, IPv4Address

import idna

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_LOOSE_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_QUAD = re.compile(r"(?:0|[1-9][0-9]{0,2})(?:\.(?:0|[1-9][0-9]{0,2})){3}")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


class BadName(ValueError):
    """Not a host name that we accept. The text reads on from the name itself: "has an empty label"."""


class LiteralName(BadName):
    """It is an address, not a name."""

    def __init__(self, address: IPv4Address) -> None:
        super().__init__("is an address, not a name")
        self.address = address
        self.network = f"{address}/32"


def ascii_host(text: str, underscores: bool = False) -> str:
    """The host name in the one form that is resolved, compared, sent and shown.

    underscores: accept them, for names that an operator has listed (container names may have them; host names may not, RFC 952).
    Raises `LiteralName` for an IPv4 address in plain dotted form, `BadName` for everything else that is no host name.

    Sources: UTS 46 non-transitional with STD3 rules and IDNA 2008 (RFC 5891) for labels outside ASCII; RFC 1123 s2.1 for labels
    inside; WHATWG URL "ends in a number".
    """
    name = text[:-1] if text.endswith(".") else text
    if not name:
        raise BadName("is empty")
    if not name.isascii():
        for char in name:
            # Full-width, circled and foreign digits turn into addresses in some parsers and stay names in others.
            if ord(char) > 127 and unicodedata.category(char)[0] == "N":
                raise BadName(f"has the digit U+{ord(char):04X}; write digits as 0 to 9")
        try:
            name = idna.uts46_remap(name, std3_rules=True, transitional=False)
        except (UnicodeError, IndexError) as error:
            raise BadName(f"is not a valid international name ({error})") from None
    labels = [_ascii_label(label, underscores) for label in name.lower().split(".")]
    host = ".".join(labels)
    if len(host) > 253:
        raise BadName(f"has {len(host)} characters as sent to DNS; 253 is the limit")
    # What some resolvers read as an address (2130706433, 0x7f.1, 127.1, 0177.0.0.1) must be one that all read alike.
    if _NUMBER.fullmatch(labels[-1]):
        if not text.isascii() or not _QUAD.fullmatch(host):
            raise BadName("ends in a number but is not an IPv4 address in plain form; write four decimal numbers without leading zeros")
        try:
            address = IPv4Address(host)
        except AddressValueError:
            raise BadName("is not an IPv4 address: each of the four numbers lies between 0 and 255") from None
        raise LiteralName(address)
    return host


def _ascii_label(label: str, underscores: bool) -> str:
    if not label:
        raise BadName("has an empty label (two dots in a row, or a dot too many)")
    if len(label) > 63:
        raise BadName(f"has a label of {len(label)} characters ({label[:20]}...); labels are at most 63 long")
    if label.isascii() and not label.startswith("xn--"):
        if not (_LOOSE_LABEL if underscores else _LABEL).fullmatch(label):
            raise BadName(f"has the label {label!r}; labels are letters, digits and inner hyphens")
        return label
    try:
        if label.isascii() and idna.alabel(idna.ulabel(label)).decode() != label:
            raise BadName(f"has the label {label!r}, which is not what its Unicode form encodes to")
        return idna.alabel(label).decode()
    except (UnicodeError, IndexError) as error:
        raise BadName(f"has the label {label!r}, which is not valid in an international name ({error})") from None
