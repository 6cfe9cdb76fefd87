"""What a route tells of itself. It stands on the handler, and a handler without it cannot be put on a route."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeVar

H = TypeVar("H", bound=Callable[..., Any])
_MARK = "gridhook_operation"


class Access(Enum):
    """Who may call."""

    ANYBODY = "anybody"
    ACCOUNT = "account"  # X-ACCT-ID and X-PAYLOAD-SIG
    PUBLISHER = "publisher"  # Authorization: Bearer ghp_...
    BROWSER = "browser"  # a page of the console, or what belongs to one: no part of the API, and not in its description


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter or a header. schema: JSON Schema of its text."""

    name: str
    description: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    place: str = "query"
    example: object = None


@dataclass(frozen=True, slots=True)
class Body:
    """What may be sent. shapes: by media type. examples: by name; each is (media type, value)."""

    shapes: Mapping[str, Any]
    examples: Mapping[str, tuple[str, object]]
    required: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and what comes with it. shape: a type, several of which the body is one, or None for no body (of `media`: any).

    also: further media types that a caller can have instead.
    """

    description: str
    shape: Any = None
    headers: tuple[str, ...] = ()
    media: str = "application/json"
    has_body: bool = True
    example: object = None
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """refusals: the statuses that this route has beyond those of everyone with its access, and when."""

    id: str
    tag: str
    summary: str
    description: str
    access: Access
    answers: Mapping[int, Answer]
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    refusals: Mapping[int, str] = field(default_factory=dict)


def operation(
    id: str,
    tag: str,
    summary: str,
    description: str,
    *,
    access: Access,
    answers: Mapping[int, Answer],
    parameters: tuple[Parameter, ...] = (),
    body: Body | None = None,
    refusals: Mapping[int, str] | None = None,
) -> Callable[[H], H]:
    """Declares what the handler below it does."""
    told = Operation(id, tag, summary, description, access, answers, parameters, body, refusals or {})

    def declare(handler: H) -> H:
        setattr(handler, _MARK, told)
        return handler

    return declare


def page(id: str, summary: str) -> Callable[[H], H]:
    """Declares that the handler below it answers a browser. Its id is no API operation's: `pauseWebhook` is another thing."""
    return operation(f"console.{id}", "Console", summary, "", access=Access.BROWSER, answers={})


def operation_of(handler: Callable[..., Any]) -> Operation:
    """Raises `TypeError` for a handler that says nothing of itself."""
    told = getattr(handler, _MARK, None)
    if not isinstance(told, Operation):
        raise TypeError(f"{handler!r} has no @operation: a route that is not documented cannot be served")
    return told
