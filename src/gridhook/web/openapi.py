"""Our OpenAPI 3.1 document, made from what the routes tell of themselves and the schemas of the types that bodies are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from gridhook import __version__
from gridhook.web.operations import Access, Answer, Body, Operation, Parameter
from gridhook.web.routes import Route
from gridhook.web.shapes.problems import Problem
from gridhook.web.shapes.publishing import BatchProblem

REF = "#/components/schemas/{name}"
JSON = "application/json"

_ABOUT = """\
Webhooks that AccessGrid sends: manage them (customers' engineers, with AccessGrid's SDKs or by hand), publish events (the platform's own
services).

Every refusal is one object, with `message` for people, `type` and `status` for programs, and `field` when something is at fault. `HEAD`
works wherever `GET` does, `OPTIONS` answers 204 with `Allow`, other methods get 405. A request that is no HTTP/1.1 gets 400, one that
arrives too slowly 408, one with more than 64 KiB of head 431, each on a connection that is then closed."""

_SIGNATURE = """\
`hex(HMAC-SHA256(secret, base64(P)))`. P is the body, byte for byte, if there is one; else the value of the query parameter
`sig_payload`, which must then be there exactly once: `{}`, or better an object whose `id` is a segment of the path, such as
`{"id": "wh_..."}`. The base64 is the standard one, padded, on one line."""

_SIG_PAYLOAD = Parameter(
    "sig_payload", 'What is signed when there is no body: an object such as `{"id": "wh_..."}`, or `{}`.', {"type": "string"}, example="{}"
)

# Refusals that any call can meet, and those that come with an access.
_ALWAYS = {
    400: "The request cannot be read.",
    500: "A defect of ours; quote the request id.",
    503: "Nothing was done or kept; come back after `Retry-After` seconds.",
}
_BY_ACCESS: Mapping[Access, Mapping[int, str]] = {
    Access.ANYBODY: {},
    Access.ACCOUNT: {
        401: "The signature is missing or wrong, or the account is unknown; the same words whichever it was.",
        403: "The account has no webhooks in its plan.",
        413: "The body has more bytes than are read here.",
        422: "Readable, but against a rule; `field` says where.",
        429: "Too many calls; come back after `Retry-After` seconds.",
    },
    Access.PUBLISHER: {
        401: "The publisher key is missing, unknown or revoked.",
        403: "The publisher key is another account's.",
        413: "The body or the event is over its limit.",
        429: "Events come too fast; come back after `Retry-After` seconds.",
    },
}
_SECURITY: Mapping[Access, list[dict[str, list[str]]]] = {
    Access.ANYBODY: [],
    Access.ACCOUNT: [{"account": [], "signature": []}],
    Access.PUBLISHER: [{"publisher": []}],
}
_SCHEMES: Mapping[str, Mapping[str, str]] = {
    "account": {"type": "apiKey", "in": "header", "name": "X-ACCT-ID", "description": "The account's id."},
    "signature": {"type": "apiKey", "in": "header", "name": "X-PAYLOAD-SIG", "description": _SIGNATURE},
    "publisher": {"type": "http", "scheme": "bearer", "description": "A publisher key (`ghp_...`), made by the operator."},
}
_HEADERS: Mapping[str, Mapping[str, Any]] = {
    "X-Request-ID": {"description": "Names this call; yours, if you sent one.", "required": True, "schema": {"type": "string"}},
    "ETag": {"description": "Stands for the state that is shown.", "required": True, "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds.", "required": True, "schema": {"type": "integer", "minimum": 0}},
    "WWW-Authenticate": {"description": "Which proof is wanted.", "required": True, "schema": {"type": "string"}},
}
_OF_REFUSALS: Mapping[int, tuple[str, ...]] = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}


def document(routes: Iterable[Route], base_url: str) -> dict[str, Any]:
    """The whole document, for a server at `base_url`. The console's pages are not in it: they are no API."""
    from apispec import APISpec  # here, because only the first reader of the document needs it

    routes = [route for route in routes if not route.is_page]
    spec = APISpec(
        title="gridhook",
        version=__version__,
        openapi_version="3.1.0",
        info={"description": _ABOUT, "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        servers=[{"url": base_url}],
        tags=[{"name": name} for name in dict.fromkeys(told.tag for route in routes for told in route.operations.values())],
    )
    for name, scheme in _SCHEMES.items():
        spec.components.security_scheme(name, dict(scheme))
    for name, header in _HEADERS.items():
        spec.components.header(name, dict(header))
    schemas = _Schemas(routes)
    for name, schema in schemas.components.items():
        spec.components.schema(name, schema)
    seen: set[str] = set()
    for route in routes:
        operations = {}
        for method, told in route.operations.items():
            operation_id = told.id if told.id not in seen else told.id + "".join(part.capitalize() for part in _words(route.path))
            seen.add(operation_id)
            operations[method.lower()] = _operation(route, told, operation_id, schemas)
        spec.path(path=route.path, operations=operations)
    return spec.to_dict()


class _Schemas:
    """The types of all bodies, each described once and referred to by name."""

    def __init__(self, routes: Iterable[Route]) -> None:
        wanted: list[Any] = [Problem, BatchProblem]
        for route in routes:
            for told in route.operations.values():
                for answer in told.answers.values():
                    wanted += answer.shape if isinstance(answer.shape, tuple) else [answer.shape] if answer.shape is not None else []
                wanted += told.body.shapes.values() if told.body is not None else []
        distinct = [shape for at, shape in enumerate(wanted) if shape not in wanted[:at]]
        found, self.components = msgspec.json.schema_components(distinct, ref_template=REF)
        self._found = list(zip(distinct, found, strict=True))

    def of(self, shape: Any) -> dict[str, Any]:
        if isinstance(shape, tuple):
            return {"anyOf": [self.of(one) for one in shape]}
        return next(schema for known, schema in self._found if known is shape or known == shape)


def _operation(route: Route, told: Operation, operation_id: str, schemas: _Schemas) -> dict[str, Any]:
    parameters = [*told.parameters]
    if told.access is Access.ACCOUNT and not (told.body is not None and told.body.required):
        parameters.append(_SIG_PAYLOAD)
    shown: dict[str, Any] = {
        "operationId": operation_id,
        "tags": [told.tag],
        "summary": told.summary,
        "description": told.description,
        "security": _SECURITY[told.access],
        "parameters": [
            *({"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}} for name in route.parameters),
            *(_parameter(parameter, told) for parameter in parameters),
        ],
        "responses": _responses(told, schemas),
    }
    if told.body is not None:
        shown["requestBody"] = _body(told.body, schemas)
    return shown


def _parameter(parameter: Parameter, told: Operation) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        "required": parameter is _SIG_PAYLOAD and told.body is None,
        "schema": dict(parameter.schema),
    }
    if parameter.example is not None:
        shown["example"] = parameter.example
    return shown


def _body(body: Body, schemas: _Schemas) -> dict[str, Any]:
    content = {}
    for media, shape in body.shapes.items():
        examples = {name: {"value": value} for name, (of, value) in body.examples.items() if of == media}
        content[media] = {"schema": schemas.of(shape), "examples": examples}
    return {"required": body.required, "content": content}


def _responses(told: Operation, schemas: _Schemas) -> dict[str, Any]:
    refusals = {**_ALWAYS, **_BY_ACCESS[told.access], **told.refusals}
    shown = {status: _answer(answer, schemas) for status, answer in told.answers.items()}
    for status, when in refusals.items():
        if status not in shown:
            batch = told.access is Access.PUBLISHER and status in (409, 422)
            shape = (Problem, BatchProblem) if batch else Problem
            shown[status] = _answer(Answer(when, shape, headers=_OF_REFUSALS.get(status, ())), schemas)
    return {str(status): shown[status] for status in sorted(shown)}


def _answer(answer: Answer, schemas: _Schemas) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "description": answer.description,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-ID", *answer.headers)},
    }
    if answer.has_body:
        content: dict[str, Any] = {"schema": schemas.of(answer.shape)} if answer.shape is not None else {}
        shown["content"] = {answer.media: content, **{media: {} for media in answer.also}}
    return shown


def _words(path: str) -> list[str]:
    return [word for word in path.replace("{", "").replace("}", "").replace(".", "/").split("/") if word]
