"""An OpenID Connect provider in a process of its own: `python provider.py PORT`. A real one, and in front of it what it leaves out: PKCE is
enforced, refusals carry the state, and the authorization request's parameters are kept for a test to look at (GET /last).
After GET /forge/KIND the next ID token is a forgery of that kind."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import sys
import warnings
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from wsgiref.simple_server import WSGIRequestHandler, make_server

warnings.simplefilter("ignore")  # it uses what its own libraries will drop one day

import oidc_provider_mock  # noqa: E402 (after the filter)
from joserfc import jwt  # noqa: E402 (likewise)
from joserfc.jwk import OctKey, RSAKey  # noqa: E402

Environ = dict[str, Any]
SECRET = "shared with the provider, and long enough"


class Strict:
    """The provider, refusing a code whose verifier does not fit (RFC 7636 s4.6)."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._challenges: dict[str, str] = {}
        self._last: dict[str, str] = {}
        self._kind = ""
        self._key = RSAKey.generate_key(2048, {"kid": "published", "use": "sig"})

    def __call__(self, environ: Environ, start: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/last":
            start("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(self._last).encode()]
        if path == "/favicon.ico":  # else the browser complains, about a page that is not ours
            start("204 No Content", [])
            return []
        if path.startswith("/forge/"):
            self._kind = path.removeprefix("/forge/")
            start("204 No Content", [])
            return []
        if path == "/jwks":
            status, keys = self._whole(environ)
            if self._kind:  # it is asked for after the token
                keys = {"keys": [self._key.as_dict(private=False)]}
                self._kind = ""
            return _json(start, status, keys)
        if path == "/oauth2/authorize":
            asked = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"]).items()}

            def noting(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
                where = dict(headers).get("Location", "")
                answer = parse_qs(urlsplit(where).query)
                if "code" in answer:
                    self._last = asked
                    self._challenges[answer["code"][0]] = asked["code_challenge"]
                if "error" in answer and "state" not in answer:  # RFC 6749 s4.1.2.1: required
                    headers = [(name, value) for name, value in headers if name != "Location"]
                    headers.append(("Location", f"{where}&{urlencode({'state': asked['state']})}"))
                return start(status, headers, *rest)

            found: Iterable[bytes] = self._app(environ, noting)
            return found
        if path == "/oauth2/token":
            body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            environ["wsgi.input"] = io.BytesIO(body)
            sent = parse_qs(body.decode())
            digest = hashlib.sha256(sent["code_verifier"][0].encode()).digest()
            if self._challenges.pop(sent["code"][0], None) != base64.urlsafe_b64encode(digest).decode().rstrip("="):
                start("400 Bad Request", [("Content-Type", "application/json")])
                return [b'{"error": "invalid_grant"}']
            status, token = self._whole(environ)
            if self._kind:
                token["id_token"] = self._forged(token["id_token"])
            return _json(start, status, token)
        answer: Iterable[bytes] = self._app(environ, start)
        return answer

    def _whole(self, environ: Environ) -> tuple[str, dict[str, Any]]:
        """(status, body) of what the provider answers."""
        seen = ""

        def keep(status: str, _headers: object, *_: object) -> None:
            nonlocal seen
            seen = status

        body = b"".join(self._app(environ, keep))
        return seen, json.loads(body)

    def _forged(self, token: str) -> str:
        claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        hour = 3600
        match self._kind:
            case "audience":
                claims["aud"] = "another client"
            case "nonce":
                claims["nonce"] = "of another sign-in"
            case "no-nonce":
                del claims["nonce"]
            case "issuer":
                claims["iss"] = "https://evil.example"
            case "old":
                claims |= {"iat": claims["iat"] - 2 * hour, "exp": claims["exp"] - 2 * hour}
            case "key":
                return jwt.encode({"alg": "RS256", "kid": "published"}, claims, RSAKey.generate_key(2048))
            case "secret":  # everybody who knows the client's secret could make it
                return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(SECRET), algorithms=["HS256"])
            case "unsigned":
                parts = (json.dumps(part).encode() for part in ({"alg": "none"}, claims))
                return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + "."
            case "nothing":  # shows that it is not forging as such that is refused
                pass
        return jwt.encode({"alg": "RS256", "kid": "published"}, claims, self._key)


def _json(start: Callable[..., Any], status: str, value: object) -> Iterable[bytes]:
    start(status, [("Content-Type", "application/json")])
    return [json.dumps(value).encode()]


class Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


if __name__ == "__main__":
    app = oidc_provider_mock.app(require_nonce=True)

    @app.after_request
    def plain(response: Any) -> Any:
        """Its pages ask for a style sheet from elsewhere."""
        if response.mimetype == "text/html":
            response.set_data(re.sub(rb"<link\s.*?/>", b"", response.get_data(), flags=re.DOTALL))
        return response

    with make_server("127.0.0.1", int(sys.argv[1]), Strict(app), handler_class=Silent) as server:
        server.serve_forever()
