"""Who may see and do what in the console: every page that there is, for everybody who may stand before it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest_asyncio

from gridhook.model import LinkPurpose
from gridhook.telemetry import Log
from gridhook.web.pages.views import BASE, ONE, ROOT, WEBHOOKS
from tests.pages.cast import PASSWORD, TYPE, Cast, Fields, Params, Prepare, Who, address, casting
from tests.web.world import Answer

ANYBODY = frozenset(Who)
PEOPLE = ANYBODY - {Who.NOBODY, Who.SIGNED_OUT}
MEMBERS = PEOPLE - {Who.STRANGER, Who.REMOVED}
ADMINS = frozenset({Who.ADMIN, Who.OPERATOR})
OPERATORS = frozenset({Who.OPERATOR})
NOT_THEIRS = {Who.STRANGER, Who.REMOVED}  # to whom an account does not exist

SETTINGS = ONE + "/settings"


@dataclass(frozen=True, slots=True)
class Rule:
    """status: what those get who may. Who is not signed in is sent to the form; to strangers an account's pages do not exist;
    everybody else gets `refused`. signed_in: what those who are get instead of `status`, where that differs."""

    may: frozenset[Who]
    status: int
    refused: int = 403
    signed_in: int | None = None

    def expected(self, who: Who, path: str) -> int:
        if who in self.may:
            return self.signed_in if self.signed_in is not None and who in PEOPLE else self.status
        if who not in PEOPLE:
            return 303
        return 404 if path.startswith(BASE) and who in NOT_THEIRS else self.refused


SEEN = Rule(MEMBERS, 200)

GETS: Mapping[str, Rule] = {
    ROOT + "/static/{file}": Rule(ANYBODY, 200),
    ROOT + "/sign-in": Rule(ANYBODY, 200, signed_in=303),
    ROOT + "/link/{token}": Rule(ANYBODY, 200),
    ROOT + "/oidc": Rule(ANYBODY, 503),  # its provider is away
    ROOT + "/oidc/back": Rule(ANYBODY, 403),  # nobody came from there
    ROOT: Rule(PEOPLE, 303),
    ROOT + "/me": Rule(PEOPLE, 200),
    ROOT + "/accounts": Rule(PEOPLE, 200),
    ROOT + "/operate": Rule(OPERATORS, 200, refused=404),
    BASE: SEEN,
    BASE + "/changes": SEEN,
    BASE + "/attempts": SEEN,
    BASE + "/attempts/rows": SEEN,
    BASE + "/events/{event_id}": SEEN,
    BASE + "/catalogue": SEEN,
    BASE + "/catalogue/{type}": SEEN,
    BASE + "/check-url": Rule(ADMINS, 200, refused=404),
    WEBHOOKS: SEEN,
    WEBHOOKS + "/new": SEEN,
    ONE: SEEN,
    ONE + "/now": SEEN,
    ONE + "/created": SEEN,
    ONE + "/verification": SEEN,
    ONE + "/test": SEEN,
    ONE + "/attempts": SEEN,
    ONE + "/attempts/rows": SEEN,
    ONE + "/attempts/{attempt_id}": SEEN,
    ONE + "/attempts/{attempt_id}/payload": SEEN,
    ONE + "/deliveries": SEEN,
    ONE + "/deliveries/rows": SEEN,
    ONE + "/deliveries/recover": SEEN,
    ONE + "/deliveries/recoveries": SEEN,
    SETTINGS: SEEN,
    SETTINGS + "/certificates": SEEN,
    SETTINGS + "/certificates/{certificate_id}": SEEN,
    SETTINGS + "/authentication": Rule(ADMINS, 200),
    SETTINGS + "/delete": Rule(ADMINS, 200),
}


async def nothing(cast: Cast) -> tuple[Params, Fields]:
    return {}, {}


async def verified(cast: Cast) -> tuple[Params, Fields]:
    return {"webhook_id": (await cast.webhook()).id}, {}


async def a_sign_in(cast: Cast) -> tuple[Params, Fields]:
    await cast.service.door.set_password(await cast.link(LinkPurpose.PASSWORD), PASSWORD, "")
    return {}, {"email": f"guest{cast.count}@example.com", "password": PASSWORD}


async def a_link(cast: Cast) -> tuple[Params, Fields]:
    return {"token": await cast.link(LinkPurpose.PASSWORD)}, {"password": PASSWORD, "again": PASSWORD}


async def everywhere_else(cast: Cast) -> tuple[Params, Fields]:
    await cast.session(Who.ADMIN)
    return {}, {"session": "others"}


async def a_password(cast: Cast) -> tuple[Params, Fields]:
    for person in cast.people.values():
        token = await cast.service.people.new_link(person, LinkPurpose.PASSWORD, seconds=60)
        await cast.service.door.set_password(token, PASSWORD, "")
    return {}, {"old": PASSWORD, "password": "eleven yellow spoons", "again": "eleven yellow spoons"}


async def a_draft(cast: Cast) -> tuple[Params, Fields]:
    return {}, {"name": "New", "url": cast.receiver.url, "subscribed_events": TYPE, "auth_method": "bearer_token"}


async def an_edit(cast: Cast) -> tuple[Params, Fields]:
    webhook = await cast.webhook()
    fields = {"name": "Another name", "url": webhook.url, "subscribed_events": TYPE, "revision": str(webhook.revision)}
    return {"webhook_id": webhook.id}, fields


async def a_header(cast: Cast) -> tuple[Params, Fields]:
    return (await verified(cast))[0], {"header_name": "X-Team", "header_value": "doors"}


async def a_header_less(cast: Cast) -> tuple[Params, Fields]:
    params, fields = await a_header(cast)
    admin = await cast.session(Who.ADMIN)
    answer = await cast.post(admin, address(cast, SETTINGS + "/headers", params), {"csrf": admin.csrf, **fields})
    assert answer.status == 303
    return params, {"header_name": "X-Team"}


async def a_key(cast: Cast) -> tuple[Params, Fields]:
    return (await verified(cast))[0], {"when": "0"}


async def a_key_less(cast: Cast) -> tuple[Params, Fields]:
    webhook = await cast.webhook()
    at = cast.service.clock.now() + 3_600_000
    issued = await cast.service.webhooks.rotate_key(cast.account_id, webhook.id, activates_at=at)
    return {"webhook_id": webhook.id}, {"key_id": issued.id}


async def signed(cast: Cast) -> tuple[Params, Fields]:
    webhook = await cast.webhook()
    await cast.service.webhooks.rotate_signing_key(cast.account_id, webhook.id)
    return {"webhook_id": webhook.id}, {}


async def a_certificate(cast: Cast) -> tuple[Params, Fields]:
    webhook, _ = await cast.proving()
    return {"webhook_id": webhook.id}, {}


async def a_certificate_less(cast: Cast) -> tuple[Params, Fields]:
    webhook, _ = await cast.proving()
    issued = await cast.service.certificates.rotate(cast.account_id, webhook.id)
    return {"webhook_id": webhook.id}, {"certificate_id": issued.id}


async def a_switch(cast: Cast) -> tuple[Params, Fields]:
    webhook, _ = await cast.proving()
    return {"webhook_id": webhook.id}, {"auth_method": "bearer_token", "revision": str(webhook.revision)}


async def a_name(cast: Cast) -> tuple[Params, Fields]:
    webhook = await cast.webhook()
    return {"webhook_id": webhook.id}, {"name": webhook.name, "revision": str(webhook.revision)}


async def pending(cast: Cast) -> tuple[Params, Fields]:
    return {"webhook_id": (await cast.webhook(is_verified=False)).id}, {}


async def paused(cast: Cast) -> tuple[Params, Fields]:
    webhook = await cast.webhook()
    await cast.service.webhooks.pause(cast.account_id, webhook.id)
    return {"webhook_id": webhook.id}, {}


async def a_test(cast: Cast) -> tuple[Params, Fields]:
    return (await verified(cast))[0], {"type": TYPE}


async def an_attempt(cast: Cast) -> tuple[Params, Fields]:
    return await cast.delivered(), {}


async def an_event(cast: Cast) -> tuple[Params, Fields]:
    params = await cast.delivered()
    return params, {"webhook": params["webhook_id"], "delivery": params["delivery_id"]}


async def a_delivery(cast: Cast) -> tuple[Params, Fields]:
    params = await cast.delivered()
    return params, {"delivery": params["delivery_id"]}


async def a_recovery(cast: Cast) -> tuple[Params, Fields]:
    return await cast.delivered(), {"which": "all"}


async def a_recovery_less(cast: Cast) -> tuple[Params, Fields]:
    params = await cast.delivered()
    return {**params, "recovery_id": await cast.recovery(params["webhook_id"])}, {}


POSTS: Mapping[str, tuple[frozenset[Who], Prepare]] = {
    ROOT + "/sign-in": (ANYBODY, a_sign_in),
    ROOT + "/link/{token}": (ANYBODY, a_link),
    ROOT + "/sign-out": (PEOPLE, nothing),
    ROOT + "/me/end": (PEOPLE, everywhere_else),
    ROOT + "/me/password": (PEOPLE, a_password),
    WEBHOOKS + "/new": (ADMINS, a_draft),
    ONE + "/verification": (ADMINS, pending),
    ONE + "/pause": (ADMINS, verified),
    ONE + "/resume": (ADMINS, paused),
    ONE + "/test": (ADMINS, a_test),
    ONE + "/attempts/{attempt_id}/redeliver": (ADMINS, an_attempt),
    BASE + "/events/{event_id}/redeliver": (ADMINS, an_event),
    ONE + "/deliveries/redeliver": (ADMINS, a_delivery),
    ONE + "/deliveries/recover": (ADMINS, a_recovery),
    ONE + "/deliveries/recoveries/{recovery_id}/cancel": (ADMINS, a_recovery_less),
    SETTINGS: (ADMINS, an_edit),
    SETTINGS + "/headers": (ADMINS, a_header),
    SETTINGS + "/headers/remove": (ADMINS, a_header_less),
    SETTINGS + "/private-key": (ADMINS, a_key),
    SETTINGS + "/private-key/cancel": (ADMINS, a_key_less),
    SETTINGS + "/signing-key": (ADMINS, verified),
    SETTINGS + "/signing-key/stop": (ADMINS, signed),
    SETTINGS + "/certificates": (ADMINS, a_certificate),
    SETTINGS + "/certificates/cancel": (ADMINS, a_certificate_less),
    SETTINGS + "/authentication": (ADMINS, a_switch),
    SETTINGS + "/delete": (ADMINS, a_name),
}
AT_THE_DOOR = {ROOT + "/sign-in", ROOT + "/link/{token}"}  # forms that need no session

# What another site, an old page or a script can send in somebody's name: (csrf, headers). "": no field at all.
FORGED: Mapping[str, tuple[str | None, dict[str, str]]] = {
    "no token": (None, {}),
    "an empty token": ("", {}),
    "a made-up token": ("0" * 64, {}),
    "a token that is no ASCII": ("é" * 32, {}),
    "another session's token": ("another's", {}),
    "another site": ("own", {"Sec-Fetch-Site": "cross-site", "Origin": "http://gridhook.test"}),
    "a sister site": ("own", {"Sec-Fetch-Site": "same-site"}),
    "another origin": ("own", {"Origin": "https://evil.example"}),
    "an origin with another port": ("own", {"Origin": "http://gridhook.test:8080"}),
    "a sandbox": ("own", {"Origin": "null"}),
    "text": ("own", {"Content-Type": "text/plain"}),
    "JSON": ("own", {"Content-Type": "application/json"}),
}


@pytest_asyncio.fixture(loop_scope="session")
async def cast(tmp_path: Path, quiet_log: Log) -> AsyncIterator[Cast]:
    async with casting(tmp_path, quiet_log) as cast:
        yield cast


def routes(cast: Cast, method: str) -> list[str]:
    """Without those that lead on to the address without its last slash, whatever stands there."""
    return [route.path for route in cast.pages if method in route.handlers and not route.path.endswith("/")]


async def test_for_every_page_it_is_written_here_who_may(cast: Cast) -> None:
    assert sorted(routes(cast, "GET")) == sorted(GETS)
    assert sorted(routes(cast, "POST")) == sorted(POSTS)
    assert {method for route in cast.pages for method in route.handlers} == {"GET", "POST"}


def complaints(answer: Answer) -> list[str]:
    """What is wrong with an answer, whoever got it."""
    headers, kind = answer.headers, answer.headers.get("content-type", "")
    wrong = []
    if answer.status != 303 and "immutable" not in headers.get("cache-control", "") and kind.partition(";")[0] != "image/svg+xml":
        wrong += [] if headers.get("cache-control") == "no-store" else ["a cache may keep it"]
    if kind.startswith("text/html"):
        policy = headers.get("content-security-policy", "")
        for part in ("default-src 'none'", "script-src 'self'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"):
            wrong += [] if part in policy.split("; ") else [f"no {part}"]
        wrong += ["a policy with a hole"] if "unsafe" in policy or "*" in policy else []
        wrong += [] if headers.get("referrer-policy") == "same-origin" else ["it tells where one came from"]
    if kind:
        wrong += [] if headers.get("x-content-type-options") == "nosniff" else ["its type may be guessed"]
    return wrong


async def test_every_page_is_shown_to_those_who_may_and_to_nobody_else(cast: Cast) -> None:
    params = await cast.delivered()
    proving, certificate_id = await cast.proving()
    wrong = []
    for path, rule in GETS.items():
        known = {**params, "type": TYPE, "file": "icon.svg", "certificate_id": f"{certificate_id}.pem"}
        if "certificate" in path:
            known["webhook_id"] = proving.id
        for who in Who:
            session = await cast.session(who)
            token = await cast.link() if "{token}" in path else ""
            answer = await cast.get(session, address(cast, path, {**known, "token": token}))
            if answer.status != rule.expected(who, path):
                wrong.append(f"{path}: {who} got {answer.status}, not {rule.expected(who, path)}")
            if who not in rule.may and who not in PEOPLE and not answer.headers["location"].startswith(f"{ROOT}/sign-in?next="):
                wrong.append(f"{path}: {who} is sent to {answer.headers['location']}")
            wrong += [f"{path}: {who}: {one}" for one in complaints(answer)]
    assert wrong == [], "\n".join(wrong)


async def test_every_form_is_taken_from_those_who_may_and_changes_nothing_for_anybody_else(cast: Cast) -> None:
    wrong = []
    for path, (may, prepare) in POSTS.items():
        params, fields = await prepare(cast)
        target = address(cast, path, params)
        sessions = {who: await cast.session(who) for who in Who}
        before = cast.snapshot()
        for who in set(Who) - may:
            answer = await cast.post(sessions[who], target, {"csrf": sessions[who].csrf, **fields})
            expected = 303 if who not in PEOPLE else 404 if path.startswith(BASE) and who in NOT_THEIRS else 403
            if answer.status != expected or (expected == 303 and answer.headers["location"].partition("?")[0] != f"{ROOT}/sign-in"):
                wrong.append(f"{path}: {who} got {answer.status}, not {expected}")
            wrong += [f"{path}: {who}: {one}" for one in complaints(answer)]
        if cast.snapshot() != before:
            wrong.append(f"{path}: something changed for those who may not")
        for who in may:
            params, fields = await prepare(cast)
            session = await cast.session(who)
            before = cast.snapshot()
            csrf = cast.door.csrf if path in AT_THE_DOOR else session.csrf
            answer = await cast.post(session, address(cast, path, params), {"csrf": csrf, **fields})
            if answer.status != 303 or (answer.headers["location"].startswith(f"{ROOT}/sign-in") and path != f"{ROOT}/sign-out"):
                wrong.append(f"{path}: {who}, who may, got {answer.status}")
            # Or this would prove nothing above.
            if cast.snapshot() == before:
                wrong.append(f"{path}: nothing changed for {who}")
    assert wrong == [], "\n".join(wrong)


async def test_no_form_is_taken_that_is_not_of_this_session_and_this_site(cast: Cast) -> None:
    wrong = []
    another = await cast.session(Who.ADMIN)
    for path, (_, prepare) in POSTS.items():
        params, fields = await prepare(cast)
        target = address(cast, path, params)
        session = await cast.session(Who.ADMIN)
        known = {"own": cast.door.csrf if path in AT_THE_DOOR else session.csrf, "another's": another.csrf}
        before = cast.snapshot()
        for name, (csrf, headers) in FORGED.items():
            sent = fields if csrf is None else {"csrf": known.get(csrf, csrf), **fields}
            answer = await cast.post(session, target, sent, **headers)
            expected = 400 if "Content-Type" in headers else 403
            if answer.status != expected:
                wrong.append(f"{path}: {name}: {answer.status}, not {expected}")
            wrong += [f"{path}: {name}: {one}" for one in complaints(answer)]
        if cast.snapshot() != before:
            wrong.append(f"{path}: something changed")
    assert wrong == [], "\n".join(wrong)


async def test_an_account_without_webhooks_in_its_plan_has_no_page_and_no_form_for_its_own_admins(cast: Cast) -> None:
    params = {**await cast.delivered(), "type": TYPE, "certificate_id": "x", "recovery_id": "x"}
    await cast.service.set_enterprise(cast.account_id, False)
    admin = await cast.session(Who.ADMIN)
    before = cast.snapshot()
    for path in routes(cast, "GET"):
        if path.startswith(BASE):
            assert (await cast.get(admin, address(cast, path, params))).status == 403, path
    for path in routes(cast, "POST"):
        if path.startswith(BASE):
            assert (await cast.post(admin, address(cast, path, params), {"csrf": admin.csrf})).status == 403, path
    assert cast.snapshot() == before
    assert (await cast.get(await cast.session(Who.OPERATOR), address(cast, BASE, {}))).status == 200


async def test_things_of_another_account_are_not_there_under_ones_own(cast: Cast) -> None:
    """Their ids below an address of ours: every page and every form that names one."""
    theirs = {**await cast.delivered(), "type": TYPE, "recovery_id": "x", "account_id": cast.world.theirs.account_id}
    proving, theirs["certificate_id"] = await cast.proving()
    stranger = await cast.session(Who.STRANGER)  # an admin, there
    before = cast.snapshot()
    ids = ("{webhook_id}", "{event_id}", "{attempt_id}")
    for path in routes(cast, "GET"):
        if any(one in path for one in ids):
            params = {**theirs, "webhook_id": proving.id} if "certificate" in path else theirs
            assert (await cast.get(stranger, address(cast, path, params))).status == 404, path
    for path in routes(cast, "POST"):
        if any(one in path for one in ids):
            fields = {"csrf": stranger.csrf, "webhook": theirs["webhook_id"], "delivery": theirs["delivery_id"]}
            assert (await cast.post(stranger, address(cast, path, theirs), fields)).status == 404, path
    assert (await cast.get(stranger, address(cast, BASE + "/changes", theirs) + f"?webhook={theirs['webhook_id']}")).status == 404
    assert cast.snapshot() == before
