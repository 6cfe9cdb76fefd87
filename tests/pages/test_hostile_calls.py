"""Whatever is sent to a page of the console: an answer that says what is wrong with it, and never a defect of ours."""

from __future__ import annotations

import io
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import pytest
import pytest_asyncio

from gridhook.telemetry import Log
from gridhook.web.call import Call
from gridhook.web.pages.forms import Form
from gridhook.web.pages.views import BASE, ROOT
from tests.pages.cast import FORM, TYPE, Cast, Session, Who, address, casting
from tests.pages.test_who_may import AT_THE_DOOR, POSTS, complaints
from tests.web.world import Answer

# As they stand in an address or a form, percent-encoded.
HOSTILE = (
    "",
    "%00",
    "%0d%0aSet-Cookie:%20a=b",
    "%ff%fe",
    "%ed%a0%80",  # a lone surrogate in UTF-8
    "%u0041%zz%",
    "%E2%80%AE%F0%9F%92%A5",
    "%22%3E%3Cscript%3Ealert(1)%3C/script%3E",
    "%7B%7B7*7%7D%7D%7B%25%20x%20%25%7D",
    "'%20OR%201=1--",
    "%25%5F%5C",
    "..%2F..%2Fetc%2Fpasswd",
    "-1",
    "0",
    "9223372036854775807",
    "9223372036854775808",
    "99999999999999999999999999",
    "1e308",
    "nan",
    "-inf",
    "%D9%A3",  # a digit that is no ASCII
    "1_0",
    "0001-01-01T00:00",
    "9999-12-31T23:59:59.999-23:59",
    "2026-02-30T25:61",
    "%5B1%5D",
    "{}",
    "x" * 3000,
)
FEW = HOSTILE[::4]
UNREADABLE = (
    b"",
    b"\xff\xfe\x00",
    b"=",
    b"&" * 1000,
    b"a=1&" * 501,
    b"csrf=\xff",
    b"%ff=%ed%a0%80",
    b'{"csrf": "x"}',
    b"x=" + b"y" * 100_000,
)


@dataclass(frozen=True)
class Written:
    """What the server logs."""

    log: Log
    stream: io.BytesIO


@pytest_asyncio.fixture(loop_scope="session")
async def told(tmp_path: Path) -> AsyncIterator[tuple[Cast, Written]]:
    written = io.BytesIO()
    log = Log(written)
    async with casting(
        tmp_path, log, verify_per_minute=10**6, max_webhooks=5000, sign_ins_per_minute=10**6, all_sign_ins_per_minute=10**6
    ) as cast:
        yield cast, Written(log, written)


def wrong_with(answer: Answer, of: str) -> list[str]:
    found = [f"{of}: {one}" for one in complaints(answer)]
    kind = answer.headers.get("content-type", "")
    if answer.status >= 500 and answer.status != 503:
        found.append(f"{of}: {answer.status}")
    if answer.status >= 400 and kind.startswith("application/json"):
        found += [] if answer.json()["status"] == answer.status else [f"{of}: no problem"]
    elif answer.status >= 400 and not kind.startswith("text/html"):
        found.append(f"{of}: {answer.status} is of type {kind!r}")
    if b"<script>alert" in answer.body or b"49{%" in answer.body:
        found.append(f"{of}: it is given back as it came")
    if "a" in [line.partition("=")[0] for name, line in answer.all_headers if name == "set-cookie"]:
        found.append(f"{of}: it became a header")
    location = answer.headers.get("location", "")
    if location and not re.match(r"/console(/|\?|$)", location):
        found.append(f"{of}: it leads to {location}")
    return found


def defects(written: Written) -> list[str]:
    """Asked for at the end: nothing is logged afterwards."""
    written.log.close()  # it writes when it has time
    lines = [json.loads(line) for line in written.stream.getvalue().decode().splitlines()]
    return [line["traceback"] for line in lines if "traceback" in line]


