"""Settings from the environment: every field has its unit in its name, a default and one line of doc.

`gridhook serve --help` prints them as a table.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import msgspec

from gridhook.errors import Misconfigured

PREFIX = "GRIDHOOK_"


def _setting(default: Any, doc: str, secret: bool = False, within: tuple[float, float] | None = None) -> Any:
    """within: the least and the most that it may be."""
    if within is not None:
        doc += f" ({within[0]} to {within[1]})"
    return field(default=default, metadata={"doc": doc, "secret": secret, "within": within}, repr=not secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One process's configuration. Field `x_y` is read from `GRIDHOOK_X_Y`; lists are comma-separated."""

    # where things are
    data_dir: str = _setting("gridhook-data", "directory of the embedded database and the master key; made on first start, mode 0700")
    database_url: str = _setting(
        "",
        "empty: SQLite in the data directory; else sqlite:///relative/path, sqlite:////absolute/path or postgresql://user:password@host/name",
        secret=True,
    )
    listen: str = _setting("127.0.0.1:8080", "host:port of the HTTP server")
    public_url: str = _setting("", "base of the URLs that receivers see (dataschema); empty: http://<listen>")
    ca_file: str = _setting(
        "", "PEM bundle of the CAs that receivers' certificates are checked against; empty: the system's, else certifi's"
    )

    # secrets
    master_key: str = _setting("", "master keys as id:base64 of 32 bytes, comma-separated, first seals; empty: the key file", secret=True)
    master_key_file: str = _setting(
        "", "file with the same lines; empty: <data dir>/master.key, made on first start for the embedded database"
    )

    # receiving requests
    legacy_sha256: bool = _setting(False, "also accept the superseded plain SHA-256 request signature")
    wrapped_base64: bool = _setting(True, "also accept signatures over base64 wrapped at 76 columns (GNU base64 without -w0)")
    max_api_body_bytes: int = _setting(64 * 1024, "largest body of a console API call; checked before hashing", within=(1024, 2**30))
    max_event_bytes: int = _setting(256 * 1024, "largest single event", within=(1024, 2**30))
    max_batch_bytes: int = _setting(8 * 1024 * 1024, "largest batch request", within=(1024, 2**30))
    max_batch_events: int = _setting(1000, "most events in one batch request", within=(1, 10**6))
    max_waiting_events: int = _setting(
        20_000, "accepted requests' events that may wait for the commit before publishers are answered 503", within=(1, 10**9)
    )
    clock_skew_seconds: int = _setting(60, "how far in the future an event's time may lie", within=(0, 86_400))
    verify_per_minute: int = _setting(10, "handshakes an account may ask for per minute", within=(1, 10**6))
    new_urls_per_minute: int = _setting(
        120, "handshakes with new URLs of one account per minute; more of them wait for their turn", within=(1, 10**6)
    )
    verify_interval_seconds: int = _setting(10, "least time between two asked-for handshakes of one webhook", within=(0, 86_400))
    api_per_second: int = _setting(
        20, "console API calls of one account per second, with as many in reserve again; 0: no limit", within=(0, 10**6)
    )
    publish_per_second: int = _setting(
        0, "events that one account may publish per second, with as many in reserve again; 0: no limit", within=(0, 10**9)
    )
    tests_per_minute: int = _setting(30, "test sends of one account per minute", within=(1, 10**6))
    checks_per_minute: int = _setting(
        30, "URLs that one account may have checked per minute; one that is refused at registration counts", within=(1, 10**6)
    )
    max_webhooks: int = _setting(1000, "most webhooks of one account", within=(1, 10**6))
    max_subscribed_events: int = _setting(100, "most entries in subscribed_events", within=(1, 10**6))

    # the console
    session_hours: float = _setting(12.0, "how long one stays signed in to the console at most", within=(0.01, 8760))
    session_idle_minutes: int = _setting(120, "how long one stays signed in without looking at any page", within=(1, 525_600))
    link_hours: float = _setting(48.0, "how long a link to set a password works; it works once", within=(0.01, 8760))
    sign_ins_per_minute: int = _setting(
        10,
        "attempts to sign in with one address per minute, by browsers that never signed in with it; 100 a day at most",
        within=(1, 10**6),
    )
    all_sign_ins_per_minute: int = _setting(
        120, "the same with all addresses together, so that guessing does not use up the processor", within=(1, 10**6)
    )
    oidc_issuer: str = _setting("", "URL of an OpenID Connect provider that people may sign in with; empty: passwords only")
    oidc_client_id: str = _setting("", "what gridhook is called there")
    oidc_client_secret: str = _setting("", "its secret there; empty: a public client, proven by PKCE alone", secret=True)

    # what is sent
    source: str = _setting("/accessgrid/customer", "CloudEvents source of real events")
    retry_delays_seconds: tuple[int, ...] = _setting((30, 120, 300, 900, 1800, 3600), "delays before attempts 2, 3, ...")
    retry_window_seconds: int = _setting(6 * 3600, "age of an event (by its time) after which no attempt starts", within=(1, 10**8))
    retry_jitter: float = _setting(0.0, "share of each delay by which a retry may come later, at random; never earlier", within=(0, 10))
    honour_retry_after: bool = _setting(True, "let Retry-After on 429 and 503 lengthen a delay (never shorten, never past the window)")
    connect_seconds: float = _setting(5.0, "limit on DNS, TCP and TLS of a delivery", within=(0.01, 3600))
    attempt_seconds: float = _setting(15.0, "hard limit on a whole delivery attempt", within=(0.01, 3600))
    trusted_hosts: tuple[str, ...] = _setting(("webhook.site",), "exact hosts that need no handshake")
    idle_connection_seconds: int = _setting(15, "how long an unused connection to a receiver is kept", within=(1, 3600))
    connection_life_seconds: int = _setting(
        60, "how long a connection to a receiver may live: a vetted address is never older", within=(1, 3600)
    )

    # client certificates (mTLS)
    certificate_days: int = _setting(
        365, "how long a webhook's client certificate is valid; never longer than its authority", within=(1, 3650)
    )
    renew_days_before: int = _setting(
        30, "days before its end at which a client certificate is replaced by itself; 0: never", within=(0, 3649)
    )

    # who may be reached
    allow_networks: tuple[str, ...] = _setting(
        (), "networks allowed although not public (CIDR); metadata and link-local need each address as /32 or /128"
    )
    allow_hosts: tuple[str, ...] = _setting((), "exact host names whose addresses are allowed although not public")
    refuse_networks: tuple[str, ...] = _setting((), "more networks to refuse: your own public and NAT addresses, database, VPC")
    nat64_prefixes: tuple[str, ...] = _setting((), "your NAT64 /96 prefixes: decoded, then judged as IPv4")
    allow_ports: tuple[int, ...] = _setting((), "the only ports receivers may use; empty: all but the list of well-known service ports")
    dns_servers: tuple[str, ...] = _setting((), "resolvers to ask (address or address#port); empty: /etc/resolv.conf")
    dns_seconds: float = _setting(2.0, "limit on one resolution", within=(0.01, 3600))
    dns_cache_seconds: int = _setting(
        30, "longest time an answer is reused, if its TTL allows; it is vetted at every use", within=(0, 86_400)
    )

    # how long things are kept
    keep_events_days: float = _setting(
        30.0, "events and their deliveries are forgotten after this; at least the retry window", within=(0.001, 36_500)
    )
    keep_attempts_days: float = _setting(30.0, "the log of attempts likewise", within=(0.001, 36_500))
    keep_bodies_days: float = _setting(
        30.0,
        "payloads and receivers' answers are dropped after this, their rows stay; what has no payload cannot be redelivered",
        within=(0.001, 36_500),
    )

    # how much at once
    slots: int = _setting(1024, "requests in flight in this process, at most", within=(1, 10**5))
    account_slots: int = _setting(512, "of these, one account's, at most", within=(1, 10**5))
    webhook_slots: int = _setting(256, "of these, one webhook's, at most; a receiver that is slow or fails gets fewer", within=(1, 10**5))
    group_commit_events: int = _setting(500, "most writes in one transaction", within=(1, 10**6))
    ramp_per_second: float = _setting(
        20.0, "requests per second with which a webhook that comes back starts; doubles every two seconds", within=(1, 10**6)
    )
    recovery_per_second: float = _setting(50.0, "most deliveries that one recovery queues again per second", within=(0.1, 10**5))
    drain_seconds: float = _setting(20.0, "how long SIGTERM waits for requests in flight", within=(0, 3600))
    poll_seconds: float = _setting(1.0, "how often due rows are looked for when nothing announces them", within=(0.01, 3600))
    log_level: str = _setting("info", "debug, info, warning or error")

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Raises `Misconfigured` naming the variable: unknown GRIDHOOK_ names are refused, a typo must not pass in silence."""
        environ = os.environ if environ is None else environ
        known = {PREFIX + f.name.upper(): f for f in fields(cls)}
        given: dict[str, Any] = {}
        for name, text in environ.items():
            if not name.startswith(PREFIX):
                continue
            if name not in known:
                raise Misconfigured(f"{name} is not a setting; see `gridhook serve --help`")
            f = known[name]
            if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
                raise Misconfigured(f"{name} is not UTF-8")  # Python keeps a byte that is not as half a surrogate pair
            is_list = isinstance(f.default, tuple)
            value: Any = [part.strip() for part in text.split(",") if part.strip()] if is_list else text
            try:
                given[f.name] = msgspec.convert(value, _type_of(f), strict=False)
            except msgspec.ValidationError as error:
                raise Misconfigured(f"{name}={'***' if f.metadata['secret'] else text!r}: {error}") from None
        settings = cls(**given)
        settings.check()
        return settings

    def check(self) -> None:
        """Raises `Misconfigured` when values contradict each other or are out of range."""
        for f in fields(self):
            if f.metadata["within"] is None:
                continue
            least, most = f.metadata["within"]
            # Written so that nan fails too.
            if not least <= getattr(self, f.name) <= most:
                raise Misconfigured(f"{PREFIX}{f.name.upper()} must lie between {least} and {most}")
        if any(not 0 <= delay <= self.retry_window_seconds for delay in self.retry_delays_seconds):
            raise Misconfigured(
                f"{PREFIX}RETRY_DELAYS_SECONDS must lie between 0 and {PREFIX}RETRY_WINDOW_SECONDS ({self.retry_window_seconds})"
            )
        for name in ("keep_events_days", "keep_bodies_days"):
            if getattr(self, name) * 86_400 < self.retry_window_seconds:
                raise Misconfigured(
                    f"{PREFIX}{name.upper()} must not be shorter than {PREFIX}RETRY_WINDOW_SECONDS: what waits must be kept"
                )
        if self.renew_days_before >= self.certificate_days:
            raise Misconfigured(
                f"{PREFIX}RENEW_DAYS_BEFORE must be less than {PREFIX}CERTIFICATE_DAYS, or a certificate is replaced as soon as it is made"
            )
        if self.public_url and not re.fullmatch(
            r"https?://([^\s/?#@:\[\]]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[^\s?#]*)?", self.public_url
        ):
            raise Misconfigured(f"{PREFIX}PUBLIC_URL must be an absolute URL such as https://hooks.example.com, without user, ? and #")
        if bool(self.oidc_issuer) != bool(self.oidc_client_id):
            raise Misconfigured(f"{PREFIX}OIDC_ISSUER and {PREFIX}OIDC_CLIENT_ID are set together or not at all")
        if self.oidc_issuer and not re.fullmatch(
            r"https://[^\s/?#@]+(/[^\s?#]*)?|http://(localhost|127\.0\.0\.1)(:\d+)?(/[^\s?#]*)?", self.oidc_issuer
        ):
            raise Misconfigured(f"{PREFIX}OIDC_ISSUER must be an https URL without ? and # (http only on localhost, for a trial)")
        if not self.source or not re.fullmatch(r"[!-~]+", self.source):
            raise Misconfigured(f"{PREFIX}SOURCE must be a URI reference such as /accessgrid/customer, without spaces")
        if any(not re.fullmatch(r"[^\s:/?#@]+", host) for host in self.trusted_hosts):
            raise Misconfigured(f"{PREFIX}TRUSTED_HOSTS must be host names only, such as webhook.site")
        if self.connect_seconds > self.attempt_seconds:
            raise Misconfigured(f"{PREFIX}CONNECT_SECONDS must not exceed {PREFIX}ATTEMPT_SECONDS")
        if self.log_level not in ("debug", "info", "warning", "error"):
            raise Misconfigured(f"{PREFIX}LOG_LEVEL must be debug, info, warning or error")
        port = self.listen.rpartition(":")[2]
        if ":" not in self.listen or not (port.isascii() and port.isdigit() and int(port) <= 65_535):
            raise Misconfigured(f"{PREFIX}LISTEN must be host:port, the port at most 65535")

    @property
    def lease_ms(self) -> int:
        """Twice the hard deadline plus slack, so that a live worker always ends its attempt before its lease does."""
        return int((2 * self.attempt_seconds + 10) * 1000)

    @property
    def database_kind(self) -> str:
        return "postgresql" if self.database_url.startswith(("postgresql:", "postgres:")) else "sqlite"

    @property
    def base_url(self) -> str:
        return (self.public_url or f"http://{self.listen}").rstrip("/")

    @property
    def data_path(self) -> Path:
        return Path(self.data_dir)

    def environment(self) -> dict[str, str]:
        """The variables that make another process run with these settings; those that have their default are left out."""
        return {PREFIX + f.name.upper(): _as_text(getattr(self, f.name)) for f in fields(self) if getattr(self, f.name) != f.default}

    def replace(self, **changes: Any) -> Settings:
        return dataclasses.replace(self, **changes)

    @classmethod
    def describe(cls) -> Iterator[tuple[str, str, str]]:
        """(variable, default as it would be written, doc) of every setting, in order."""
        for f in fields(cls):
            yield PREFIX + f.name.upper(), _as_text(f.default), f.metadata["doc"]


def _as_text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _type_of(f: dataclasses.Field[Any]) -> Any:
    """The field's type, from its default: annotations are strings here."""
    if isinstance(f.default, tuple):
        return tuple[int, ...] if f.name in ("retry_delays_seconds", "allow_ports") else tuple[str, ...]
    return type(f.default)
