"""The description of the API is true: schemathesis calls every route as it allows, and as it does not, with real signatures."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import io
import ipaddress
import json
import re
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, urlsplit, urlunsplit

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from requests import PreparedRequest, Session
from requests.auth import AuthBase
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi import checks as kept

from gridhook.rules.api_signature import COLLECTIONS, sign
from gridhook.rules.instants import rfc3339
from gridhook.telemetry import Log
from gridhook.testing import Receiver, Reply
from gridhook.web.call import Call
from gridhook.web.operations import Access
from gridhook.web.problems import Reply as HttpReply
from gridhook.web.routes import Route
from tests.web.world import HANG_GUARD_SECONDS, LOW, Tenant, World, running

STATIC = files("gridhook").joinpath("web", "static")
HOOKS = "/v1/console/webhooks"
CERTIFICATES = f"{HOOKS}/{{webhook_id}}/certificates"
EXAMPLES = 12  # of each route, each kind of data and each set of ids
CHECKS = [
    not_a_server_error,
    kept.status_code_conformance,
    kept.content_type_conformance,
    kept.response_headers_conformance,
    kept.response_schema_conformance,
]

# Nothing that a generated URL names is reached, nor asked of a DNS server: all but loopback is refused.
LOOPBACK = ipaddress.IPv4Network("127.0.0.0/8")
ELSEWHERE = (*map(str, ipaddress.IPv4Network("0.0.0.0/0").address_exclude(LOOPBACK)), "::/0")
GENEROUS = {"verify_per_minute": 10**6, "tests_per_minute": 10**6, "checks_per_minute": 10**6, "max_webhooks": 10**6}
QUIET_DNS = {"dns_servers": ("127.0.0.1#1",), "dns_seconds": 0.02}


@dataclass
class Live:
    """A server in a thread of its own, and what there is to ask about: one webhook that lives, and one to be deleted."""

    base_url: str
    ours: Tenant
    document: dict[str, Any]
    ids: dict[str, str]
    special: dict[str, dict[str, str]]  # for a route that must not have those ids


async def _furnished(world: World, receiver: Receiver) -> Live:
    receiver.script(Reply(500))
    created = await world.create(receiver.url)
    spare = await world.create(receiver.url)
    mtls = {"name": "mTLS", "url": "https://127.0.0.1:18009/h", "subscribed_events": [LOW["type"]], "auth_method": "mtls"}
    certified = (await world.signed("POST", HOOKS, json.dumps(mtls).encode())).json()["id"]
    issued = (await world.signed("POST", f"{HOOKS}/{certified}/certificates")).json()["id"]
    webhook_id = created["id"]
    one = f"{HOOKS}/{webhook_id}"
    await world.signed("POST", f"{one}/signing-key")
    tomorrow = rfc3339(world.gridhook.store.clock.now() + 86_400_000)
    later = await world.signed("POST", f"{one}/private-key", json.dumps({"activates_at": tomorrow}).encode())
    await world.verified(webhook_id)
    event = (await world.publish({**LOW, "id": "evt/1 ä"})).json()["id"]
    attempt = (await world.attempts(webhook_id, 2))[0]
    recovery = await world.signed("POST", f"{one}/recoveries")
    assert recovery.status == 202, recovery
    document = (await world.send("GET", "/openapi.json")).json()
    ids = {
        "webhook_id": webhook_id,
        "event_id": event,
        "attempt_id": attempt["id"],
        "delivery_id": attempt["delivery_id"],
        "recovery_id": recovery.json()["id"],
        "key_id": later.json()["id"],
        "certificate_id": issued,
        "account_id": world.ours.account_id,
        "type": LOW["type"],
        "file": "1.json",
    }
    special = {
        f"DELETE {HOOKS}/{{webhook_id}}": {"webhook_id": spare["id"]},
        "GET /docs/{file}": {"file": "start.js"},
        **{f"{method} {CERTIFICATES}": {"webhook_id": certified} for method in ("GET", "POST")},
        **{f"{method} {CERTIFICATES}/{{certificate_id}}": {"webhook_id": certified} for method in ("GET", "DELETE")},
    }
    return Live(world.base_url, world.ours, document, {name: str(value) for name, value in ids.items()}, special)


@contextmanager
def _living(data_dir: Path, log: Log) -> Iterator[Live]:
    ready: Future[Live] = Future()
    ended = threading.Event()

    async def live() -> None:
        try:
            more: dict[str, Any] = {**GENEROUS, **QUIET_DNS, "refuse_networks": ELSEWHERE, "drain_seconds": 1.0}
            async with Receiver() as receiver, running(data_dir, log, **more) as world:
                ready.set_result(await _furnished(world, receiver))
                await asyncio.to_thread(ended.wait)
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    thread = threading.Thread(target=asyncio.run, args=(live(),))
    thread.start()
    try:
        yield ready.result(HANG_GUARD_SECONDS)
    finally:
        ended.set()
        thread.join(HANG_GUARD_SECONDS)


class Signed(AuthBase):
    """Signs what really goes out, as a caller with the account's secret does."""

    def __init__(self, tenant: Tenant, access: Access) -> None:
        self._tenant = tenant
        self._access = access

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        if self._access is Access.PUBLISHER:
            request.headers["Authorization"] = f"Bearer {self._tenant.publisher_key}"
        if self._access is not Access.ACCOUNT:
            return request
        body = request.body or b""
        assert isinstance(body, str | bytes)
        raw = body.encode() if isinstance(body, str) else body
        parts = urlsplit(str(request.url))
        pairs = [pair for pair in parts.query.split("&") if pair and not pair.startswith("sig_payload")]
        if not raw.strip():
            pairs.append(f"sig_payload={quote_plus('{}')}")
        request.url = urlunsplit(parts._replace(query="&".join(pairs)))
        request.headers["X-ACCT-ID"] = self._tenant.account_id
        request.headers["X-PAYLOAD-SIG"] = sign(self._tenant.secret, raw if raw.strip() else b"{}")
        return request


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with _living(tmp_path_factory.mktemp("live"), Log(io.BytesIO())) as live:
        yield live


