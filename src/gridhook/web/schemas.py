"""The event types' JSON Schemas at the addresses that events carry as `dataschema`. For anybody: no authentication, any origin."""

from __future__ import annotations

from typing import Any

import msgspec

from gridhook.config import Settings
from gridhook.errors import NotFound
from gridhook.rules.catalogue import catalogue
from gridhook.web import files
from gridhook.web.call import Call
from gridhook.web.files import File
from gridhook.web.operations import Access, Answer, operation
from gridhook.web.problems import JSON, Reply
from gridhook.web.routes import Route
from gridhook.web.shapes.publishing import ListedType, TypeList

# A published version never changes in meaning, so a copy is good for ever.
_FOR_EVER = (b"cache-control", b"public, max-age=31536000, immutable")
_AN_HOUR = (b"cache-control", b"public, max-age=3600")
_SCHEMA = (b"content-type", b"application/schema+json")


def routes(settings: Settings) -> list[Route]:
    base = settings.base_url
    schemas = {(entry.type, f"{entry.version}.json"): File.of(entry.served(base), _SCHEMA) for entry in catalogue().schemas.values()}
    index = _index(base)

    @operation(
        "listEventTypes",
        "Schemas",
        "List the event types",
        "The catalogue: each type with its current version and where that is described.",
        access=Access.ANYBODY,
        parameters=(files.CONDITION,),
        answers={200: Answer("All of them.", TypeList, headers=("ETag",)), 304: files.UNCHANGED},
    )
    async def types(call: Call) -> Reply:
        return files.serve(index, _AN_HOUR, call)

    @operation(
        "getSchema",
        "Schemas",
        "Read the JSON Schema of an event type",
        "What events carry as `dataschema`; `file` is `{version}.json`. A version never changes: keep it for ever.",
        access=Access.ANYBODY,
        parameters=(files.CONDITION,),
        answers={
            200: Answer("JSON Schema 2020-12.", dict[str, Any], headers=("ETag",), media="application/schema+json"),
            304: files.UNCHANGED,
        },
        refusals={404: "There is no such type or version."},
    )
    async def schema(call: Call) -> Reply:
        found = schemas.get((call.params["type"], call.params["file"]))
        if found is None:
            raise NotFound("there is no such schema; /schemas/webhooks lists all of them")
        return files.serve(found, _FOR_EVER, call)

    return [
        Route("/schemas/webhooks", {"GET": types, "OPTIONS": files.preflight}),
        Route("/schemas/webhooks/{type}/{file}", {"GET": schema, "OPTIONS": files.preflight}),
    ]


def _index(base_url: str) -> File:
    types = [
        ListedType(
            type=entry.type,
            family=entry.family,
            title=entry.title,
            description=entry.description,
            version=entry.version,
            dataschema=base_url + entry.path,
        )
        for entry in catalogue().types.values()
    ]
    return File.of(msgspec.json.encode(TypeList(types=types)), JSON)
