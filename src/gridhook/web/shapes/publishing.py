"""Publishing, and the catalogue of what may be published."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from gridhook.web.shapes import Shape, Time
from gridhook.web.shapes.problems import Problem

_DATA = Meta(description="An object that keeps the schema of its type.")
_TIME = Meta(description="When it happened: within the retry window, and not in the future; null or absent: now.")


class PlainEvent(Shape, forbid_unknown_fields=True):
    """An event in our own short form. For the description only: events are read by `rules.cloudevents`, which says more about mistakes."""

    type: str
    data: Annotated[dict[str, Any], _DATA]
    id: Annotated[
        str | None, Meta(description="Yours, so that a repeat is known as one.", extra_json_schema={"minLength": 1, "maxLength": 255})
    ] = None
    time: Annotated[Time | None, _TIME] = None


class CloudEvent(Shape, forbid_unknown_fields=True):
    """A CloudEvent 1.0 in structured mode; `source` and `dataschema` are replaced by ours. For the description only, as above."""

    specversion: Literal["1.0"]
    id: Annotated[str, Meta(extra_json_schema={"minLength": 1, "maxLength": 255})]
    source: Annotated[str, Meta(extra_json_schema={"minLength": 1})]
    type: str
    data: Annotated[dict[str, Any], _DATA]
    datacontenttype: Annotated[str | None, Meta(description="application/json")] = None
    dataschema: str | None = None
    time: Annotated[Time | None, _TIME] = None
    traceparent: str | None = None
    tracestate: str | None = None


class Accepted(Shape):
    """The event is kept."""

    id: str
    deliveries: Annotated[int, Meta(description="To how many webhooks it is owed.")]
    duplicate: Annotated[bool, Meta(description="It was kept before; nothing was added.")]


class Result(Shape):
    """What became of one element: with 202 as of a single event, otherwise why not."""

    index: int
    status: int
    id: str | UnsetType = UNSET
    deliveries: int | UnsetType = UNSET
    duplicate: bool | UnsetType = UNSET
    type: Annotated[str, Meta(description="The end of a problem's `type`.")] | UnsetType = UNSET
    message: str | UnsetType = UNSET
    field: Annotated[str, Meta(description="A JSON pointer in the event.")] | UnsetType = UNSET


class BatchAnswer(Shape):
    """What became of each element, in order."""

    accepted: int
    refused: int
    results: list[Result]


class BatchProblem(Problem, kw_only=True):
    """None of the batch was kept."""

    accepted: int
    refused: int
    results: list[Result]


class ListedType(Shape):
    type: str
    family: str
    title: str
    description: str
    version: int
    dataschema: str


class TypeList(Shape):
    types: list[ListedType]
