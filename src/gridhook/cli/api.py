"""The running server's API, called as a customer calls it: signed with the account's secret, which the local database has.

What a running server must carry out (a handshake, a test, a resume that drains gently) goes this way. What came of it is then shown
from the database, like everything else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from gridhook.cli.client import Answer, Client, NoAnswer, listening_url
from gridhook.cli.database import with_service
from gridhook.config import Settings
from gridhook.errors import GridhookError, Unavailable
from gridhook.rules.api_signature import sign
from gridhook.service import Service

WEBHOOKS = "/v1/console/webhooks"
START = "start it with `gridhook serve`, or say where it listens (--server, PUBLISHER_URL, GRIDHOOK_LISTEN)"


class Refused(GridhookError):
    """The server's refusal, in its own words."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.answered = status


class Api:
    """Calls of one account to one server."""

    def __init__(self, url: str, account_id: str, secret: str) -> None:
        self.url = url
        self._account_id = account_id
        self._secret = secret
        self._client = Client(url, advice=START)

    @classmethod
    def open(cls, account_id: str, url: str | None) -> Api:
        """With the account's oldest live secret: a running server knows it for certain. url None: where this server listens by its
        settings. Raises `NotFound` for an unknown account."""
        settings = Settings.from_environment()

        async def secrets(service: Service) -> list[str]:
            await service.account(account_id)
            return await service.api_secrets(account_id)

        found = with_service(secrets, settings)
        if not found:
            raise Unavailable(f"account {account_id} has no API secret; make one with `gridhook accounts secret add {account_id}`")
        return cls(url or listening_url(settings.listen), account_id, found[0])

    def get(self, path: str, query: Mapping[str, object] | None = None) -> Any:
        return self._call("GET", path, None, query)

    def post(self, path: str, body: Mapping[str, object] | None = None) -> Any:
        return self._call("POST", path, body or {})

    def patch(self, path: str, body: Mapping[str, object], *, if_match: str | None = None) -> Any:
        return self._call("PATCH", path, body, if_match=if_match)

    def delete(self, path: str) -> Any:
        return self._call("DELETE", path, None)

    def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None,
        query: Mapping[str, object] | None = None,
        *,
        if_match: str | None = None,
    ) -> Any:
        """The answer's JSON, None where it has none. path: below /v1/console/webhooks; see `under`. Raises `Refused`, `NoAnswer`."""
        arguments = dict(query or {})
        if body is None:
            # Bound to the last id of the path, so that this signature is good for nothing else. Ids have "_", our routes' words none;
            # what was typed and has none is no id, as the server will say.
            ids = [part for part in path.split("/") if "_" in part]
            payload = json.dumps({"id": ids[-1]} if ids else {}).encode()
            arguments["sig_payload"] = payload.decode()
        else:
            payload = json.dumps(body).encode()
        target = WEBHOOKS + path + (f"?{urlencode(arguments)}" if arguments else "")
        headers = [f"X-ACCT-ID: {self._account_id}", f"X-PAYLOAD-SIG: {sign(self._secret, payload)}", "Content-Type: application/json"]
        if if_match is not None:
            headers.append(f"If-Match: {if_match}")
        try:
            answer = self._client.request(method, target, None if body is None else payload, headers)
        except NoAnswer as error:
            if error.sent and method != "GET":
                raise NoAnswer(f"{error}; it may have been done all the same: look before you repeat it", sent=True) from None
            raise
        if answer.status >= 300:
            raise Refused(self._words(answer), answer.status)
        return answer.json()

    def _words(self, answer: Answer) -> str:
        if answer.status == 401:
            return f"{self.url} does not know this account's secret: it serves another database than this command reads"
        if answer.status == 404 and answer.json() is None:
            return f"{self.url} is not the base URL of a gridhook server"
        request_id = answer.headers.get("X-Request-ID")
        return f"{answer.message} ({request_id})" if answer.status >= 500 and request_id else answer.message


def under(*parts: str) -> str:
    """The path below the webhooks: `under(webhook, "verify")`."""
    return "".join(f"/{quote(part, safe='')}" for part in parts)
