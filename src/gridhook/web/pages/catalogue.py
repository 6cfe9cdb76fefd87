"""The event catalogue: every type with what it means, what it carries, and what a whole one looks like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

from gridhook.errors import NotFound
from gridhook.model import Instant
from gridhook.rules.catalogue import EVENT_TYPES, EventType, catalogue
from gridhook.rules.cloudevents import synthetic_event
from gridhook.rules.samples import sample_of
from gridhook.web.call import Call
from gridhook.web.operations import page
from gridhook.web.pages.families import families
from gridhook.web.pages.front import Front
from gridhook.web.pages.views import BASE
from gridhook.web.problems import Reply
from gridhook.web.routes import Route

CATALOGUE = BASE + "/catalogue"
SUBSCRIBERS = 20  # shown
_DEEPEST = 6  # levels of a schema that is told as a table
_EXAMPLE_ID = "01890c7e-4d2a-7cc3-98f4-6c1d2e3f4a5b"


@dataclass(frozen=True, slots=True)
class Field:
    """One line of a schema told as a table. `name`: the way to it, such as `devices[].platform`; `depth` from 0."""

    name: str
    depth: int
    kind: str
    is_required: bool
    is_nullable: bool
    limits: str
    description: str


class CataloguePages:
    def __init__(self, front: Front) -> None:
        self._front = front

    @page("seeCatalogue", "The event catalogue")
    async def index(self, call: Call) -> Reply:
        view = await self._front.view(call)
        return await self._front.show(view, "catalogue.html", families=families(), total=len(EVENT_TYPES))

    @page("seeEventType", "One type of event")
    async def one(self, call: Call) -> Reply:
        view = await self._front.view(call)
        known = catalogue().types.get(call.params["type"])
        if known is None:
            raise NotFound("There is no such type of event; the catalogue lists all of them.")
        service = self._front.service
        example = _example(known, view.account.id, service.settings.base_url, service.clock.now())
        subscribers = await service.store.subscribers(view.account.id, known.type, limit=SUBSCRIBERS + 1)
        return await self._front.show(
            view,
            "event_type.html",
            known=known,
            fields=fields(known),
            example=example,
            subscribers=subscribers[:SUBSCRIBERS],
            more=len(subscribers) > SUBSCRIBERS,
        )


@lru_cache(maxsize=len(EVENT_TYPES))
def fields(known: EventType) -> tuple[Field, ...]:
    """What `data` holds, in the schema's order, each part's own fields below it."""
    schema = msgspec.json.decode(known.schema_bytes, type=dict[str, Any])
    return tuple(_fields(schema, schema.get("$defs", {}), "", 0))


def _fields(schema: Mapping[str, Any], defs: Mapping[str, Any], prefix: str, depth: int) -> Iterator[Field]:
    required = schema.get("required", [])
    for name, said in schema.get("properties", {}).items():
        whole = _resolved(said, defs)
        kinds = _kinds(whole)
        place = prefix + name
        items = _resolved(whole.get("items", {}), defs)
        kind = " or ".join(one for one in kinds if one != "null") or "any"
        if "array" in kinds and items:
            kind = f"array of {' or '.join(one for one in _kinds(items) if one != 'null')}s" if _kinds(items) else "array"
        yield Field(place, depth, kind, name in required, "null" in kinds, _limits(whole), whole.get("description", ""))
        if depth < _DEEPEST:
            yield from _fields(whole, defs, place + ".", depth + 1)
            yield from _fields(items, defs, place + "[].", depth + 1)


def _resolved(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> Mapping[str, Any]:
    """With what it refers to beside what it says itself."""
    reference = schema.get("$ref")
    return schema if reference is None else {**defs.get(reference.removeprefix("#/$defs/"), {}), **schema}


def _kinds(schema: Mapping[str, Any]) -> list[str]:
    said = schema.get("type")
    if said is not None:
        return [said] if isinstance(said, str) else list(said)
    names = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}
    if "enum" in schema:
        return list(dict.fromkeys(names.get(type(one), "any") for one in schema["enum"]))
    return ["object"] if "properties" in schema else []


def _limits(schema: Mapping[str, Any]) -> str:
    told = []
    if "enum" in schema:
        told.append("one of " + ", ".join(str(one) for one in schema["enum"] if one is not None))
    if "format" in schema:
        told.append(str(schema["format"]))
    if "pattern" in schema:
        told.append(f"matches {schema['pattern']}")
    return "; ".join(told)


def _example(known: EventType, account_id: str, base_url: str, now: Instant) -> str:
    """A whole event, as it comes: the same story in every type."""
    at = now - now % 3_600_000  # the same page for an hour
    data = sample_of(known, seed=account_id, now=at)
    event = synthetic_event(known.type, data, account_id=account_id, id=_EXAMPLE_ID, now=at, base_url=base_url)
    return msgspec.json.format(event.payload, indent=2).decode()


def routes(front: Front) -> list[Route]:
    pages = CataloguePages(front)
    return [Route(CATALOGUE, {"GET": pages.index}), Route(CATALOGUE + "/{type}", {"GET": pages.one})]
