"""What `gridhook doctor` looks at. Each check looks, changes nothing, and says what to do."""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import shutil
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from gridhook.authority import is_chain_intact, is_intact
from gridhook.config import Settings
from gridhook.errors import GridhookError
from gridhook.model import Instant, Reason, Sealed, Unreachable
from gridhook.rules.authorities import signing
from gridhook.rules.certificates import DAY_MS
from gridhook.rules.instants import rfc3339
from gridhook.service.authorities import END_OF_TIME
from gridhook.store.promises import Store
from gridhook.vault import KEY_FILE, SealBroken, Vault, key_id_of

FREE_BYTES_FAIL = 100 * 1024 * 1024
FREE_BYTES_WARN = 1024 * 1024 * 1024
CLOCK_APART_MS = 2_000  # between this machine and the database
CLOCK_STEP_SECONDS = 0.2  # wall clock against monotonic clock while we look
CLOCK_LOOK_SECONDS = 0.5
PROBE_NAME = "gridhook-doctor.invalid"  # RFC 6761 s6.4: no such name exists, and every server knows
DATABASE_FILE = "gridhook.db"  # as in the store, which is loaded only when the database is looked at
MOST_NAMED = 10  # damaged rows
CERTIFICATES_PAGE = 500
LOAD_KEY = "load the master key that they were sealed under"
SPARE_FILES = 256  # database, log, publishers' connections


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    level: Level
    message: str
    remedy: str = ""


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """All checks, one finding or more each."""
    for finding in configuration(settings):
        yield finding
    yield data_directory(settings)
    found, vault = master_key(settings)
    yield found
    async for finding in database(settings, vault):
        yield finding
    yield await clock_steadiness()
    yield clock_discipline()
    yield open_files(settings)
    async for finding in dns(settings):
        yield finding
    yield ca_bundle(settings)


def configuration(settings: Settings) -> list[Finding]:
    given = sorted(name for name in os.environ if name.startswith("GRIDHOOK_"))
    found = [Finding("configuration", Level.OK, f"{len(given)} settings from the environment" + (f": {', '.join(given)}" if given else ""))]
    if not settings.public_url:
        found.append(
            Finding(
                "public_url",
                Level.WARN,
                f"receivers are told to find schemas at {settings.base_url}",
                "set GRIDHOOK_PUBLIC_URL to the address at which receivers reach this server",
            )
        )
    if settings.legacy_sha256:
        found.append(
            Finding(
                "legacy_sha256",
                Level.WARN,
                "superseded request signatures are accepted",
                "unset GRIDHOOK_LEGACY_SHA256 once no client needs it",
            )
        )
    return found


def database_file(settings: Settings) -> Path | None:
    """Where SQLite keeps its file; None with PostgreSQL."""
    if settings.database_kind == "postgresql":
        return None
    # sqlite:///x is x below the working directory, sqlite:////x is /x.
    return Path(settings.database_url.partition("://")[2][1:]) if settings.database_url else settings.data_path / DATABASE_FILE


def data_directory(settings: Settings) -> Finding:
    """Where the database's file lies: exists or can be made, can be written, has room."""
    file = database_file(settings)
    if file is None:
        return Finding("data directory", Level.OK, "not needed with PostgreSQL")
    path = there = file.parent
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return Finding(
            "data directory", Level.FAIL, f"{there} cannot be written by user {os.geteuid()}", "change its owner, or set GRIDHOOK_DATA_DIR"
        )
    free = shutil.disk_usage(there).free
    room = f"{free / 1024**3:.1f} GiB free"
    if free < FREE_BYTES_FAIL:
        return Finding("data directory", Level.FAIL, f"{path}: {room}", "make room: with a full disk nothing can be accepted")
    if path == settings.data_path and path.exists() and path.stat().st_mode & 0o077:
        return Finding("data directory", Level.WARN, f"{path} can be entered by others; {room}", f"chmod 700 {path}")
    if free < FREE_BYTES_WARN:
        return Finding("data directory", Level.WARN, f"{path}: {room}", "make room before it runs out")
    return Finding("data directory", Level.OK, f"{path}: writable, {room}" if path.exists() else f"{path}: made on first start, {room}")