async def things(cast: Cast) -> dict[str, str]:
    params = await cast.delivered()
    steps = {name: "x" for route in cast.pages if route.path.endswith("/") for name in route.parameters}  # a page with a slash too many
    return {**params, **steps, "type": TYPE, "file": "icon.svg", "certificate_id": "x", "token": "x", "recovery_id": "x"}


def reads(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The names that pages look for in a question or a form, from now on: a new one cannot be forgotten here."""
    asked: set[str] = set()

    def listening(kind: type, method: str) -> None:
        original = getattr(kind, method)

        def listened(self: object, name: str, *more: object) -> object:
            asked.add(name)
            return original(self, name, *more)

        monkeypatch.setattr(kind, method, listened)

    listening(Call, "argument")
    for method in ("text", "raw", "all", "number"):
        listening(Form, method)
    return asked


async def test_an_address_with_anything_in_it_is_answered(told: tuple[Cast, Written]) -> None:
    cast, written = told
    params = await things(cast)
    operator = await cast.session(Who.OPERATOR)
    wrong = []
    for route in cast.pages:
        for name in route.parameters:
            for value in HOSTILE if name != "account_id" else FEW:
                target = address(cast, route.path, {**params, name: value})
                for method in route.handlers:
                    sent = cast.get(operator, target) if method == "GET" else cast.post(operator, target, {"csrf": operator.csrf})
                    wrong += wrong_with(await sent, f"{method} {target}"[:200])
    assert [*wrong, *defects(written)] == [], "\n".join([*wrong, *defects(written)])


async def test_a_question_with_anything_in_it_is_answered(told: tuple[Cast, Written], monkeypatch: pytest.MonkeyPatch) -> None:
    cast, written = told
    params = await things(cast)
    operator = await cast.session(Who.OPERATOR)
    asked = reads(monkeypatch)
    wrong = []
    for route in cast.pages:
        if "GET" not in route.handlers or route.path.startswith(f"{ROOT}/static/"):
            continue
        target = address(cast, route.path, params)
        asked.clear()
        await cast.get(operator, target)
        for turn, name in enumerate(sorted(asked)):
            # Where many fields are read by the same code, not each of them with each value.
            for value in HOSTILE if len(asked) < 5 else HOSTILE[turn % 4 :: 4]:
                answer = await cast.get(operator, f"{target}?{name}={value}")
                wrong += wrong_with(answer, f"GET {target}?{name}={value}"[:200])
    assert [*wrong, *defects(written)] == [], "\n".join([*wrong, *defects(written)])


async def test_a_form_with_anything_in_it_is_answered(told: tuple[Cast, Written], monkeypatch: pytest.MonkeyPatch) -> None:
    cast, written = told
    asked = reads(monkeypatch)
    wrong = []
    for path, (_, prepare) in POSTS.items():
        params, fields = await prepare(cast)
        session = await cast.session(Who.ADMIN)
        csrf = cast.door.csrf if path in AT_THE_DOOR else session.csrf
        target = address(cast, path, params)
        asked.clear()
        # Without what it needs, so that what it is about is still there.
        await cast.post(session, target, {"csrf": csrf})
        for turn, name in enumerate(sorted({*fields, *asked} - {"csrf"})):
            for value in HOSTILE[turn % 3 :: 3]:
                # Of a repeated field the first counts.
                body = f"csrf={csrf}&{name}={value}&{urlencode(fields)}".encode()
                answer = await cast.world.raw(head("POST", target, session, f"Content-Type: {FORM}", f"Content-Length: {len(body)}") + body)
                wrong += wrong_with(answer, f"POST {path} {name}={value}"[:200])
                if answer.status == 303 and answer.headers["location"].startswith(BASE.partition("{")[0]):
                    # It may be told on the next page.
                    wrong += wrong_with(await cast.get(session, answer.headers["location"]), f"POST {path} {name}={value}, then"[:200])
    assert [*wrong, *defects(written)] == [], "\n".join([*wrong, *defects(written)])


async def test_a_body_that_is_no_form_is_refused(told: tuple[Cast, Written]) -> None:
    cast, written = told
    webhook = await cast.webhook()
    admin = await cast.session(Who.ADMIN)
    before = cast.snapshot()
    wrong = []
    for path, session in (
        (f"{ROOT}/sign-in", cast.door),
        (f"{ROOT}/me/password", admin),
        (f"/console/a/{cast.account_id}/webhooks/{webhook.id}/settings", admin),
    ):
        for body in (*UNREADABLE, f"csrf={session.csrf}&x={'y' * 70_000}".encode(), f"csrf=x&csrf={session.csrf}".encode()):
            chunks = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"
            for framing, sent in ((f"Content-Length: {len(body)}", body), ("Transfer-Encoding: chunked", chunks)):
                answer = await cast.world.raw(head("POST", path, session, f"Content-Type: {FORM}", framing) + sent)
                wrong += wrong_with(answer, f"POST {path} {body[:40]!r}")
                wrong += [] if answer.status in (400, 403, 413) else [f"POST {path} {body[:40]!r}: {answer.status}"]
        for kind in ("multipart/form-data; boundary=x", "text/plain", "application/json", f"{FORM}x", "", "\xff"):
            body = f"csrf={session.csrf}".encode()
            answer = await cast.world.raw(head("POST", path, session, f"Content-Type: {kind}", f"Content-Length: {len(body)}") + body)
            wrong += wrong_with(answer, f"POST {path} as {kind}")
            wrong += [] if answer.status == 400 else [f"POST {path} as {kind}: {answer.status}"]
    assert cast.snapshot() == before
    assert [*wrong, *defects(written)] == [], "\n".join([*wrong, *defects(written)])


async def test_other_methods_say_what_is_taken_and_other_addresses_that_there_is_nothing(told: tuple[Cast, Written]) -> None:
    cast, written = told
    params = await things(cast)
    admin = await cast.session(Who.ADMIN)
    before = cast.snapshot()
    wrong = []
    for route in cast.pages:
        target = address(cast, route.path, params)
        for method in ("PUT", "PATCH", "DELETE", "PROPFIND"):
            answer = await cast.get(admin, target, method)
            wrong += wrong_with(answer, f"{method} {target}")
            if answer.status != 405 or "OPTIONS" not in answer.headers["allow"]:
                wrong.append(f"{method} {target}: {answer.status}")
        answer = await cast.get(admin, target, "OPTIONS")
        wrong += [] if answer.status == 204 and answer.body == b"" else [f"OPTIONS {target}: {answer.status}"]
    for target in (
        f"{ROOT}/nothing",
        f"{ROOT}//evil.example",
        f"{ROOT}//evil.example/",
        f"{ROOT}/a/{cast.account_id}/nothing/%3Cscript%3Ealert(1)",
    ):
        answer = await cast.get(admin, target)
        assert answer.status == 404
        assert answer.headers["content-type"].startswith("text/html")
        wrong += wrong_with(answer, target)
    assert cast.snapshot() == before
    assert [*wrong, *defects(written)] == [], "\n".join([*wrong, *defects(written)])


async def test_of_what_breaks_with_us_a_page_tells_nothing_but_where_to_look(
    told: tuple[Cast, Written], monkeypatch: pytest.MonkeyPatch
) -> None:
    cast, written = told
    admin = await cast.session(Who.ADMIN)

    async def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("the inner life of gridhook")

    monkeypatch.setattr(cast.world.gridhook.store, "standing", broken)
    answer = await cast.get(admin, f"/console/a/{cast.account_id}")
    assert answer.status == 500
    assert complaints(answer) == []
    assert b"inner life" not in answer.body
    assert answer.headers["x-request-id"].encode() in answer.body
    (trace,) = defects(written)
    assert "the inner life of gridhook" in trace


def head(method: str, target: str, session: Session, *lines: str) -> bytes:
    told = (f"{method} {target} HTTP/1.1", "Host: gridhook.test", f"Cookie: {session.cookie}", *lines)
    return "\r\n".join(told).encode("latin-1") + b"\r\n\r\n"
