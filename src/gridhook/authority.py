"""X.509: our certificate authorities, and the client certificates that they issue. Nothing is stored; time comes in, chance is drawn here.

A client certificate names its webhook twice, as CN and as a URI (`webhook_uri`): a receiver that trusts the authority must check one of
them, because every webhook of every account has a certificate of the same authority. Profile: RFC 5280.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import NoReturn, TypeAlias, TypeVar

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from gridhook.errors import Invalid
from gridhook.model import Authority, Certificate, Instant, Value
from gridhook.rules import ids
from gridhook.rules.instants import rfc3339

DAY_MS = 86_400_000
SLACK_SECONDS = 3600  # how long before its making a certificate is valid: clocks of receivers differ from ours
SERIAL_BYTES = 16
SHORT_ID = 8  # characters of an authority's id that its name ends in: two names in one bundle must differ
LEAST_RSA_BITS = 2048
CURVES = ("secp256r1", "secp384r1")
# Extensions that OpenSSL, and with it nginx, Node.js and Python, takes when they are critical (X509_supported_extension).
KNOWN_WHEN_CRITICAL = {
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.NAME_CONSTRAINTS,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    ExtensionOID.CERTIFICATE_POLICIES,
    ExtensionOID.POLICY_CONSTRAINTS,
    ExtensionOID.POLICY_MAPPINGS,
    ExtensionOID.INHIBIT_ANY_POLICY,
    ExtensionOID.CRL_DISTRIBUTION_POINTS,
}
LARGEST_PEM = 64 * 1024

_Key: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


class Facts(Value, frozen=True):
    """What a certificate says of itself. `serial` and `fingerprint` (SHA-256 of the DER) in hex."""

    subject: str
    issuer: str
    serial: str
    fingerprint: str
    not_before_at: Instant
    expires_at: Instant

    @property
    def is_self_signed(self) -> bool:
        return self.subject == self.issuer


class Pair(Value, frozen=True):
    """A client certificate (PEM: leaf, then issuer) with its private key (PEM): what a connection needs to present it."""

    id: str
    certificate: bytes
    private_key: bytes
    not_before_at: Instant
    expires_at: Instant

    def __repr__(self) -> str:
        return f"Pair({self.id!r})"


class _Sealed(Value, frozen=True):
    chain: str
    key: str


def webhook_uri(webhook_id: str) -> str:
    """The URI in a client certificate's subjectAltName."""
    return f"urn:accessgrid:webhook:{webhook_id}"


# --- authorities ------------------------------------------------------------------------------------------------


def new_authority(name: str, *, now: Instant, years: int = 10, signs_from_at: Instant | None = None) -> tuple[Authority, bytes]:
    """A new authority (P-256, self-signed, may sign leaves only) and its key as PEM.

    name: its CN, followed by a part of its id. signs_from_at: None is at once. years: of 365 days.
    """
    authority_id = ids.authority_id(os.urandom(ids.ID_BYTES))
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(f"{name} {authority_id.removeprefix('ca_')[:SHORT_ID]}")
    certificate = (
        _builder(subject, subject, key.public_key(), now - SLACK_SECONDS * 1000, now + years * 365 * DAY_MS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        # Wherever this authority is trusted, it vouches for clients: a stolen key of it makes nobody a server.
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _authority(authority_id, certificate, now, now if signs_from_at is None else signs_from_at), _key_pem(key)


def import_authority(certificate_pem: bytes, key_pem: bytes, *, now: Instant, signs_from_at: Instant) -> tuple[Authority, bytes]:
    """An authority that was made elsewhere, and its key as unencrypted PKCS #8 PEM. Raises `Invalid`, naming `certificate` or `key`.

    Strict receivers (OpenSSL's X509_STRICT, the default of Python's ssl from 3.13 on) are the measure of what it must say.
    """
    certificate = _only_certificate(certificate_pem)
    key = _private_key(key_pem)
    public_key = _public_key(certificate)
    _check_key(public_key)
    if _spki(key.public_key()) != _spki(public_key):
        raise Invalid("key", "is not this certificate's: give the private key that the certificate was made with")
    _check_signs(certificate)
    facts_ = _facts(certificate)
    if facts_.expires_at <= now:
        raise Invalid("certificate", f"expired at {rfc3339(facts_.expires_at)}: renew it first")
    if facts_.not_before_at > signs_from_at or facts_.expires_at <= signs_from_at:
        valid = f"{rfc3339(facts_.not_before_at)} to {rfc3339(facts_.expires_at)}"
        raise Invalid("certificate", f"is valid from {valid}, it would sign from {rfc3339(signs_from_at)} on: choose a time in between")
    if not facts_.is_self_signed:
        # OpenSSL, and with it nginx, Node.js and Python, builds the chain up to a root; what we publish would lead to none.
        issued = f"was issued by {facts_.issuer}, and receivers that trust it alone refuse what it signs"
        raise Invalid("certificate", f"{issued}: import an authority that is a root (self-signed)")
    try:
        certificate.verify_directly_issued_by(certificate)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        raise Invalid(
            "certificate", "its signature is not by its own key: it was altered, is another's copy, or signed with SHA-1"
        ) from None
    authority_id = ids.authority_id(os.urandom(ids.ID_BYTES))
    return _authority(authority_id, certificate, now, signs_from_at), _key_pem(key)


def _authority(authority_id: str, certificate: x509.Certificate, now: Instant, signs_from_at: Instant) -> Authority:
    known = _facts(certificate)
    return Authority(authority_id, _pem(certificate), known.fingerprint, now, signs_from_at, known.expires_at)


# --- client certificates ----------------------------------------------------------------------------------------


def issue(
    authority: Authority,
    authority_key_pem: bytes,
    *,
    account_id: str,
    webhook_id: str,
    certificate_id: str,
    now: Instant,
    days: int = 365,
    slack_seconds: int = SLACK_SECONDS,
) -> tuple[Certificate, bytes]:
    """A client certificate for a webhook, and its key (a fresh one, P-256) as PEM.

    Valid from `slack_seconds` before now for `days` from now, never outside the authority's own time. Raises `Invalid` when the authority
    has expired or when the key is not its own.
    """
    issuer, issuer_key = _signing_pair(authority, authority_key_pem)
    limits = _facts(issuer)
    if limits.expires_at <= now:
        raise Invalid("authority", f"{authority.id} expired at {rfc3339(limits.expires_at)}: make another with `gridhook ca create`")
    key = ec.generate_private_key(ec.SECP256R1())
    start = max(now - slack_seconds * 1000, limits.not_before_at)
    end = min(now + days * DAY_MS, limits.expires_at)
    issuer_key_id = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    certificate = (
        _builder(_name(webhook_id), issuer.subject, key.public_key(), start, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(webhook_uri(webhook_id))]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_key_id), critical=False)
        .sign(issuer_key, _digest(issuer_key))
    )
    known = _facts(certificate)
    issued = Certificate(
        account_id,
        webhook_id,
        certificate_id,
        authority.id,
        known.serial,
        known.fingerprint,
        # The issuer too: a server that knows the root only through a bundle of its own may need it, and one that does not ignores it.
        _pem(certificate) + _pem(issuer),
        known.not_before_at,
        known.expires_at,
        now,
    )
    return issued, _key_pem(key)


