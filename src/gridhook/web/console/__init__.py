"""What customers' engineers do with their webhooks beyond what the SDKs call: edit, pause, rotate, test, inspect, redeliver."""

from __future__ import annotations

from gridhook.errors import NotFound
from gridhook.model import Webhook
from gridhook.service import Service
from gridhook.web.auth import Authenticator
from gridhook.web.call import Call, is_id, row_id

BASE = "/v1/console/webhooks"
ONE = BASE + "/{webhook_id}"
GONE = "Webhook not found"  # the very words that a client looks for
NOT_FOUND = {404: "There is no such webhook, or it is another account's."}


class Section:
    """Some of these routes. Each handler proves the caller first, and looks only at what is the caller's."""

    def __init__(self, service: Service, authenticate: Authenticator) -> None:
        self._service = service
        self._authenticate = authenticate

    async def _webhook(self, account_id: str, call: Call) -> Webhook:
        """Raises `NotFound` with the same words for one that is gone, never was, or is another account's."""
        webhook_id = call.params["webhook_id"]
        if not is_id(webhook_id):
            raise NotFound(GONE)
        try:
            return await self._service.store.webhook(account_id, webhook_id)
        except NotFound:
            raise NotFound(GONE) from None


def number_of(text: str, gone: str) -> int:
    """The id of a row of ours. Raises `NotFound(gone)` for what cannot be one."""
    number = row_id(text)
    if number is None:
        raise NotFound(gone)
    return number
