"""Synthetic `data` for a test delivery: made from its type's schema, filled with things that make sense together. Pure.

The schema decides which fields there are and what each may hold. `sample_facts` knows what most of them should say; a field that
it does not know, or whose fact the schema would refuse, gets a value from the schema's own example or from its constraints. So a
field that a later version adds is filled on the day it is added.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

import jsonschema_rs
import msgspec

from gridhook.model import Instant
from gridhook.rules.catalogue import EventType, event_type
from gridhook.rules.sample_facts import DAY_MS, Draws, common_facts, facts, moment

_UNTOLD: Any = object()  # no fact, no example: null would be one
_DEEPEST = 8  # levels of nesting below which only what is required is made: a schema may contain itself
_PLAIN_TEXT = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_CHARACTERS = _PLAIN_TEXT + "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) not in _PLAIN_TEXT)

# A regular expression that is one character class after the other, each with how often. Groups and alternatives are beyond this.
_PIECE = re.compile(r"(\[(?:\\.|[^\]\\])+\]|\\[dws]|\\[^A-Za-z0-9]|[^\\()\[\]|*+?{}^$])(?:\{(\d+)(?:(,)(\d*))?\}|([*+?]))?")


def sample(type: str, *, seed: str, now: Instant) -> dict[str, Any]:
    """A `data` that keeps the newest schema of the type and could have come from a real account; the same for the same arguments.

    seed: which organisation, person, pass and devices it tells of. One seed tells of the same ones in every type.
    now: when the event happens; dates are set around it.

    Raises `Invalid("/type", ...)` for a type that is not in the catalogue.
    """
    return sample_of(event_type(type), seed=seed, now=now)


def sample_of(known: EventType, *, seed: str, now: Instant) -> dict[str, Any]:
    """As `sample`, for one version of a type. Its own example, should its schema ask for something that cannot be made here."""
    schema = msgspec.json.decode(known.schema_bytes, type=dict[str, Any])
    draws = Draws(seed)
    maker = _Maker(schema.get("$defs", {}), draws, now)
    made = maker.object_(schema, facts(known.type, draws, now), known.example, "", 0)
    return made if known.validator.is_valid(made) else known.example


class _Maker:
    """Values that keep a schema. Every value has its place (`at`, a JSON pointer), which is also what its chance depends on."""

    def __init__(self, defs: Mapping[str, Any], draws: Draws, now: Instant) -> None:
        self._defs = defs
        self._draws = draws
        self._now = now
        self._common = common_facts(draws)

    def object_(self, schema: Mapping[str, Any], fact: Mapping[str, Any], example: Any, at: str, depth: int) -> dict[str, Any]:
        """All properties of the schema, in its order, and what it requires without describing it."""
        properties, required = schema.get("properties", {}), schema.get("required", [])
        shown = example if isinstance(example, dict) else {}
        return {
            name: self.value(properties.get(name, {}), fact.get(name, _UNTOLD), shown.get(name, _UNTOLD), f"{at}/{name}", depth + 1)
            for name in dict.fromkeys((*properties, *required))
            if depth < _DEEPEST or name in required
        }

    def value(self, schema: Any, fact: Any, example: Any, at: str, depth: int) -> Any:
        schema = self._resolved(schema)
        if fact is _UNTOLD:
            fact = self._common.get(at.rpartition("/")[2], _UNTOLD)
        if depth >= _DEEPEST and fact is _UNTOLD and (depth > 2 * _DEEPEST or self._keeps(schema, None)):
            return None  # a schema that contains itself must end somewhere
        for branch in self._branches(schema):
            kind = _kind(branch)
            if kind == "object" and "properties" in branch and isinstance(fact, dict):
                return self.object_(branch, fact, example, at, depth)
            if kind == "array" and isinstance(fact, list):
                return self._array(branch, fact, example, at, depth)
            if fact is not _UNTOLD and self._keeps(branch, fact):
                return fact
            for made in self._made(branch, kind, example, at, depth):
                if self._keeps(branch, made):
                    return made
        return None if example is _UNTOLD else example

    def _made(self, schema: Mapping[str, Any], kind: str, example: Any, at: str, depth: int) -> Iterator[Any]:
        """Candidates for a value of which nothing is known, the likeliest first; the schema is yet to be asked about each."""
        if "const" in schema:
            yield schema["const"]
        if kind == "string" and schema.get("format") in ("date-time", "date", "time"):
            yield self._text(schema, at)  # an example's date would be out of place
        if kind == "object" and ("properties" in schema or "required" in schema):
            yield self.object_(schema, {}, example, at, depth)
        if example is not _UNTOLD and example is not None:
            yield example
        options = [option for option in schema.get("enum", schema.get("examples", [])) if option is not None]
        if options:
            yield self._draws.pick(options, at)
        if "default" in schema:
            yield schema["default"]
        match kind:
            case "object":
                yield {}
            case "array":
                yield self._array(schema, _UNTOLD, example, at, depth)
            case "boolean":
                yield self._draws.below(2, at) == 1
            case "integer" | "number":
                yield self._number(schema, kind, at)
            case "string":
                if "pattern" in schema:
                    yield self._matching(schema["pattern"], at)
                yield self._text(schema, at)
        yield None

    def _array(self, schema: Mapping[str, Any], fact: Any, example: Any, at: str, depth: int) -> list[Any]:
        """One element for each fact; without facts one, so that it shows what it would hold. More or fewer where the schema says so."""
        first, items = schema.get("prefixItems", []), schema.get("items", {})
        told = fact if isinstance(fact, list) else []
        shown = example if isinstance(example, list) else []
        count = len(told) if fact is not _UNTOLD else int(depth < _DEEPEST)
        count = min(max(count, schema.get("minItems", 0)), schema.get("maxItems", math.inf))
        return [
            self.value(
                first[n] if n < len(first) else items,
                told[n] if n < len(told) else _UNTOLD,
                shown[n] if n < len(shown) else _UNTOLD,
                f"{at}/{n}",
                depth + 1,
            )
            for n in range(count)
        ]

    def _number(self, schema: Mapping[str, Any], kind: str, at: str) -> Any:
        """A multiple of the step within the bounds; from 1 to 100 where there are none."""
        step = schema.get("multipleOf", 1 if kind == "integer" else 0.25)
        low = max((bound for bound in (schema.get("minimum"), schema.get("exclusiveMinimum")) if bound is not None), default=None)
        high = min((bound for bound in (schema.get("maximum"), schema.get("exclusiveMaximum")) if bound is not None), default=None)
        if low is None:
            low = 1 if high is None or high >= 1 else high - 100 * step
        if high is None:
            high = low + 100 * step
        first, last = math.ceil(low / step), math.floor(high / step)
        first += first * step == schema.get("exclusiveMinimum")
        last -= last * step == schema.get("exclusiveMaximum")
        if first > last:
            return (low + high) / 2
        return (first + self._draws.below(last - first + 1, at)) * step

    def _text(self, schema: Mapping[str, Any], at: str) -> str:
        name = at.rpartition("/")[2]
        text = self._formatted(schema.get("format", ""), name, at)
        shortest, longest = schema.get("minLength", 0), schema.get("maxLength", math.inf)
        if len(text) < shortest:
            text += self._draws.digits(shortest - len(text), at)
        return text if len(text) <= longest else text[: int(longest)]

    def _formatted(self, format: str, name: str, at: str) -> str:
        """Of the format, or what a name like this usually holds."""
        draws, organisation = self._draws, self._common["domain"]
        if not format:
            if name.endswith(("_at", "_date")):
                format = "date-time"
            elif name == "email" or name.endswith("_email"):
                format = "email"
            elif name.endswith(("url", "uri", "link")):
                format = "uri"
        match format:
            case "date-time":
                return moment(self._now - self._now % 1000 - draws.below(DAY_MS // 1000, at) * 1000)
            case "date":
                return moment(self._now)[:10]
            case "time":
                return moment(self._now - self._now % 1000)[11:]
            case "duration":
                return f"P{1 + draws.below(30, at)}D"
            case "email" | "idn-email":
                return str(self._common["email"])
            case "hostname" | "idn-hostname":
                return str(organisation)
            case "uri" | "iri":
                return f"https://{organisation}/{name}/{draws.hexadecimal(8, at)}"
            case "uri-reference" | "iri-reference" | "json-pointer":
                return f"/{name}/{draws.hexadecimal(8, at)}"
            case "uuid":
                return str(UUID(bytes=draws.digest(at)[:16], version=4))
            case "ipv4":
                return f"192.0.2.{1 + draws.below(254, at)}"  # for documentation: RFC 5737
            case "ipv6":
                return f"2001:db8::{1 + draws.below(0xFFFE, at):x}"  # RFC 3849
        if name == "id" or name.endswith("_id"):
            return f"0x{draws.hexadecimal(8, at)}"
        return f"Sample {name.replace('_', ' ')}"

    def _matching(self, pattern: str, at: str) -> str:
        """A text that the pattern matches, if it is one that `_PIECE` can read; else the schema will refuse what this returns."""
        made = ""
        for n, piece in enumerate(_PIECE.finditer(pattern)):
            one, least, comma, most, mark = piece.groups()
            low = int(least or {"+": 1, None: 1}.get(mark, 0))
            high = int(most) if most else low + 4 if comma or mark in ("+", "*") else low
            options = [character for character in _CHARACTERS if re.fullmatch(one, character)]
            if not options:
                break
            for place in range(low + self._draws.below(high - low + 1, f"{at}#{n}")):
                made += self._draws.pick(options, f"{at}#{n}#{place}")
        return made

    def _keeps(self, schema: Mapping[str, Any], value: Any) -> bool:
        whole = {**schema, "$defs": self._defs}
        return jsonschema_rs.Draft202012Validator(whole, validate_formats=True).is_valid(value)

    def _resolved(self, schema: Any) -> dict[str, Any]:
        """With what it refers to, and all of `allOf`, written out at its own level."""
        if not isinstance(schema, dict):
            return {} if schema else {"not": {}}
        whole = dict(schema)
        parts = whole.pop("allOf", [])
        reference = whole.pop("$ref", None)
        if reference is not None:
            parts = [self._defs.get(reference.removeprefix("#/$defs/"), {}), *parts]
        for part in map(self._resolved, parts):
            for keyword, said in part.items():
                if keyword == "properties":
                    whole[keyword] = {**said, **whole.get(keyword, {})}
                elif keyword == "required":
                    whole[keyword] = list(dict.fromkeys((*said, *whole.get(keyword, []))))
                else:
                    whole.setdefault(keyword, said)
        return whole

    def _branches(self, schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The schema, or one for each of its alternatives; null last."""
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                rest = {name: said for name, said in schema.items() if name != keyword}
                branches = [self._resolved({"allOf": [option, rest]}) for option in schema[keyword]]
                yield from sorted(branches, key=lambda branch: _kind(branch) == "null")
                return
        yield schema


def _kind(schema: Mapping[str, Any]) -> str:
    """The JSON type to make: not null if there is a choice."""
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if types:
        return str(min(types, key=lambda type: type == "null"))
    if "properties" in schema or "required" in schema:
        return "object"
    return "array" if "items" in schema or "prefixItems" in schema else "string"