def is_intact(authority: Authority) -> bool:
    """Whether its certificate is the one that it was kept as."""
    return _is_kept(authority.certificate, authority.fingerprint)


def is_chain_intact(certificate: Certificate) -> bool:
    """The same of a webhook's. Its issuer's, which follows, is that of an authority: see there."""
    return certificate.chain.isascii() and _is_kept(certificate.chain, certificate.fingerprint)


def _is_kept(pem: bytes, fingerprint: str) -> bool:
    try:
        return facts(pem).fingerprint == fingerprint
    except (Invalid, ValueError):  # ValueError: its frame can be read, a field of it cannot
        return False


def check_signs(authority: Authority, key_pem: bytes) -> None:
    """Raises `Invalid` when what is kept of this authority cannot be read, or is not certificate and key of one another."""
    _signing_pair(authority, key_pem)


def to_text(chain: bytes, key_pem: bytes) -> str:
    """A certificate with its key as it is sealed."""
    return msgspec.json.encode(_Sealed(chain.decode("ascii"), key_pem.decode("ascii"))).decode()


def from_text(certificate_id: str, text: str) -> Pair:
    """What `to_text` wrote. Raises `ValueError`, which quotes none of it, when it is something else."""
    try:
        sealed = msgspec.json.decode(text, type=_Sealed)
        known = facts(sealed.chain.encode())
    except (msgspec.MsgspecError, Invalid):
        raise ValueError(f"what is kept of certificate {certificate_id} is not a certificate with its key") from None
    return Pair(certificate_id, sealed.chain.encode(), sealed.key.encode(), known.not_before_at, known.expires_at)


def facts(pem: bytes) -> Facts:
    """Of the first certificate in this PEM. Raises `Invalid("certificate")`."""
    return _facts(_certificates(pem)[0])


# --- pieces -----------------------------------------------------------------------------------------------------