@pytest.mark.timeout(600)  # some thousand requests
def test_every_route_answers_only_as_it_is_described(live: Live) -> None:
    broken, seen = _tried(live, live.document)
    assert broken == []
    # It went through the doors: each route had a success among its answers, but for the one where it takes a receiver to have one.
    assert {label for label, statuses in seen.items() if all(status >= 400 for status in statuses)} == {f"POST {HOOKS}"}


def test_an_answer_that_is_not_described_would_be_noticed(live: Live) -> None:
    lacking = copy.deepcopy(live.document)
    del lacking["paths"][f"{HOOKS}/{{webhook_id}}/attempts"]["get"]["responses"]["404"]
    del lacking["components"]["schemas"]["Attempt"]["properties"]["reason"]["anyOf"]
    lacking["components"]["schemas"]["Attempt"]["properties"]["reason"]["type"] = "integer"
    broken, _ = _tried(live, lacking, only=f"GET {HOOKS}/{{webhook_id}}/attempts")
    told = "\n".join(broken)
    assert "Undocumented status code" in told
    assert "Response violates schema" in told


def _tried(live: Live, document: dict[str, Any], *, only: str | None = None) -> tuple[list[str], dict[str, set[int]]]:
    """What schemathesis finds wrong, and the statuses that each route answered."""
    load_all_checks()
    broken: list[str] = []
    seen: dict[str, set[int]] = {}
    operations = [one.ok() for one in schemathesis.openapi.from_dict(document).get_all_operations() if isinstance(one, Ok)]
    assert len(operations) == sum(len(path) for path in document["paths"].values())
    # What deletes a webhook comes last; what takes back a key or a certificate comes before what asks for another.
    taking_back = (f"{HOOKS}/{{webhook_id}}/private-key/{{key_id}}", f"{CERTIFICATES}/{{certificate_id}}")
    order = {f"DELETE {HOOKS}/{{webhook_id}}": 1, **{f"DELETE {path}": -1 for path in taking_back}}
    with Session() as session:
        for one in sorted(operations, key=lambda one: order.get(one.label, 0)):
            if only not in (None, one.label):
                continue
            names = re.findall(r"\{(\w+)\}", one.path)
            real = {name: live.ids[name] for name in names} | live.special.get(one.label, {})
            if one.method.upper() == "GET":
                # Once without any filter: generated ones leave little in a list.
                with _collecting(broken, one.label):
                    _called(live, session, one, one.Case(path_parameters=real))
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                for ids in (real, None) if names else (None,):
                    with _collecting(broken, one.label):
                        _generated(live, session, one, mode, ids, seen.setdefault(one.label, set()))
    return broken, seen


@contextmanager
def _collecting(broken: list[str], label: str) -> Iterator[None]:
    try:
        yield
    except FailureGroup as failures:
        broken += [f"{label}: {failure}" for failure in failures.exceptions]


def _generated(live: Live, session: Session, one: Any, mode: GenerationMode, ids: dict[str, str] | None, seen: set[int]) -> None:
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=one.as_strategy(generation_mode=mode, path_parameters=ids))
    def keeps_to_it(case: schemathesis.Case[Any]) -> None:
        seen.add(_called(live, session, one, case))

    try:
        keeps_to_it()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE, one.label  # there is nothing that could be sent wrongly


