"""Publishing over HTTP: one CloudEvent, a batch of them, or a plain `{"type", "data"}`.

The busiest route: its own cost is counted in microseconds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from functools import lru_cache
from typing import TypeAlias

import msgspec
from msgspec import UNSET

from gridhook.config import Settings
from gridhook.errors import Conflict, GridhookError, Invalid, NotFound, TooLarge, Unauthenticated
from gridhook.model import Publication
from gridhook.rules import strict_json
from gridhook.rules.cloudevents import Draft, read_event
from gridhook.service import Service
from gridhook.web.call import Call, is_id, within
from gridhook.web.operations import Access, Answer, Body, operation
from gridhook.web.problems import JSON, NO_STORE, Headers, Refusal, Reply, members, slug_of
from gridhook.web.routes import Route
from gridhook.web.shapes.publishing import (
    Accepted,
    BatchAnswer,
    BatchProblem,
    CloudEvent,
    PlainEvent,
    Result,
)

CHALLENGE = b'Bearer realm="gridhook"'
SLACK_BYTES = 16 * 1024  # what the envelope and white space may add to an event of the largest size
TAKEN = "an event with this id and other content was accepted before; nothing was kept of this one"

_BALANCE = {
    "account_id": "acct_5b1e",
    "organization_name": "Northwind Properties",
    "current_balance": 50.25,
    "threshold": 100.0,
    "amount_below_threshold": 49.75,
}
_PLAIN_EXAMPLE = {"type": "ag.account_balance.low", "id": "balance-2026-11-22", "data": _BALANCE}
_EXAMPLE = {"specversion": "1.0", "source": "/billing", **_PLAIN_EXAMPLE}

Read: TypeAlias = Callable[[int], Awaitable[bytes]]
"""Gives the body; raises `TooLarge` when it has more bytes than that."""


_HEADERS: Headers = [JSON, NO_STORE]
_encode = msgspec.json.Encoder().encode


class Form(Enum):
    """What a body is, by its Content-Type."""

    EVENT = "application/cloudevents+json"
    BATCH = "application/cloudevents-batch+json"
    PLAIN = "application/json"


ACCEPTED = ", ".join(form.value for form in Form)


class Publishing:
    """POST /v1/accounts/{account_id}/events"""

    def __init__(self, service: Service, settings: Settings) -> None:
        self._service = service
        self._single_limit = settings.max_event_bytes + SLACK_BYTES
        self._batch_limit = settings.max_batch_bytes
        self._batch_events = settings.max_batch_events

    async def __call__(self, account_id: str, headers: Mapping[bytes, bytes], body: bytes | Read, request_id: str) -> Reply:
        """202 after the commit. Raises the refusals of `errors.py` for a request of which nothing is kept.

        body: as it came, or what reads it once it is known how much of it may be read.
        """
        await self._service.publisher(_key(headers), account_id)
        if not is_id(account_id):
            raise NotFound("Account not found")
        form = _form(headers.get(b"content-type"))
        if form is Form.PLAIN and (b"ce-specversion" in headers or b"ce-type" in headers or b"ce-id" in headers):
            raise _unsupported("CloudEvents in binary mode (ce-* headers) are not read; send the structured mode")
        encoding = headers.get(b"content-encoding")
        if encoding is not None and encoding.strip().lower() not in (b"identity", b""):
            raise Refusal(
                415, "unsupported-media-type", "compressed bodies are not read; send the body as it is", [(b"accept-encoding", b"identity")]
            )
        limit = self._batch_limit if form is Form.BATCH else self._single_limit
        body = within(body, limit) if isinstance(body, bytes) else await body(limit)
        if form is Form.BATCH:
            return await self._batch(account_id, body, request_id)
        draft = read_event(strict_json.parse(body), plain=form is Form.PLAIN)
        (answer,) = await self._service.publish(account_id, (draft,), request_id=request_id)
        if isinstance(answer, GridhookError):
            raise answer
        if answer.conflict:
            raise Conflict(f"id {answer.id}: {TAKEN}")
        return Reply(202, _encode(Accepted(answer.id, answer.deliveries, answer.duplicate)), _HEADERS)

    async def _batch(self, account_id: str, body: bytes, request_id: str) -> Reply:
        """Each element is judged alone, and the good ones are kept: 202 when any was, else 409 or 422 with the same results."""
        drafts = map(_draft, strict_json.parse_batch(body, max_elements=self._batch_events))
        answers = await self._service.publish(account_id, drafts, request_id=request_id)
        results = [_result(index, answer) for index, answer in enumerate(answers)]
        accepted = sum(result.status == 202 for result in results)
        if accepted or not results:
            return Reply(202, _encode(BatchAnswer(accepted=accepted, refused=len(results) - accepted, results=results)), _HEADERS)
        status = 409 if all(result.status == 409 for result in results) else 422
        message = f"none of the {len(results)} events was accepted; the first: {results[0].message}"
        told = members(status, "conflict" if status == 409 else "invalid", message, request_id)
        return Reply(status, _encode(BatchProblem(**told, accepted=0, refused=len(results), results=results)), _HEADERS)


def routes(publishing: Publishing) -> list[Route]:
    @operation(
        "publish",
        "Publishing",
        "Publish one event or a batch",
        "202 means kept: event and deliveries are committed before the answer. Give your own `id`, and repeat a request whenever you did "
        "not read its answer: the same id with the same content is answered like the first time and sent once. A batch is judged element "
        "by element, and its good elements are kept.",
        access=Access.PUBLISHER,
        body=Body(
            {Form.PLAIN.value: PlainEvent, Form.EVENT.value: CloudEvent, Form.BATCH.value: list[CloudEvent]},
            {
                "plain": (Form.PLAIN.value, _PLAIN_EXAMPLE),
                "event": (Form.EVENT.value, _EXAMPLE),
                "batch": (Form.BATCH.value, [_EXAMPLE]),
            },
        ),
        answers={202: Answer("Kept. For a batch: at least one of its events was.", (Accepted, BatchAnswer))},
        refusals={
            400: "Not JSON as we read it, or a batch that is no array.",
            404: "There is no such account.",
            409: "The id is taken by other content; for a batch: all of them.",
            415: "The content type, charset or encoding is not read here.",
            422: "Readable, but against a rule; for a batch: all of its events.",
        },
    )
    async def publish(call: Call) -> Reply:
        return await publishing(call.params["account_id"], call.headers, call.body, call.request_id)

    return [Route("/v1/accounts/{account_id}/events", {"POST": publish})]


def _key(headers: Mapping[bytes, bytes]) -> str:
    scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
    key = key.strip()
    if scheme.lower() != b"bearer" or not key:
        raise Unauthenticated("publishing needs a publisher key: send `Authorization: Bearer ghp_...`")
    return key.decode("latin-1")


@lru_cache(maxsize=256)
def _read_content_type(text: bytes) -> Form | str:
    """The form, or what is wrong. Cached: a process meets a handful of spellings."""
    media_type, *parameters = text.decode("latin-1").split(";")
    try:
        form = Form(media_type.strip().lower())
    except ValueError:
        return f"the content type {media_type.strip()[:100]!r} is not read here"
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip().strip('"').lower() not in ("utf-8", "utf8"):
            return f"the charset {value.strip()[:40]!r} is not read here; JSON is UTF-8"
    return form


def _form(content_type: bytes | None) -> Form:
    if content_type is None:
        raise _unsupported("a Content-Type is needed")
    found = _read_content_type(content_type)
    if isinstance(found, str):
        raise _unsupported(found)
    return found


def _unsupported(what: str) -> Refusal:
    return Refusal(415, "unsupported-media-type", f"{what}; use one of {ACCEPTED}", [(b"accept", ACCEPTED.encode())])


def _draft(element: object) -> Draft | GridhookError:
    if isinstance(element, GridhookError):
        return element
    try:
        return read_event(element, plain=False)
    except GridhookError as refusal:
        return refusal


def _result(index: int, answer: Publication | GridhookError) -> Result:
    if isinstance(answer, Publication):
        if answer.conflict:
            return Result(index=index, status=409, type="conflict", id=answer.id, message=TAKEN)
        return Result(index, 202, answer.id, answer.deliveries, answer.duplicate)
    # Too large is the one refusal of an element that is neither 400 nor 422: each element has its own status.
    status = answer.status if isinstance(answer, Invalid | TooLarge) else 422
    where = answer.field.removeprefix(f"/{index}") if isinstance(answer, Invalid) else ""
    message = answer.message if isinstance(answer, Invalid) else str(answer)
    return Result(index=index, status=status, type=slug_of(answer), message=message, field=where or UNSET)