def is_new(settings: Settings) -> bool:
    """SQLite before its first start: `serve` makes directory, key and database."""
    file = database_file(settings)
    return file is not None and not file.exists() and not (settings.data_path / KEY_FILE).exists()


def master_key(settings: Settings) -> tuple[Finding, Vault | None]:
    if is_new(settings) and not settings.master_key and not settings.master_key_file:
        return Finding("master key", Level.OK, "made on first start"), None
    try:
        vault = Vault.load(settings, create=False)
    except GridhookError as error:
        return Finding("master key", Level.FAIL, str(error), "without it no stored secret can be read; restore it from your backup"), None
    place = "GRIDHOOK_MASTER_KEY" if settings.master_key else settings.master_key_file or str(settings.data_path / KEY_FILE)
    return Finding("master key", Level.OK, f"{len(vault.key_ids)} from {place}; {vault.key_ids[0]} seals"), vault


async def database(settings: Settings, vault: Vault | None) -> AsyncIterator[Finding]:
    """Reachable, of this release's schema, its secrets open, and its clock agrees with ours."""
    from gridhook.store import open_store

    if is_new(settings):
        yield Finding("database", Level.OK, "SQLite, made on first start")
        return
    try:
        store: Store = open_store(settings, migrate=False)
        behind = await store.open()
    except GridhookError as error:
        remedy = "run `gridhook migrate`" if "migrate" in str(error) else "check that the database runs and GRIDHOOK_DATABASE_URL names it"
        yield Finding("database", Level.FAIL, " ".join(str(error).split()), remedy)
        return
    try:
        count = len(await store.accounts())
        yield Finding("database", Level.OK, f"{settings.database_kind}: reachable, schema is current, {count} accounts")
        if behind:
            yield Finding(
                "counters of ids",
                Level.WARN,
                f"they lie behind their rows, as after a partial restore: {', '.join(behind)}",
                "see that nothing else is missing, then start the server: it moves them past the rows",
            )
        if vault is not None:
            secrets = await stored_secrets(store, vault)
            yield secrets
            if secrets.remedy != LOAD_KEY:  # without it the authority's key opens no more than the others, and nothing is wrong with it
                yield await authority(store, vault, settings)
        yield await certificates(store)
        if settings.database_kind == "postgresql":
            apart = store.clock.now() - time.time_ns() // 1_000_000
            if abs(apart) > CLOCK_APART_MS:
                yield Finding(
                    "database clock",
                    Level.WARN,
                    f"{apart / 1000:+.1f} s from this machine's",
                    "run NTP on both; the database's clock counts",
                )
            else:
                yield Finding("database clock", Level.OK, f"{apart:+d} ms from this machine's")
    except GridhookError as error:
        yield Finding("database", Level.FAIL, str(error), "see the message")
    finally:
        await store.close()


async def stored_secrets(store: Store, vault: Vault) -> Finding:
    """Every key that something is sealed under is loaded, with its right bytes, and opens what is sealed under it."""
    from gridhook.app import CANARY

    stored = await store.sealed()
    key_ids, damaged = set(), []
    for row, sealed in stored:
        try:
            key_ids.add(key_id_of(sealed))
            if key_id_of(sealed) in vault.key_ids:
                vault.open_bytes(sealed, row)
        except SealBroken:
            damaged.append(row)
    try:
        vault.check_ids(key_ids)
        for key_id in vault.key_ids:
            canary = await store.meta(f"{CANARY}|{key_id}")
            if canary is not None:
                vault.check_canary(Sealed(canary))
    except GridhookError as error:
        return Finding("stored secrets", Level.FAIL, str(error), LOAD_KEY)
    if damaged:
        remedy = "restore these rows from a backup, or issue others: `accounts secret`, `webhooks rotate-key`, `rotate-certificate`"
        return Finding("stored secrets", Level.FAIL, f"{len(damaged)} of {len(stored)} do not open: {_some(damaged)}", remedy)
    return Finding("stored secrets", Level.OK, f"all {len(stored)} open under the loaded master keys")


