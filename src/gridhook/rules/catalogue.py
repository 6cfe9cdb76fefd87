"""What can happen: the event types, and for each the JSON Schema that its `data` keeps, as served and as enforced.

The schemas are package data, one file per type and version, hand-readable and each complete in itself. A published
version never changes in meaning: what receivers may rely on is changed by adding a version beside it.

A property is required where the customers' SDKs break, or silently read something wrong, without it: ids, and the
platform, protocol, type and status of templates and devices. Everything else may be null or left out, and unknown
properties pass: new ones must not need a new version.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import jsonschema_rs
import msgspec

from gridhook.errors import Invalid

# By family, and in each in the order of a life. Every name stands here and in one schema file per version.
EVENT_TYPES = (
    "ag.access_pass.issued",
    "ag.access_pass.viewed",
    "ag.access_pass.activated",
    "ag.access_pass.updated",
    "ag.access_pass.suspended",
    "ag.access_pass.resumed",
    "ag.access_pass.unlinked",
    "ag.access_pass.deleted",
    "ag.access_pass.expired",
    "ag.access_pass.renewed",
    "ag.access_pass.failed",
    "ag.access_pass.devices.added",
    "ag.access_pass.devices.removed",
    "ag.access_pass.devices.suspended",
    "ag.access_pass.devices.resumed",
    "ag.card_template.created",
    "ag.card_template.updated",
    "ag.card_template.requested_publishing",
    "ag.card_template.published",
    "ag.card_template.deleted",
    "ag.card_template_pair.created",
    "ag.landing_page.created",
    "ag.landing_page.updated",
    "ag.landing_page.attached_to_template",
    "ag.credential_profile.created",
    "ag.credential_profile.attached_to_template",
    "ag.credential_profile.deleted",
    "ag.hid_org.created",
    "ag.hid_org.activated",
    "ag.account_balance.low",
    "ag.webhook.cert_expiring",
    "ag.account.impersonation_started",
    "ag.account.impersonation_ended",
)

# Names that older clients and documents carry, and what they meant.
OBSOLETE: Mapping[str, str] = MappingProxyType(
    {
        "ag.access_pass.installed": "ag.access_pass.activated",
        "ag.access_pass.created": "ag.access_pass.issued",
        "ag.access_pass.device_added": "ag.access_pass.devices.added",
        "ag.access_pass.device_removed": "ag.access_pass.devices.removed",
        "ag.card_template.request_publishing": "ag.card_template.requested_publishing",
    }
)

_A_KIND = {"object": "an object", "array": "an array", "string": "a string", "number": "a number", "integer": "an integer"}
_MOST_VIOLATIONS = 5
_SHOWN_CHARS = 60


@dataclass(frozen=True, slots=True)
class EventType:
    """One version of one type."""

    type: str
    family: str
    title: str
    description: str
    version: int
    schema_bytes: bytes = field(repr=False)  # the file; its `$id` is the path alone
    validator: jsonschema_rs.Draft202012Validator = field(repr=False, compare=False)

    @property
    def path(self) -> str:
        """Of the schema, below the public base."""
        return f"/schemas/webhooks/{self.type}/{self.version}.json"

    @property
    def example(self) -> dict[str, Any]:
        """A complete, valid `data`; a fresh copy each time."""
        examples: list[dict[str, Any]] = msgspec.json.decode(self.schema_bytes)["examples"]
        return examples[0]

    def served(self, base_url: str) -> bytes:
        """The schema as receivers get it: `$id` is the very text that events carry as `dataschema`. Same base, same bytes."""
        own = f'"$id": "{self.path}"'.encode()
        return self.schema_bytes.replace(own, b'"$id": ' + msgspec.json.encode(base_url + self.path), 1)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """`types`: newest version of each, by name, in the order of EVENT_TYPES. `schemas`: every version, by (name, version)."""

    types: Mapping[str, EventType]
    schemas: Mapping[tuple[str, int], EventType]


@cache
def catalogue() -> Catalogue:
    """The catalogue of this release; read from the package once."""
    found: dict[str, dict[int, bytes]] = {}
    for file in files("gridhook").joinpath("catalogue").iterdir():
        name, _, version = file.name.removesuffix(".json").rpartition(".")
        found.setdefault(name, {})[int(version)] = file.read_bytes()
    schemas = {(name, version): _event_type(name, version, found[name][version]) for name in EVENT_TYPES for version in sorted(found[name])}
    types = {name: schemas[name, max(found[name])] for name in EVENT_TYPES}
    return Catalogue(MappingProxyType(types), MappingProxyType(schemas))


def event_type(name: str, *, field: str = "/type") -> EventType:
    """Raises `Invalid(field, ...)`, with the likely meant name, for a type that is not in the catalogue."""
    known = catalogue().types.get(name)
    if known is None:
        raise Invalid(field, f"{_quoted(name)} is not an event type.{_hint(name)} The catalogue lists all {len(EVENT_TYPES)}.")
    return known


def check_data(type: str, data: object) -> None:
    """Raises `Invalid` when `data` breaks the newest schema of its type, or the type is unknown.

    The field points at the first violation, below the event: "/data/devices/0/platform". The message says its rule and
    value ("must be one of apple, android; got 'ios'") and names up to four more violations.
    """
    check(event_type(type), data)


def check(known: EventType, data: object) -> None:
    """As `check_data`."""
    if known.validator.is_valid(data):
        return
    violations = [_violation(error) for error in known.validator.iter_errors(data)]
    (where, message), *more = violations[:_MOST_VIOLATIONS]
    message += "".join(f"; also {pointer} {rule}" for pointer, rule in more)
    if len(violations) > _MOST_VIOLATIONS:
        message += f"; and {len(violations) - _MOST_VIOLATIONS} more"
    raise Invalid(where, message)


def check_subscribed(names: object) -> tuple[str, ...]:
    """The event types that a webhook asks for: at least one, each known, each once, in the order given. Raises `Invalid`."""
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise Invalid("subscribed_events", "must be an array of event names (strings)")
    wanted: Iterable[str] = dict.fromkeys(names)
    if not wanted:
        raise Invalid("subscribed_events", "must name at least one event")
    for name in wanted:
        if name not in catalogue().types:
            # This beginning is what existing clients look for.
            message = f"Invalid event name: {_quoted(name)}. Valid events: {', '.join(EVENT_TYPES)}.{_hint(name)}"
            raise Invalid("subscribed_events", message)
    return tuple(wanted)


def _event_type(name: str, version: int, text: bytes) -> EventType:
    schema = msgspec.json.decode(text, type=dict[str, Any])
    return EventType(
        type=name,
        family=name.split(".")[1],
        title=schema["title"],
        description=schema["description"],
        version=version,
        schema_bytes=text,
        # Formats are only notes unless one asks for them; a date that is none would fail at the receiver.
        validator=jsonschema_rs.Draft202012Validator(schema, validate_formats=True),
    )


def _violation(error: jsonschema_rs.ValidationError) -> tuple[str, str]:
    """Where, and the rule with the offending value, in few words."""
    steps = [str(step).replace("~", "~0").replace("/", "~1") for step in error.instance_path]
    keyword, limit = error.kind.name, error.kind.value
    got = f"; got {_shown(error.instance)}"
    if keyword == "required":
        return "/".join(["/data", *steps, str(limit)]), "is required"
    where = "/".join(["/data", *steps])
    if keyword == "enum":
        return where, f"must be one of {', '.join('null' if option is None else str(option) for option in limit)}{got}"
    if keyword == "type":
        kinds = [limit] if isinstance(limit, str) else sorted(limit, key=lambda kind: (kind == "null", kind))
        return where, f"must be {' or '.join(_A_KIND.get(kind, kind) for kind in kinds)}{got}"
    if keyword == "format":
        return where, f"must be a {limit} (RFC 3339, with offset){got}" if limit == "date-time" else f"must be a {limit}{got}"
    if keyword == "minLength" and limit == 1:
        return where, "must not be empty"
    if keyword == "pattern":
        return where, f"must match {limit}{got}"
    return where, f"breaks the rule {keyword}: {error.message[:200]}"


def _shown(value: object) -> str:
    """A value in a message: what it is, never all of it."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case dict():
            return "an object"
        case list():
            return "an array"
        case str():
            return _quoted(value)
    return str(value)


def _quoted(text: str) -> str:
    """In quotes; unprintable characters escaped; not longer than a message bears."""
    cut = text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "..."
    return f"'{cut}'" if cut.isprintable() else ascii(cut)


def _hint(name: str) -> str:
    if name in OBSOLETE:
        return f" That name is obsolete; use '{OBSOLETE[name]}'."
    if "*" in name:
        return " Wildcards are not supported: name each event."
    near = difflib.get_close_matches(name[:_SHOWN_CHARS].lower(), EVENT_TYPES, n=1, cutoff=0.8)
    return f" Did you mean '{near[0]}'?" if near else ""
