"""The one object that every refusal is, and what hangs on it."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from gridhook.web.shapes import Shape


class Problem(Shape):
    """A refusal: RFC 9457's members, and `message` beside them."""

    message: Annotated[str, Meta(description="What happened, to which thing, what to do. For people; may change.")]
    type: Annotated[str, Meta(description="The kind of refusal, for programs: `urn:gridhook:problem:` and a word.")]
    title: str
    status: int
    detail: Annotated[str, Meta(description="The same text as `message`.")]
    request_id: Annotated[str, Meta(description="Also in X-Request-ID. Quote it when you ask about this call.")]
    field: (
        Annotated[str, Meta(description="What is at fault: a member of the body, a parameter, or a JSON pointer in an event.")] | UnsetType
    ) = UNSET