async def authority(store: Store, vault: Vault, settings: Settings) -> Finding:
    """Whether client certificates can be issued, now and for as long as they are to last."""
    from gridhook.service.authorities import opened

    now = store.clock.now()
    standing = await store.authorities()
    signs = signing(standing, now)
    if signs is None:
        return Finding("authority", Level.OK, "none yet, made with the first mTLS webhook")
    for one in standing:
        if not is_intact(one):
            remedy = "restore its row from a backup; until then it is not published, and whoever fetches the bundle does not trust it"
            return Finding("authority", Level.FAIL, f"the certificate of {one.id} was damaged in the database", remedy)
    try:
        await opened(store, vault, signs)
    except GridhookError as error:
        remedy = "restore its row from a backup, or let another sign: `gridhook ca roll --signs-in 0s`, which receivers must trust first"
        return Finding("authority", Level.FAIL, f"{signs.id} signs nothing: {error}", remedy)
    until = f"{signs.id} signs, until {rfc3339(signs.expires_at)}"
    if max(one.expires_at for one in standing) < now + settings.certificate_days * DAY_MS:
        remedy = "run `gridhook ca roll` in time: what ends with it is not renewed"
        return Finding("authority", Level.WARN, f"{until}, sooner than a certificate lasts", remedy)
    return Finding("authority", Level.OK, until)


async def certificates(store: Store) -> Finding:
    """Whether each certificate that a webhook presents is as it was issued, and its authority still there."""
    standing = {one.id for one in await store.authorities()}
    now = store.clock.now()
    count = 0
    damaged: list[str] = []
    orphaned: list[str] = []
    after: tuple[Instant, str] | None = None
    while True:
        page = await store.expiring_certificates(before=END_OF_TIME, after=after, limit=CERTIFICATES_PAGE)
        for one in page:
            if not is_chain_intact(one):
                damaged.append(f"{one.id} of {one.webhook_id}")
            elif one.authority_id not in standing and one.expires_at > now:
                orphaned.append(f"{one.id} of {one.webhook_id}")
        count += len(page)
        if len(page) < CERTIFICATES_PAGE:
            break
        after = (page[-1].expires_at, page[-1].id)
    if damaged:
        remedy = "restore these rows from a backup, or issue others: `gridhook webhooks rotate-certificate`"
        return Finding("certificates", Level.FAIL, f"{len(damaged)} of {count} were damaged in the database: {_some(damaged)}", remedy)
    if orphaned:
        remedy = "restore `authorities` from a backup, or make another, which receivers must trust first: `gridhook ca roll --signs-in 0s`"
        return Finding("certificates", Level.FAIL, f"the authority of {len(orphaned)} of {count} is not there: {_some(orphaned)}", remedy)
    return Finding("certificates", Level.OK, f"{count} presented by webhooks" if count else "none yet, made with the first mTLS webhook")


def _some(rows: Sequence[str]) -> str:
    return ", ".join(rows[:MOST_NAMED]) + (f" and {len(rows) - MOST_NAMED} more" if len(rows) > MOST_NAMED else "")


async def clock_steadiness() -> Finding:
    """Whether the wall clock runs as fast as time does."""
    wall, steady = time.time(), time.monotonic()
    if not 1_767_225_600 < wall < 4_102_444_800:  # 2026 to 2100
        return Finding("clock", Level.FAIL, f"it is {time.strftime('%Y-%m-%d', time.gmtime(wall))} here", "set the clock and run NTP")
    await asyncio.sleep(CLOCK_LOOK_SECONDS)
    step = (time.time() - wall) - (time.monotonic() - steady)
    if abs(step) > CLOCK_STEP_SECONDS:
        return Finding("clock", Level.WARN, f"stepped by {step:+.2f} s while we looked", "let NTP slew the clock instead of stepping it")
    return Finding("clock", Level.OK, f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}, steady")