def _called(live: Live, session: Session, one: Any, case: schemathesis.Case[Any]) -> int:
    """The status of the answer; raises what schemathesis finds wrong with it."""
    answer = case.call(base_url=live.base_url, session=session, auth=Signed(live.ours, _access(one.definition.raw)))
    case.validate_response(answer, checks=CHECKS)
    return int(answer.status_code)


def _access(described: dict[str, Any]) -> Access:
    security = [name for wanted in described["security"] for name in wanted]
    return Access.ACCOUNT if "account" in security else Access.PUBLISHER if "publisher" in security else Access.ANYBODY


# What the description is made of


def test_a_handler_that_says_nothing_of_itself_cannot_be_put_on_a_route() -> None:
    async def silent(call: Call) -> HttpReply:
        return HttpReply(204)

    with pytest.raises(TypeError, match="no @operation"):
        Route("/silent", {"GET": silent})


def test_every_route_says_what_it_does_who_may_call_it_and_how_it_refuses(live: Live) -> None:
    operations = [told for path in live.document["paths"].values() for told in path.values()]
    assert len({told["operationId"] for told in operations}) == len(operations) >= 39
    for told in operations:
        assert told["summary"], told
        assert told["description"], told
        assert {"400", "500", "503"} <= told["responses"].keys()
        if told["security"]:
            assert {"401", "403", "413", "429"} <= told["responses"].keys(), told["operationId"]


def test_every_reference_in_the_description_leads_somewhere(live: Live) -> None:
    references = set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(live.document)))
    assert len(references) > 40
    for reference in references:
        found: Any = live.document
        for part in reference.split("/"):
            assert part in found, reference
            found = found[part]


def test_schemas_are_json_schema_and_every_example_keeps_its_own(live: Live) -> None:
    components = live.document["components"]["schemas"]
    for schema in components.values():
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})
    examples = 0
    for path in live.document["paths"].values():
        for told in path.values():
            for content in told.get("requestBody", {}).get("content", {}).values():
                whole = {"components": live.document["components"], "allOf": [content["schema"]]}
                for example in content["examples"].values():
                    jsonschema_rs.Draft202012Validator(whole).validate(example["value"])
                    examples += 1
    assert examples >= 15


async def test_the_description_is_for_any_origin_and_not_sent_twice(world: World) -> None:
    first = await world.send("GET", "/openapi.json")
    assert (first.status, first.json()["openapi"], first.headers["access-control-allow-origin"]) == (200, "3.1.0", "*")
    assert first.json()["servers"] == [{"url": "https://hooks.example.com"}]
    assert (await world.send("GET", "/openapi.json", If_None_Match=first.headers["etag"])).status == 304


async def test_a_server_that_nobody_asks_for_the_description_never_loads_what_makes_it() -> None:
    script = "import sys; from gridhook.web import build_app; import gridhook.cli; assert 'apispec' not in sys.modules"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script)
    assert await process.wait() == 0


# The page


async def test_the_page_needs_no_other_host_and_no_inline_script(world: World) -> None:
    page = await world.send("GET", "/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    html = page.body.decode()
    assert "://" not in html
    assert re.findall(r"<script(?![^>]* src=)|<style|\son\w+=", html) == []
    parts = re.findall(r'(?:src|href)="(docs/[^"]+)"', html)
    assert len(parts) == 4
    for part in parts:
        answer = await world.send("GET", f"/{part}")
        assert (answer.status, answer.headers["x-content-type-options"]) == (200, "nosniff"), part
        assert answer.headers["content-type"].startswith("text/css" if part.endswith(".css") else "text/javascript")
    for other in ("index.html", "..%2F..%2F__init__.py", "swagger-ui.LICENSE", "%00"):
        assert (await world.send("GET", f"/docs/{other}")).status == 404


def test_what_is_not_ours_is_what_its_page_says() -> None:
    listed = dict(re.findall(r"^\| `(docs/\S+)` \| `([0-9a-f]{64})` \|$", STATIC.joinpath("VENDORED.md").read_text(), re.MULTILINE))
    assert len(listed) == 5
    for name, digest in listed.items():
        assert hashlib.sha256(STATIC.joinpath(name).read_bytes()).hexdigest() == digest, name


# Signatures


def test_a_list_signature_is_good_for_its_list_only(live: Live) -> None:
    """A fixed word with more behind it, signed as an `id`, must not open what is behind it: such a signature never changes."""
    with_more_behind = {
        segment
        for path in live.document["paths"]
        if path.startswith("/v1/console/")
        for segment in path.split("/")[1:-1]
        if segment and not segment.startswith("{")
    }
    assert with_more_behind == set(COLLECTIONS)
