"""The webhook routes that AccessGrid's SDKs call (list, create, delete, verify), and two of our own beside them (get, attempts).

Shapes and statuses are those that the eight SDKs parse; what we add are members that they pass over.
"""

from __future__ import annotations

from collections.abc import Mapping

from gridhook.errors import Invalid, NotFound, Unreadable
from gridhook.model import AuthMethod, Webhook
from gridhook.rules import strict_json
from gridhook.rules.instants import rfc3339
from gridhook.service import Service
from gridhook.web import attempts
from gridhook.web.auth import Authenticator
from gridhook.web.call import Call, is_id
from gridhook.web.problems import NO_STORE, Reply, reply
from gridhook.web.routes import Route

BASE = "/v1/console/webhooks"
GONE = "Webhook not found"  # the very words that a client looks for
PER_PAGE = 50
MOST_PER_PAGE = 100
LAST_PAGE = 1_000_000


class Webhooks:
    """A handler per route; each proves the caller first, and looks only at what is the caller's."""

    def __init__(self, service: Service, authenticate: Authenticator) -> None:
        self._service = service
        self._authenticate = authenticate

    async def list(self, call: Call) -> Reply:
        caller = await self._authenticate(call)
        page = call.integer("page", 1, 1, LAST_PAGE)
        per_page = call.integer("per_page", PER_PAGE, 1, MOST_PER_PAGE)
        found = await self._service.store.webhooks(caller.account_id, offset=(page - 1) * per_page, limit=per_page)
        pagination = {
            "current_page": page,
            "per_page": per_page,
            "total_pages": -(-found.total // per_page),
            "total_count": found.total,
        }
        return reply(200, {"webhooks": [row(webhook) for webhook in found.webhooks], "pagination": pagination})

    async def create(self, call: Call) -> Reply:
        """Members that we do not know are passed over: a newer SDK may send them."""
        caller = await self._authenticate(call)
        wanted = strict_json.parse(caller.body)
        if not isinstance(wanted, dict):
            raise Unreadable("", "the body must be a JSON object with name, url and subscribed_events")
        created = await self._service.webhooks.create(
            caller.account_id,
            name=_text(wanted, "name"),
            url=_text(wanted, "url"),
            subscribed_events=_texts(wanted, "subscribed_events"),
            auth_method=_auth_method(wanted),
        )
        shown = row(created.webhook)
        if created.private_key is not None:
            shown["private_key"] = created.private_key  # here, and nowhere ever after
        return reply(201, shown)

    async def get(self, call: Call) -> Reply:
        caller = await self._authenticate(call)
        webhook = await self._webhook(caller.account_id, call)
        counts = await self._service.store.counts(caller.account_id, webhook.id)
        waiting = {"held": counts.held, "queued": counts.queued, "oldest_expires_at": _instant(counts.oldest_expires_at)}
        return reply(200, {**row(webhook), "deliveries": waiting})

    async def delete(self, call: Call) -> Reply:
        caller = await self._authenticate(call)
        webhook = await self._webhook(caller.account_id, call)
        try:
            await self._service.webhooks.delete(caller.account_id, webhook.id)
        except NotFound:
            raise NotFound(GONE) from None
        return Reply(204, b"", [NO_STORE])

    async def verify(self, call: Call) -> Reply:
        """200: it was verified already, nothing is sent. 202: a handshake runs now; ask again for how it went."""
        caller = await self._authenticate(call)
        webhook = await self._webhook(caller.account_id, call)
        verified = await self._service.webhooks.verify(caller.account_id, webhook.id)
        return reply(200 if verified else 202, {"id": webhook.id, "verified": verified})

    async def attempts(self, call: Call) -> Reply:
        caller = await self._authenticate(call)
        webhook = await self._webhook(caller.account_id, call)
        limit = call.integer("limit", attempts.LIMIT, 1, attempts.MOST)
        before = attempts.read_cursor(call.argument("cursor"), webhook.id)
        page = await self._service.store.attempts(caller.account_id, webhook.id, before=before, limit=limit)
        following = None if page.next is None else attempts.cursor(page.next, webhook.id)
        return reply(200, {"attempts": [attempts.shown(attempt) for attempt in page.attempts], "next_cursor": following})

    async def _webhook(self, account_id: str, call: Call) -> Webhook:
        """Raises `NotFound` with the same words for one that is gone, never was, or is another account's."""
        webhook_id = call.params["webhook_id"]
        if not is_id(webhook_id):
            raise NotFound(GONE)
        try:
            return await self._service.store.webhook(account_id, webhook_id)
        except NotFound:
            raise NotFound(GONE) from None


def routes(service: Service, authenticate: Authenticator) -> list[Route]:
    webhooks = Webhooks(service, authenticate)
    one = BASE + "/{webhook_id}"
    return [
        Route(BASE, {"GET": webhooks.list, "POST": webhooks.create}),
        Route(one, {"GET": webhooks.get, "DELETE": webhooks.delete}),
        Route(one + "/verify", {"POST": webhooks.verify}),
        Route(one + "/attempts", {"GET": webhooks.attempts}),
    ]


def row(webhook: Webhook) -> dict[str, object]:
    """A webhook as it is listed: nothing secret."""
    return {
        "id": webhook.id,
        "name": webhook.name,
        "url": webhook.url,
        "auth_method": webhook.auth_method.value,
        "subscribed_events": webhook.subscribed_events,
        "created_at": rfc3339(webhook.created_at),
        "status": webhook.status,
        "verified_at": _instant(webhook.verified_at),
    }


def _instant(at: int | None) -> str | None:
    return None if at is None else rfc3339(at)


def _text(wanted: Mapping[str, object], name: str) -> str:
    value = wanted.get(name)
    if value is None:
        raise Invalid(name, "is required")
    if not isinstance(value, str):
        raise Invalid(name, "must be a string")
    return value


def _texts(wanted: Mapping[str, object], name: str) -> list[str]:
    value = wanted.get(name)
    if value is None:
        raise Invalid(name, "is required: an array of event names")
    if not isinstance(value, list):
        raise Invalid(name, "must be an array of event names (strings)")
    texts = [entry for entry in value if isinstance(entry, str)]
    if len(texts) != len(value):
        raise Invalid(name, "must be an array of event names (strings)")
    return texts


def _auth_method(wanted: Mapping[str, object]) -> AuthMethod:
    value = wanted.get("auth_method")
    if value is None:
        return AuthMethod.BEARER_TOKEN
    for method in AuthMethod:
        if value == method.value:
            return method
    raise Invalid("auth_method", f"must be one of {', '.join(AuthMethod)}")
