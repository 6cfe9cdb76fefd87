"""Who calls the webhook API: X-ACCT-ID and X-PAYLOAD-SIG, as AccessGrid's SDKs send them. The rules are in `rules/api_signature`."""

from __future__ import annotations

from dataclasses import dataclass, field

from gridhook.config import Settings
from gridhook.rules import api_signature
from gridhook.service import Service
from gridhook.web.call import Call, is_id

CHALLENGE = b'AccessGrid-HMAC realm="gridhook"'


@dataclass(frozen=True, slots=True)
class Signed:
    """A proven caller and the body that was signed."""

    account_id: str
    body: bytes = field(repr=False)


class Authenticator:
    """Failed attempts are not rate limited here: a secret has 256 random bits, and the proxy in front sees the addresses."""

    def __init__(self, service: Service, settings: Settings) -> None:
        self._service = service
        self._settings = settings

    async def __call__(self, call: Call) -> Signed:
        """Raises `TooLarge` before anything is hashed; `Unauthenticated`, the same for an unknown account and a wrong
        signature; `Forbidden` for an account without webhooks in its plan; `TooMany` for one that calls too fast."""
        body = await call.body(self._settings.max_api_body_bytes)
        account_id = call.header(b"x-acct-id") or ""
        secrets = await self._service.api_secrets(account_id) if is_id(account_id) else []
        api_signature.verify(
            secrets=secrets,
            signature=call.header(b"x-payload-sig"),
            body=body,
            query=call.query,
            path=call.raw_path,
            wrapped_base64=self._settings.wrapped_base64,
            legacy_sha256=self._settings.legacy_sha256,
        )
        await self._service.require_enterprise(account_id)
        self._service.spend_call(account_id)
        return Signed(account_id, body)
