"""Secrets at rest: sealed with AES-256-GCM under a ring of master keys, bound to the row that they belong to.

A sealed value is: version (1 byte), length of the key's id (1), key id, nonce (12), ciphertext with tag. What stands before the
nonce is authenticated together with the caller's context, so a value copied into another row, account or column does not open.

A master key is one line `id:base64 of 32 bytes`. The first one seals, all of them open: to rotate, put a new line on top, reseal,
then drop the old line.
"""

from __future__ import annotations

import binascii
import os
import re
import stat
from base64 import b64decode, b64encode
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gridhook.config import Settings
from gridhook.errors import GridhookError, Misconfigured
from gridhook.model import Sealed

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
VERSION = 1
KEY_FILE = "master.key"

_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,32}", re.ASCII)
_LARGEST_FILE = 64 * 1024
_CANARY = b"this vault opens what it sealed"
_CANARY_CONTEXT = "vault|canary"


class SealBroken(GridhookError):
    """A stored secret does not open: its master key is missing, or it was altered or moved. The text names neither secret nor key."""


class Vault:
    """A ring of master keys. Safe to use from several threads."""

    __slots__ = ("_first", "_ring")

    def __init__(self, keys: Iterable[tuple[str, bytes]]) -> None:
        """keys: (id, 32 bytes), first the one that seals. Raises `Misconfigured`."""
        self._ring: dict[str, AESGCM] = {}
        for key_id, key in keys:
            if not _KEY_ID.fullmatch(key_id):
                raise Misconfigured("a master key's id must be 1 to 32 letters, digits, dots, dashes or underscores")
            if len(key) != KEY_BYTES:
                raise Misconfigured(f"master key {key_id}: {len(key)} bytes, must be {KEY_BYTES}")
            if key_id in self._ring:
                raise Misconfigured(f"master key {key_id} is given twice; every key needs an id of its own")
            self._ring[key_id] = AESGCM(key)
        if not self._ring:
            raise Misconfigured("no master key: secrets can neither be sealed nor opened")
        self._first = next(iter(self._ring))

    def __repr__(self) -> str:
        return f"Vault({', '.join(self._ring)})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a vault does not leave its process")

    @classmethod
    def load(cls, settings: Settings, *, create: bool) -> Vault:
        """The ring from GRIDHOOK_MASTER_KEY, else from the key file. Raises `Misconfigured`, saying what to do.

        create: make the default key file when it does not exist (embedded database, first start). A file that
            GRIDHOOK_MASTER_KEY_FILE names is never made: when it is missing, it is a mount that failed.
        """
        if settings.master_key:
            return cls(_parsed(settings.master_key.split(","), "GRIDHOOK_MASTER_KEY"))
        path = Path(settings.master_key_file) if settings.master_key_file else settings.data_path / KEY_FILE
        text = _read(path)
        if text is None and create and not settings.master_key_file:
            _create(path)
            text = _read(path)
        if text is None:
            raise Misconfigured(
                f"no master key: {path} does not exist; restore it from your backup, or set GRIDHOOK_MASTER_KEY or GRIDHOOK_MASTER_KEY_FILE"
            )
        return cls(_parsed(text.splitlines(), str(path)))

    @property
    def key_ids(self) -> tuple[str, ...]:
        """Ids of all keys, first the one that seals."""
        return tuple(self._ring)

    def seal(self, plaintext: str | bytes, context: str) -> Sealed:
        """The secret under the first key. `context` says whose it is ("webhooks|private_key|<account>|<webhook>|<credential>");
        it is not stored, and the value opens only with the same one."""
        return self._sealed(self._first, plaintext.encode() if isinstance(plaintext, str) else plaintext, context)

    def open(self, sealed: Sealed, context: str) -> str:
        """The secret as text. Raises `SealBroken`."""
        return self.open_bytes(sealed, context).decode()

    def open_bytes(self, sealed: Sealed, context: str) -> bytes:
        """The secret as bytes. Raises `SealBroken`."""
        key_id = key_id_of(sealed)
        if key_id not in self._ring:
            raise SealBroken(f"a stored secret is sealed under master key {key_id}, which is not loaded: add its line to the master keys")
        head = 2 + len(key_id)
        nonce, ciphertext = sealed.blob[head : head + NONCE_BYTES], sealed.blob[head + NONCE_BYTES :]
        try:
            return self._ring[key_id].decrypt(nonce, ciphertext, sealed.blob[:head] + context.encode())
        except InvalidTag:
            raise SealBroken(
                f"a stored secret does not open under master key {key_id}: it was altered or moved, or the key's bytes are wrong"
            ) from None

    def reseal(self, context: str, sealed: Sealed) -> Sealed | None:
        """The same secret under the first key; None when it is under it already. Raises `SealBroken`."""
        if key_id_of(sealed) == self._first:
            return None
        return self.seal(self.open_bytes(sealed, context), context)

    def check_ids(self, ids_in_database: Iterable[str]) -> None:
        """Raises `Misconfigured`, naming them, when stored secrets are sealed under keys that are not loaded."""
        missing = sorted(set(ids_in_database) - self._ring.keys())
        if missing:
            raise Misconfigured(
                f"stored secrets are sealed under master keys that are not loaded: {', '.join(missing)} "
                f"(loaded: {', '.join(self._ring)}); add the missing lines id:base64 to the key file or GRIDHOOK_MASTER_KEY"
            )

    def canary(self, key_id: str | None = None) -> Sealed:
        """A known text under this key (the first by default), to be stored and shown to `check_canary` at every start."""
        return self._sealed(key_id or self._first, _CANARY, _CANARY_CONTEXT)

    def check_canary(self, sealed: Sealed) -> None:
        """Raises `Misconfigured` when the canary's key is missing, or is here under the right id with other bytes."""
        try:
            key_id = key_id_of(sealed)
        except SealBroken as error:
            raise Misconfigured(str(error)) from None
        self.check_ids([key_id])
        try:
            opened = self.open_bytes(sealed, _CANARY_CONTEXT)
        except SealBroken:
            opened = b""
        if opened != _CANARY:
            raise Misconfigured(
                f"master key {key_id} is not the one that this database's secrets are sealed under: "
                "the id is the same, the bytes are not; restore the original key"
            )

    def _sealed(self, key_id: str, plaintext: bytes, context: str) -> Sealed:
        head = bytes((VERSION, len(key_id))) + key_id.encode()
        nonce = os.urandom(NONCE_BYTES)
        return Sealed(head + nonce + self._ring[key_id].encrypt(nonce, plaintext, head + context.encode()))


