"""The headers that a customer adds to every delivery of a webhook: which there may be, and how a set of them is edited. Pure.

They are for the receiver's front door (a gateway's key, a route, a tenant's name). What frames the request, what we say in it
ourselves and what a proxy or a library would take for an instruction is not theirs to say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from gridhook.errors import Invalid

MAX_HEADERS = 20
MAX_NAME_CHARS = 64
MAX_VALUE_BYTES = 1024
# Names and values together. Common servers refuse a header section of 8 KiB, ours included.
MAX_TOTAL_BYTES = 4096

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110 s5.6.2
# All but visible ASCII, space and tab. Of what RFC 9110 s5.5 allows, that leaves out obs-text: clients and servers disagree on
# its encoding.
_UNWANTED = re.compile(r"[^\t -~]")
_SEPARATOR = re.compile(r"[^a-z0-9]")

_OURS = "is set by the sender"
_FRAMING = "belongs to the connection, not to the request"
_CONTENT = "describes the body, which is always one CloudEvent"
_STANDARD = "is kept for Standard Webhooks"
_COOKIE = "is a browser's; deliveries keep no session"
_DATE = "would be the same at every delivery; events carry their time"
_ROUTE = "says where a request came from, and only proxies on its way may"
_METHOD = "would make another request of it; deliveries are POST"
_METADATA = "is a key to the metadata service of a cloud, which is no receiver"

# Held against names in their plain form: `_plain`.
_REFUSED: Mapping[str, str] = {
    "accept": _OURS,
    "accept-encoding": _OURS,
    "authorization": "carries the webhook's Private Key",
    "connection": _FRAMING,
    "cookie": _COOKIE,
    "cookie2": _COOKIE,
    "date": _DATE,
    "expect": _FRAMING,
    "forwarded": _ROUTE,
    "host": "is the host of the webhook's URL",
    "http2-settings": _FRAMING,
    "keep-alive": _FRAMING,
    "metadata": _METADATA,
    "metadata-flavor": _METADATA,
    "proxy": "is read as a setting by CGI programs",
    "set-cookie": _COOKIE,
    "set-cookie2": _COOKIE,
    "te": _FRAMING,
    "trailer": _FRAMING,
    "transfer-encoding": _FRAMING,
    "upgrade": _FRAMING,
    "user-agent": _OURS,
    "via": _ROUTE,
    "x-http-method": _METHOD,
    "x-http-method-override": _METHOD,
    "x-method-override": _METHOD,
    "x-real-ip": _ROUTE,
}
_REFUSED_BEGINNINGS: Mapping[str, str] = {
    "ce-": "would make the delivery look like a CloudEvent in binary mode",  # CloudEvents HTTP binding s3.1.3
    "content-": _CONTENT,
    "proxy-": _FRAMING,
    "webhook-": _STANDARD,
    "x-accessgrid-": _OURS,
    "x-aws-ec2-metadata-": _METADATA,
    "x-forwarded-": _ROUTE,
    "x-google-metadata-": _METADATA,
}


def check_headers(given: Mapping[str, object]) -> dict[str, str]:
    """The headers to send, in the order given, values without surrounding spaces and tabs.

    Raises `Invalid`; the field is "headers/<name>", or "headers" when it is about all of them or the name cannot be shown. No
    message repeats a value: it may be a secret.
    """
    if len(given) > MAX_HEADERS:
        raise Invalid("headers", f"has {len(given)} headers; at most {MAX_HEADERS} are allowed")
    checked: dict[str, str] = {}
    spelled: dict[str, str] = {}
    for name, value in given.items():
        _check_name(name)
        twin = spelled.setdefault(_plain(name), name)
        if twin != name:
            raise Invalid(f"headers/{name}", f"is the same header as {twin}, which is there already; leave one of them out")
        checked[name] = _checked_value(name, value)
    total = sum(len(name) + len(value) for name, value in checked.items())
    if total > MAX_TOTAL_BYTES:
        message = f"take {total} bytes together; at most {MAX_TOTAL_BYTES} are allowed, because many servers refuse long header sections"
        raise Invalid("headers", message)
    return checked


def merge_headers(current: Mapping[str, str], patch: Mapping[str, object]) -> dict[str, str]:
    """The headers after a merge patch (RFC 7396): null removes a header, anything else sets it, the rest stays.

    A name means the header that it means on the wire: `x-team` in a patch replaces `X-Team`, at its place and with the patch's
    spelling. Removing what is not there changes nothing. The result is checked as a whole; raises `Invalid` as `check_headers`.
    """
    merged: dict[str, tuple[str, object]] = {_plain(name): (name, value) for name, value in current.items()}
    seen: dict[str, str] = {}
    for name, value in patch.items():
        key = _plain(name)
        twin = seen.setdefault(key, name)
        if twin != name:
            raise Invalid(_field(name), f"is the same header as {twin}, which this change names too; leave one of them out")
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = (name, value)
    return check_headers(dict(merged.values()))


def _check_name(name: str) -> None:
    if not _TOKEN.fullmatch(name):
        raise Invalid(_field(name), "is not a header name: use letters, digits and hyphens, such as X-Team")
    if len(name) > MAX_NAME_CHARS:
        raise Invalid("headers", f"has a name of {len(name)} characters; at most {MAX_NAME_CHARS} are allowed")
    plain = _plain(name)
    why = _REFUSED.get(plain) or next((why for begins, why in _REFUSED_BEGINNINGS.items() if plain.startswith(begins)), None)
    if why is not None:
        raise Invalid(f"headers/{name}", f"cannot be set: it {why}. Leave it out, or choose a name of your own, such as X-Team")


def _checked_value(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise Invalid(f"headers/{name}", "must be a string")
    text = value.strip(" \t")
    if not text:
        raise Invalid(f"headers/{name}", "must not be empty; leave the header out, or set it to null in a change to remove it")
    unwanted = _UNWANTED.search(text)
    if unwanted is not None:
        where = f"character {unwanted.start() + 1} is U+{ord(unwanted[0]):04X}"
        raise Invalid(f"headers/{name}", f"may hold visible ASCII characters, spaces and tabs only; {where}")
    if len(text) > MAX_VALUE_BYTES:
        raise Invalid(f"headers/{name}", f"has {len(text)} bytes; at most {MAX_VALUE_BYTES} are allowed")
    return text


def _plain(name: str) -> str:
    """The name as the laxest receiver reads it: in CGI and its heirs, case and every separator are lost, so that
    `Content_Length` or `Webhook.Id` would be taken for ours."""
    return _SEPARATOR.sub("-", name.lower())


def _field(name: str) -> str:
    """Where a header is refused that may have no name worth showing."""
    return f"headers/{name}" if len(name) <= MAX_NAME_CHARS and _TOKEN.fullmatch(name) else "headers"