def _signing_pair(authority: Authority, key_pem: bytes) -> tuple[x509.Certificate, _Key]:
    certificate, key = _only_certificate(authority.certificate), _private_key(key_pem)
    if _spki(key.public_key()) != _spki(_public_key(certificate)):
        raise Invalid("key", f"is not that of authority {authority.id}")
    return certificate, key


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, start: Instant, end: Instant
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        # "Conforming CAs MUST NOT use serialNumber values longer than 20 octets"; zero is not positive. RFC 5280 s4.1.2.2
        .serial_number(int.from_bytes(os.urandom(SERIAL_BYTES)) or 1)
        .not_valid_before(datetime.fromtimestamp(start // 1000, UTC))
        .not_valid_after(datetime.fromtimestamp(end // 1000, UTC))
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _digest(key: _Key) -> hashes.SHA256 | hashes.SHA384:
    return hashes.SHA384() if isinstance(key, ec.EllipticCurvePrivateKey) and key.key_size > 256 else hashes.SHA256()


def _facts(certificate: x509.Certificate) -> Facts:
    return Facts(
        certificate.subject.rfc4514_string(),
        certificate.issuer.rfc4514_string(),
        f"{certificate.serial_number:032x}",
        certificate.fingerprint(hashes.SHA256()).hex(),
        int(certificate.not_valid_before_utc.timestamp()) * 1000,
        int(certificate.not_valid_after_utc.timestamp()) * 1000,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: _Key) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _spki(key: object) -> bytes:
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        _refuse_key()
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


# --- what is given to us ----------------------------------------------------------------------------------------


def _certificates(pem: bytes) -> list[x509.Certificate]:
    if len(pem) > LARGEST_PEM:
        raise Invalid("certificate", f"is larger than {LARGEST_PEM} bytes: it holds something else")
    try:
        return x509.load_pem_x509_certificates(pem)
    except (ValueError, TypeError):
        raise Invalid("certificate", "cannot be read: it must be PEM, starting with -----BEGIN CERTIFICATE-----") from None


def _only_certificate(pem: bytes) -> x509.Certificate:
    found = _certificates(pem)
    if len(found) != 1:
        raise Invalid("certificate", f"holds {len(found)} certificates: give only that of the authority that signs, without its chain")
    return found[0]


def _private_key(pem: bytes) -> _Key:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except TypeError:
        raise Invalid("key", "is encrypted: decrypt it first, for example with `openssl pkey -in ca.key -out plain.key`") from None
    except (ValueError, UnsupportedAlgorithm):
        raise Invalid("key", "cannot be read: it must be a private key as PEM, starting with -----BEGIN PRIVATE KEY-----") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        _refuse_key()
    return key


def _public_key(certificate: x509.Certificate) -> object:
    try:
        return certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise Invalid("certificate", "its key cannot be read: it was altered, or its key is of a kind that is not known here") from None


def _check_key(key: object) -> None:
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in CURVES:
        return
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= LEAST_RSA_BITS:
        return
    _refuse_key()


def _refuse_key() -> NoReturn:
    kinds = f"EC P-256, EC P-384 or RSA of at least {LEAST_RSA_BITS} bits"
    raise Invalid("key", f"is of a kind that receivers may not take: make the authority with {kinds}")


def _check_signs(certificate: x509.Certificate) -> None:
    """May it sign client certificates that strict receivers take? Raises `Invalid`."""
    remake = "make another as docs/mtls.md shows, or let `gridhook ca create` make the authority"
    try:
        extensions = certificate.extensions
    except (ValueError, x509.DuplicateExtension):
        raise Invalid("certificate", f"its extensions cannot be read; {remake}") from None
    for one in extensions:
        if one.critical and one.oid not in KNOWN_WHEN_CRITICAL:
            critical = f"its extension {one.oid.dotted_string} is critical"
            raise Invalid("certificate", f"{critical}, and receivers that do not know it refuse all that it signs; {remake}")
    constraints = _extension(extensions, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        raise Invalid("certificate", f"is not a CA's (basicConstraints does not say CA:TRUE); {remake}")
    usage = _extension(extensions, x509.KeyUsage)
    if usage is None or not usage.key_cert_sign:
        raise Invalid("certificate", f"may not sign certificates (keyUsage lacks keyCertSign); {remake}")
    extended = _extension(extensions, x509.ExtendedKeyUsage)
    if extended is not None and not {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(extended):
        raise Invalid("certificate", f"may not sign client certificates (its extendedKeyUsage lacks clientAuth); {remake}")
    if (names := _extension(extensions, x509.NameConstraints)) is not None and _excludes_ours(names):
        ours = "CN=wh_..., URI:urn:accessgrid:webhook:wh_..."
        raise Invalid("certificate", f"its nameConstraints exclude the names of our certificates ({ours}); {remake}")
    if _extension(extensions, x509.SubjectKeyIdentifier) is None:
        raise Invalid("certificate", f"has no subjectKeyIdentifier, which receivers find it by; {remake}")
    if not list(certificate.subject):
        raise Invalid("certificate", f"has no subject, which receivers find it by; {remake}")


def _excludes_ours(names: x509.NameConstraints) -> bool:
    """Our leaves have a CN alone and a URI without a host, which no subtree of URIs can take in (RFC 5280 s4.2.1.10): receivers refuse
    such a name as soon as URIs are constrained at all."""
    constrained = (*(names.permitted_subtrees or ()), *(names.excluded_subtrees or ()))
    return any(isinstance(one, x509.UniformResourceIdentifier) for one in constrained) or any(
        isinstance(one, x509.DirectoryName) for one in names.permitted_subtrees or ()
    )


def _extension(extensions: x509.Extensions, kind: type[_Extension]) -> _Extension | None:
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