def key_id_of(sealed: Sealed) -> str:
    """Id of the master key that this value is sealed under. Raises `SealBroken` when it is no sealed value."""
    blob = sealed.blob
    if len(blob) >= 2 and blob[0] == VERSION and len(blob) >= 2 + blob[1] + NONCE_BYTES + TAG_BYTES:
        key_id = blob[2 : 2 + blob[1]].decode("ascii", "replace")
        if _KEY_ID.fullmatch(key_id):
            return key_id
    raise SealBroken("a stored secret is not in the form that this version writes: it was altered, or a newer version wrote it")


def _parsed(lines: Iterable[str], place: str) -> list[tuple[str, bytes]]:
    """(id, key) of each line; blank lines and lines that start with # are passed over. Errors name the place, never its content."""
    keys = []
    for number, line in enumerate(lines, 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        key_id, colon, encoded = line.partition(":")
        key_id, encoded = key_id.strip(), encoded.strip()
        if not colon or not _KEY_ID.fullmatch(key_id):
            raise Misconfigured(
                f"{place}, master key {number}: must read id:base64, the id of 1 to 32 letters, digits, dots, dashes or underscores"
            )
        try:
            key = b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise Misconfigured(f"{place}, master key {number} ({key_id}): what follows the colon is not base64") from None
        if len(key) != KEY_BYTES:
            make = f"make one with: openssl rand -base64 {KEY_BYTES}"
            raise Misconfigured(f"{place}, master key {number} ({key_id}): {len(key)} bytes, must be {KEY_BYTES}; {make}")
        keys.append((key_id, key))
    if not keys:
        raise Misconfigured(f"{place} holds no master key: a line id:base64 of {KEY_BYTES} bytes is needed")
    return keys


def _read(path: Path) -> str | None:
    """The key file's text; None when it does not exist. Raises `Misconfigured` when others may read it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Misconfigured(f"master key file {path}: {error.strerror}") from None
    try:
        # Of the opened file, not of the path: nobody can swap it in between.
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Misconfigured(f"master key file {path} is not a regular file")
        if status.st_mode & 0o077:
            raise Misconfigured(
                f"master key file {path} can be read by others (mode {stat.S_IMODE(status.st_mode):04o}): run chmod 600 {path}, "
                "and make new keys if others may have read it"
            )
        content = os.read(descriptor, _LARGEST_FILE + 1)
    finally:
        os.close(descriptor)
    if len(content) > _LARGEST_FILE:
        raise Misconfigured(f"master key file {path} is larger than {_LARGEST_FILE} bytes: it holds something else")
    try:
        return content.decode("ascii")
    except UnicodeDecodeError:
        raise Misconfigured(f"master key file {path} holds bytes that are not ASCII: it must consist of lines id:base64") from None


def _create(path: Path) -> None:
    """Make the key file with one new key, whole or not at all; when another process was first, its file stands."""
    # A random id: a new ring made beside an old database is then recognised by the ids that are missing from it.
    key_id = "k" + os.urandom(4).hex()
    line = f"{key_id}:{b64encode(os.urandom(KEY_BYTES)).decode()}"
    text = f"# gridhook's master keys: the first seals, all open. Keep a copy apart from the database's backups.\n{line}\n"
    draft = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(descriptor)
            os.link(draft, path)  # unlike rename, never replaces a file that is there
        except FileExistsError:
            return
        finally:
            os.unlink(draft)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)  # the name too must survive a power cut, before the first secret is sealed
        finally:
            os.close(directory)
    except OSError as error:
        raise Misconfigured(f"master key file {path} could not be made: {error.strerror}") from None