def clock_discipline() -> Finding:
    """Whether the kernel believes that its clock is kept in step (adjtimex, asked without changing anything)."""
    try:
        state = int(ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(512)))  # struct timex, modes = 0: only read
    except (OSError, AttributeError):
        state = -1
    if state == 5:  # TIME_ERROR
        return Finding(
            "clock sync", Level.WARN, "the kernel's clock is not synchronised", "run NTP (systemd-timesyncd, chrony), here or on the host"
        )
    if state < 0:
        return Finding("clock sync", Level.WARN, "cannot be seen from here", "see that NTP runs on the host")
    return Finding("clock sync", Level.OK, "the kernel's clock is kept in step")


def open_files(settings: Settings) -> Finding:
    """A request in flight takes a descriptor, a connection kept warm another."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    least, wanted = settings.slots + SPARE_FILES // 4, 2 * settings.slots + SPARE_FILES
    said = f"{soft} open files at most, {settings.slots} slots"
    remedy = f"raise it to {wanted} (ulimit -n {wanted}, systemd LimitNOFILE={wanted}; the hard limit is {hard}), or lower GRIDHOOK_SLOTS"
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return Finding("open files", Level.OK, said)
    return Finding("open files", Level.FAIL if soft < least else Level.WARN, said, remedy)


async def dns(settings: Settings) -> AsyncIterator[Finding]:
    """Each DNS server answers; and the public URL's host, if one is set, has an address."""
    from gridhook.transport.guard import open_resolver
    from gridhook.transport.nameservers import SystemServers, parse_servers
    from gridhook.transport.resolver import DnsResolver

    try:
        servers = parse_servers(settings.dns_servers) or SystemServers().current()
    except GridhookError as error:
        yield Finding("DNS", Level.FAIL, str(error), "correct GRIDHOOK_DNS_SERVERS")
        return
    silent = []
    for server in servers:
        probe = DnsResolver((server,), seconds=settings.dns_seconds)
        answer = await probe.resolve(PROBE_NAME, settings.dns_seconds + 1)
        await probe.close()
        if isinstance(answer, Unreachable) and (answer.reason is Reason.DNS_TIMEOUT or "no usable answer" in answer.detail):
            silent.append(f"{server.address}#{server.port}")
    names = ", ".join(f"{server.address}#{server.port}" for server in servers)
    if len(silent) == len(servers):
        yield Finding(
            "DNS", Level.FAIL, f"no server answers ({names})", "correct /etc/resolv.conf or GRIDHOOK_DNS_SERVERS: no receiver can be found"
        )
    elif silent:
        yield Finding(
            "DNS", Level.WARN, f"no answer from {', '.join(silent)} (of {names})", "remove or repair it: each lookup may wait for it"
        )
    else:
        yield Finding("DNS", Level.OK, f"answers from {names}")
    host = urlsplit(settings.public_url).hostname
    if host and len(silent) < len(servers) and not host.replace(".", "").isdigit() and ":" not in host:
        resolver = open_resolver(settings)
        answer = await resolver.resolve(host, settings.dns_seconds + 1)
        await resolver.close()
        if isinstance(answer, Unreachable):
            yield Finding("public_url", Level.WARN, answer.detail, "receivers fetch schemas from there: add its address to DNS")
        else:
            yield Finding("public_url", Level.OK, f"{host} is {', '.join(map(str, answer.addresses))}")


def ca_bundle(settings: Settings) -> Finding:
    from gridhook.transport.trust import find_ca_file

    try:
        path = find_ca_file(settings.ca_file)
        count = Path(path).read_bytes().count(b"-----BEGIN CERTIFICATE-----")
    except (GridhookError, OSError) as error:
        return Finding("CA bundle", Level.FAIL, str(error), "correct GRIDHOOK_CA_FILE, or unset it to use the system's bundle")
    return Finding("CA bundle", Level.OK, f"{count} authorities in {path}")
