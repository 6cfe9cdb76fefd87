"""Talking to a running gridhook over HTTP, as anybody would."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPMessage
from io import BytesIO
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote, urlsplit

import pycurl

from gridhook.errors import GridhookError

CONNECT_SECONDS = 5
TOTAL_SECONDS = 60
WHERE = "is this where the server listens? (--url, PUBLISHER_URL)"


class NoAnswer(GridhookError):
    """No HTTP answer. `sent`: a connection stood, so the request may have been processed."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: HTTPMessage
    body: bytes

    def json(self) -> Any:
        """None when the body is no JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def message(self) -> str:
        """What the server said was wrong."""
        said = self.json()
        text = said.get("message") if isinstance(said, dict) else None
        return text if isinstance(text, str) else f"the server answered {self.status}"

    @property
    def retry_after(self) -> float | None:
        """Seconds to wait before the same request can succeed, None when the server does not say."""
        value = self.headers.get("Retry-After", "")
        return float(value) if value.isascii() and value.isdigit() else None


class Client:
    """One keep-alive connection to one server. Not for several threads at once."""

    def __init__(self, url: str, *, advice: str = WHERE) -> None:
        """url: the server's base. Raises `GridhookError` when it is none. advice: what to say when nobody answers."""
        try:
            parts = urlsplit(url)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in ("http", "https") or not parts.hostname or not url.isascii():
            raise GridhookError(f"{url!r} is not the base URL of a server, such as http://127.0.0.1:8080")
        self._base = url.rstrip("/")
        self._advice = advice
        # Nobody means a proxy when they say 127.0.0.1, and few list it in no_proxy.
        self._no_proxy = "*" if _is_loopback(parts.hostname) else None
        self._curl = pycurl.Curl()

    def close(self) -> None:
        self._curl.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, path: str, *, seconds: float = TOTAL_SECONDS) -> Answer:
        return self.request("GET", path, seconds=seconds)

    def publish(self, account_id: str, key: str, body: bytes, content_type: str) -> Answer:
        """POST to the account's events. Raises `NoAnswer`."""
        path = f"/v1/accounts/{quote(account_id, safe='')}/events"
        return self.request("POST", path, body, (f"Authorization: Bearer {key}", f"Content-Type: {content_type}"))

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Sequence[str] = (), *, seconds: float = TOTAL_SECONDS
    ) -> Answer:
        """path: with its query. headers: whole lines. Raises `NoAnswer`."""
        if any(not header.isascii() or character in header for header in headers for character in "\r\n\0"):
            # The header is not repeated: it may be the one with the key.
            raise GridhookError("what goes into a header (a key, an account's id) must be ASCII, without line ends")
        curl, answer, head = self._curl, BytesIO(), BytesIO()
        curl.reset()  # options only; the connection stays
        curl.setopt(pycurl.URL, self._base + path)
        curl.setopt(pycurl.USERAGENT, "gridhook-cli")
        curl.setopt(pycurl.CONNECTTIMEOUT, CONNECT_SECONDS)
        curl.setopt(pycurl.TIMEOUT_MS, int(seconds * 1000))
        curl.setopt(pycurl.NOSIGNAL, 1)
        # Called back once a second: without it Ctrl-C would wait for the answer.
        curl.setopt(pycurl.NOPROGRESS, 0)
        curl.setopt(pycurl.XFERINFOFUNCTION, lambda *_: 0)
        curl.setopt(pycurl.WRITEDATA, answer)
        curl.setopt(pycurl.HEADERFUNCTION, head.write)
        if self._no_proxy is not None:
            curl.setopt(pycurl.NOPROXY, self._no_proxy)
        # Without "Expect": one round trip, also for large batches.
        curl.setopt(pycurl.HTTPHEADER, [*headers, "Expect:"])
        if body is not None or method == "POST":
            curl.setopt(pycurl.POST, 1)
            curl.setopt(pycurl.POSTFIELDS, body or b"")
        if method not in ("GET", "POST"):
            curl.setopt(pycurl.CUSTOMREQUEST, method)
        try:
            curl.perform()
        except pycurl.error as error:
            said = error.args[1] if len(error.args) > 1 else str(error)
            raise NoAnswer(
                f"{self._base}: {said}; {self._advice}",
                sent=curl.getinfo(pycurl.CONNECT_TIME) > 0,
            ) from None
        return Answer(curl.getinfo(pycurl.RESPONSE_CODE), _fields(head.getvalue()), answer.getvalue())


def listening_url(listen: str) -> str:
    """Where a server that listens there is reached from the same machine."""
    host, _, port = listen.rpartition(":")
    everywhere = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}
    return f"http://{everywhere.get(host, host)}:{port}"


def _fields(head: bytes) -> HTTPMessage:
    """The last header section: what an interim answer said does not count."""
    fields = HTTPMessage()
    for line in head.split(b"\r\n"):
        if line.startswith(b"HTTP/"):
            fields = HTTPMessage()
        name, colon, value = line.partition(b":")
        if colon:
            fields[name.decode("latin-1")] = value.decode("latin-1").strip()
    return fields


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
