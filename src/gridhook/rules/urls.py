"""Where a webhook points: one strict grammar, and a target rebuilt from its parts. The caller's text never reaches the HTTP client."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from gridhook.errors import Invalid
from gridhook.rules.address_policy import Address, AddressPolicy, Refusal, refusal
from gridhook.rules.address_table import REFUSED_PORTS, REFUSED_SUFFIXES
from gridhook.rules.hostnames import BadName, LiteralName, ascii_host

URL_LIMIT = 2048
_DEFAULT_PORTS = {"http": 80, "https": 443}
_URL = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?]*)(?P<path>[^?]*)(?P<query>\?.*)?", re.IGNORECASE)
_V6 = re.compile(r"\[(?P<host>[^\[\]]*)\](?P<rest>.*)")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
# RFC 3986 s3.3: pchar and "/"; "%" only before two hex digits. All else is percent-encoded as UTF-8.
_NOT_IN_PATH = re.compile(r"%(?![0-9A-Fa-f]{2})|[^A-Za-z0-9\-._~!$&'()*+,;=:@/%]")
_NOT_IN_QUERY = re.compile(r"[^\x21-\x7e]")


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart. `url` is rebuilt from the parts; `path` carries the query; `literal` is the address when no name is given."""

    url: str
    scheme: str
    host: str
    port: int
    path: str
    literal: Address | None = None

    @property
    def authority(self) -> str:
        """The Host header's value: brackets round IPv6, the port only where it is not the scheme's own."""
        return _authority(self.scheme, self.host, self.port)


class UrlFault(StrEnum):
    """What a refused URL breaks, hence what an operator could open."""

    SPELLING = "spelling"
    HOST_NAME = "host_name"  # a name without public meaning
    PORT = "port"
    ADDRESS = "address"  # a literal address that is not public


class UrlRefused(Invalid):
    """`message` says what is wrong and what to write instead. `offender`: the host name or port; `refusal`: of the literal address."""

    def __init__(self, message: str, fault: UrlFault = UrlFault.SPELLING, offender: str = "", refusal: Refusal | None = None) -> None:
        super().__init__("url", message)
        self.fault = fault
        self.offender = offender
        self.refusal = refusal


def parse_url(text: str, policy: AddressPolicy) -> Target:
    """The target of a webhook's URL. Raises `UrlRefused`, an `Invalid("url", ...)`, saying what is wrong and what to write instead.

    Nothing is repaired: parsers disagree exactly where one of them repairs (`http://8.8.8.8\\@127.0.0.1/` has two hosts), and the
    one that checks is then not the one that connects. Names are not resolved here; literal addresses are judged here and again by
    the guard. Sources: RFC 3986 s3, RFC 9110 s4.2, WHATWG URL where parsers differ.
    """
    if not 0 < len(text) <= URL_LIMIT:
        raise _invalid("is empty" if not text else f"has {len(text)} characters; {URL_LIMIT} is the limit")
    for char in text:
        if char in "\\#" or unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zs", "Zl", "Zp"):
            raise _invalid(
                _FORBIDDEN.get(char) or f"has the invisible character U+{ord(char):04X}; remove it, or percent-encode it in the path"
            )
    parts = _URL.fullmatch(text)
    if parts is None:
        raise _invalid("must start with http:// or https://")
    scheme = parts["scheme"].lower()
    host, literal, port = _parse_authority(parts["authority"], scheme, policy)
    path = _NOT_IN_PATH.sub(_percent_encode, parts["path"] or "/") + _NOT_IN_QUERY.sub(_percent_encode, parts["query"] or "")
    url = f"{scheme}://{_authority(scheme, host, port)}{path}"
    if len(url) > URL_LIMIT:
        raise _invalid(f"has {len(url)} characters when encoded; {URL_LIMIT} is the limit")
    return Target(url, scheme, host, port, path, literal)


_FORBIDDEN = {
    "\\": "has a backslash, which programs read differently; write / in the path, or %5C",
    "#": "has a fragment (#...), which is never sent; remove it",
    " ": "has a space; remove it, or write %20 in the path",
}


def _parse_authority(authority: str, scheme: str, policy: AddressPolicy) -> tuple[str, Address | None, int]:
    if "@" in authority:
        raise _invalid("has a user name or password before @; remove it (deliveries carry their own Authorization header)")
    if "%" in authority:
        raise _invalid("has % in the host; write the host plainly, without percent-encoding or zone id")
    literal: Address | None
    if bracketed := _V6.fullmatch(authority):
        try:
            literal = IPv6Address(bracketed["host"])
        except AddressValueError:
            raise _invalid(f"has [{bracketed['host']}], which is not an IPv6 address") from None
        host, rest = str(literal), bracketed["rest"]
    else:
        name, colon, digits = authority.partition(":")
        host, literal = _parse_host(name, policy)
        rest = colon + digits
    port = _parse_port(rest, scheme, policy)
    if literal is not None and (refused := refusal(literal, policy)) is not None:
        raise UrlRefused(f"must point to a public address; {refused}", UrlFault.ADDRESS, host, refused)
    return host, literal, port


def _parse_host(name: str, policy: AddressPolicy) -> tuple[str, IPv4Address | None]:
    if not name:
        raise _invalid("has no host; write it as https://host.example.com/path")
    try:
        listed = ascii_host(name, underscores=True)
        if listed in policy.allow_hosts:
            return listed, None
        host = ascii_host(name)
    except LiteralName as literal:
        if name.endswith("."):
            raise _invalid(f"has a dot after the address {literal.address}; remove it") from None
        return str(literal.address), literal.address
    except BadName as error:
        raise _invalid(f"has a host that {error}") from None
    if "." not in host:
        message = f"has the host {host!r}, which is no public name; write the full name, such as hooks.example.com"
        raise UrlRefused(message, UrlFault.HOST_NAME, host)
    for suffix, source in REFUSED_SUFFIXES:
        if host == suffix or host.endswith("." + suffix):
            message = f"has a host under .{suffix}, which is not on the public internet ({source}); use a public name"
            raise UrlRefused(message, UrlFault.HOST_NAME, host)
    return host, None


def _parse_port(rest: str, scheme: str, policy: AddressPolicy) -> int:
    """`rest`: what follows the host, empty or a colon and the port."""
    if not rest:
        port = _DEFAULT_PORTS[scheme]
    elif rest[0] == ":" and _PORT.fullmatch(rest[1:]) and int(rest[1:]) <= 65535:
        port = int(rest[1:])
    else:
        raise _invalid("has a port that is no number between 1 and 65535 in plain digits")
    if policy.allow_ports and port not in policy.allow_ports:
        message = f"uses port {port}; this service sends only to {', '.join(map(str, sorted(policy.allow_ports)))}"
        raise UrlRefused(message, UrlFault.PORT, str(port))
    if not policy.allow_ports and port in REFUSED_PORTS:
        message = f"uses port {port}, which belongs to a service other than HTTP; use 443 or another port that HTTP servers use"
        raise UrlRefused(message, UrlFault.PORT, str(port))
    return port


def _authority(scheme: str, host: str, port: int) -> str:
    name = f"[{host}]" if ":" in host else host
    return name if port == _DEFAULT_PORTS[scheme] else f"{name}:{port}"


def _percent_encode(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode())


def _invalid(what: str) -> UrlRefused:
    return UrlRefused(what)
