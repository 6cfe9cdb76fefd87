"""Signing in at the organisation's own OpenID Connect provider: authorization code with PKCE, state and nonce.

The provider vouches for an email address; whoever is known here under it is let in, nobody is made. This is the one part besides transport/
that talks to another server, and only to the one that the operator named: docs/adr/0009. Needs the packages of `gridhook[oidc]`.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import importlib.util
import re
import secrets as chance
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from gridhook.clock import Clock
from gridhook.config import Settings
from gridhook.errors import Forbidden, Misconfigured, TooMany, Unavailable
from gridhook.limits import Budget, TimedCache
from gridhook.model import Instant, Sealed
from gridhook.rules import contexts
from gridhook.telemetry import Log
from gridhook.vault import SealBroken, Vault

if TYPE_CHECKING:
    from authlib.integrations.httpx_client import AsyncOAuth2Client

SCOPE = "openid email"
ERRAND_SECONDS = 600  # to sign in at the provider and come back
METADATA_SECONDS = 600.0
TALK_SECONDS = 10.0
LEEWAY_SECONDS = 60  # between the provider's clock and ours
# Signatures that only the provider can make: none whose key we would share.
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
NOT_READY = "the sign-in provider could not be asked just now; try again, or sign in with your password"
START_AGAIN = "this sign-in was not begun in this browser, or too long ago; start again"
_ERROR_CODE = re.compile(r"[a-z_]{1,60}", re.ASCII)
_PACKAGES = ("authlib", "httpx2", "joserfc")


class Metadata(msgspec.Struct, frozen=True):
    """Of OpenID Connect Discovery 1.0 s3, what is used here."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    # s3: "If omitted, the default is client_secret_basic".
    token_endpoint_auth_methods_supported: list[str] = msgspec.field(default_factory=lambda: ["client_secret_basic"])


class Errand(msgspec.Struct, frozen=True, array_like=True):
    """What a browser keeps, sealed, while it is at the provider. `after`: the page that it wanted."""

    state: str
    nonce: str
    verifier: str
    after: str
    begun_at: Instant


class _Broken(Exception):
    """The provider's answer is not what its standard says; for the log."""


class SingleSignOn:
    def __init__(self, *, settings: Settings, vault: Vault, clock: Clock, log: Log, redirect_uri: str) -> None:
        """Raises `Misconfigured` when the packages are missing."""
        missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
        if missing:
            raise Misconfigured(f"GRIDHOOK_OIDC_ISSUER needs {', '.join(missing)}: pip install 'gridhook[oidc]'")
        self._settings = settings
        self._vault = vault
        self._clock = clock
        self._log = log
        self._redirect_uri = redirect_uri
        self._metadata: TimedCache[Metadata] = TimedCache(METADATA_SECONDS)
        self._budget = Budget(settings.all_sign_ins_per_minute, 60.0)

    @property
    def host(self) -> str:
        return urlsplit(self._settings.oidc_issuer).hostname or ""

    async def begin(self, after: str) -> tuple[str, str]:
        """(where to send the browser, what it is to keep meanwhile). Raises `Unavailable`, `TooMany`."""
        self._spend()
        errand = Errand(chance.token_urlsafe(32), chance.token_urlsafe(32), chance.token_urlsafe(48), after, self._clock.now())
        try:
            metadata = await self._discovered()
            async with self._client(metadata) as client:
                url, _ = client.create_authorization_url(
                    metadata.authorization_endpoint, state=errand.state, nonce=errand.nonce, code_verifier=errand.verifier
                )
        except Exception as error:
            raise self._not_ready(error) from None
        return str(url), self._sealed(errand)

    async def finish(self, kept: str, arguments: Mapping[str, str]) -> tuple[str, str]:
        """(the address that the provider vouches for, the page that was wanted). kept, arguments: what the browser brings.

        Raises `Forbidden` with a sentence for the person, `Unavailable`, `TooMany`.
        """
        errand = self._opened(kept)
        if errand is None or not hmac.compare_digest(errand.state.encode(), arguments.get("state", "").encode()):
            raise Forbidden(START_AGAIN)
        # RFC 9207: an answer that another provider sent us is not taken to this one.
        if arguments.get("iss", self._settings.oidc_issuer).rstrip("/") != self._settings.oidc_issuer.rstrip("/"):
            raise Forbidden(START_AGAIN)
        if "error" in arguments:
            code = arguments["error"]
            raise Forbidden(f"{self.host} did not let you in ({code if _ERROR_CODE.fullmatch(code) else 'it did not say why'})")
        if not arguments.get("code"):
            raise Forbidden(START_AGAIN)
        self._spend()
        try:
            claims = await self._claims(errand, arguments["code"])
        except Exception as error:
            if getattr(error, "error", "") == "invalid_grant":  # RFC 6749 s5.2: the code was used, is too old, or is another client's
                raise Forbidden(START_AGAIN) from None
            raise self._not_ready(error) from None
        email = claims.get("email")
        if not isinstance(email, str) or not email:
            raise Forbidden(f"{self.host} did not tell your email address, by which you are known here")
        # Some say it as a text. Only what is vouched for counts: anybody can claim an address.
        if claims.get("email_verified") not in (True, "true"):
            raise Forbidden(f"{self.host} has not verified that {email[:255]} is yours; have it verified there, then try again")
        return email, errand.after

    # --- talking to the provider ---

    async def _claims(self, errand: Errand, code: str) -> dict[str, Any]:
        """What the ID token says, and what the provider tells beyond it."""
        from authlib.oidc.core import CodeIDToken
        from joserfc import jwt
        from joserfc.jwk import KeySet

        metadata = await self._discovered()
        async with self._client(metadata) as client:
            token = await client.fetch_token(metadata.token_endpoint, code=code, code_verifier=errand.verifier)
            # Not kept: keys change, and people sign in seldom.
            keys = KeySet.import_key_set(_json(await client.request("GET", metadata.jwks_uri, withhold_token=True)))
            signed = jwt.decode(token["id_token"], keys, algorithms=ALGORITHMS)
            client_id = self._settings.oidc_client_id
            told = CodeIDToken(
                signed.claims,
                signed.header,
                options={"iss": {"essential": True, "value": metadata.issuer}, "aud": {"essential": True, "value": client_id}},
                params={"nonce": errand.nonce, "client_id": client_id, "access_token": token.get("access_token")},
            )
            told.validate(now=self._clock.now() // 1000, leeway=LEEWAY_SECONDS)
            claims = dict(told)
            if "email" not in claims and metadata.userinfo_endpoint:
                more = _json(await client.get(metadata.userinfo_endpoint))
                # OpenID Connect Core 1.0 s5.3.2: "The sub Claim in the UserInfo Response MUST be verified to exactly match".
                if more.get("sub") != claims["sub"]:
                    raise _Broken("userinfo is about somebody else")
                claims |= {name: more.get(name) for name in ("email", "email_verified")}
        return claims

    async def _discovered(self) -> Metadata:
        found = self._metadata.get("")
        if found is None:
            issuer = self._settings.oidc_issuer.rstrip("/")
            async with self._client(None) as client:
                answer = await client.request("GET", f"{issuer}/.well-known/openid-configuration", withhold_token=True)
            found = msgspec.convert(_json(answer), Metadata)
            if found.issuer.rstrip("/") != issuer:
                raise _Broken(f"its configuration says that it is {found.issuer}")
            endpoints = (found.authorization_endpoint, found.token_endpoint, found.jwks_uri, found.userinfo_endpoint or found.jwks_uri)
            scheme = urlsplit(issuer).scheme
            if any(urlsplit(one).scheme not in ("https", scheme) for one in endpoints):
                raise _Broken("its configuration names an address without TLS")
            self._metadata.put("", found)
        return found

    def _client(self, metadata: Metadata | None) -> AsyncOAuth2Client:
        from authlib.integrations.httpx_client import AsyncOAuth2Client

        secret = self._settings.oidc_client_secret
        offered = metadata.token_endpoint_auth_methods_supported if metadata else []
        basic = "client_secret_basic" in offered or "client_secret_post" not in offered
        method = "none" if not secret else "client_secret_basic" if basic else "client_secret_post"
        return AsyncOAuth2Client(
            self._settings.oidc_client_id,
            secret or None,
            scope=SCOPE,
            redirect_uri=self._redirect_uri,
            code_challenge_method="S256",
            token_endpoint_auth_method=method,
            timeout=TALK_SECONDS,
        )

    def _not_ready(self, error: Exception) -> Unavailable:
        """The person is told little; the operator, all."""
        self._log.error(
            "the sign-in provider's answer is of no use", issuer=self._settings.oidc_issuer, error=f"{type(error).__name__}: {error}"
        )
        return Unavailable(NOT_READY, retry_after=5)

    def _spend(self) -> None:
        wait = self._budget.take("", time.monotonic())
        if wait > 0:
            raise TooMany(f"too many people sign in just now; try again in {int(wait) + 1} s", int(wait) + 1)

    # --- what the browser keeps ---

    def _sealed(self, errand: Errand) -> str:
        return base64.urlsafe_b64encode(self._vault.seal(msgspec.json.encode(errand), contexts.oidc_errand()).blob).decode().rstrip("=")

    def _opened(self, kept: str) -> Errand | None:
        """None when there is none, it is not ours, or it is too old."""
        if not kept or len(kept) > 4000:
            return None
        try:
            blob = base64.urlsafe_b64decode(kept + "=" * (-len(kept) % 4))
            errand = msgspec.json.decode(self._vault.open_bytes(Sealed(blob), contexts.oidc_errand()), type=Errand)
        except (SealBroken, binascii.Error, ValueError):
            return None
        return errand if self._clock.now() - errand.begun_at < ERRAND_SECONDS * 1000 else None


def _json(answer: Any) -> Any:
    """An object. Raises what says that it is not one."""
    answer.raise_for_status()
    value = answer.json()
    if not isinstance(value, dict):
        raise _Broken("an answer is no JSON object")
    return value
