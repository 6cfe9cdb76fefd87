"""Our certificate authorities and the client certificates that they issue: what is in them, and whom real TLS stacks let in."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gridhook import authority as authorities
from gridhook.authority import DAY_MS, import_authority, issue, new_authority
from gridhook.errors import Invalid
from gridhook.model import Authority, Certificate, Instant
from tests.transport.certificates import Authority as Foreign

# Now, because the TLS stacks that judge have no other clock. In whole seconds, as certificates are.
NOW: Instant = int(datetime.now(UTC).timestamp()) * 1000
HOUR = 3_600_000
WEBHOOK = "wh_0123456789abcdefghjkmnpqrs"


@pytest.fixture(scope="module")
def ca() -> tuple[Authority, bytes]:
    return new_authority("gridhook webhook CA", now=NOW)


def issued(ca: tuple[Authority, bytes], webhook_id: str = WEBHOOK, *, now: Instant = NOW, days: int = 365) -> tuple[Certificate, bytes]:
    return issue(*ca, account_id="acc", webhook_id=webhook_id, certificate_id="crt_1", now=now, days=days)


def parsed(pem: bytes) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(pem)


def extensions(certificate: x509.Certificate) -> dict[str, tuple[bool, x509.ExtensionType]]:
    return {one.oid._name: (one.critical, one.value) for one in certificate.extensions}


def at(moment: datetime) -> Instant:
    return int(moment.timestamp()) * 1000


# What is in them


def test_an_authority_signs_leaves_for_clients_for_ten_years_and_nothing_else(ca: tuple[Authority, bytes]) -> None:
    made, key_pem = ca
    (certificate,) = parsed(made.certificate)
    key = serialization.load_pem_private_key(key_pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert isinstance(key.curve, ec.SECP256R1)
    assert certificate.public_key() == key.public_key()
    assert extensions(certificate) == {
        "basicConstraints": (True, x509.BasicConstraints(ca=True, path_length=0)),
        "keyUsage": (True, x509.KeyUsage(False, False, False, False, False, True, True, False, False)),
        "extendedKeyUsage": (False, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])),
        "subjectKeyIdentifier": (False, x509.SubjectKeyIdentifier.from_public_key(key.public_key())),
    }
    assert made.id.startswith("ca_")
    assert certificate.subject.rfc4514_string() == f"CN=gridhook webhook CA {made.id[3:11]}"
    assert certificate.subject == certificate.issuer
    assert made.fingerprint == certificate.fingerprint(hashes.SHA256()).hex()
    assert (made.created_at, made.signs_from_at) == (NOW, NOW)
    assert made.expires_at == at(certificate.not_valid_after_utc) == NOW + 3650 * DAY_MS
    assert at(certificate.not_valid_before_utc) == NOW - HOUR


def test_an_authority_can_be_published_before_it_signs() -> None:
    assert new_authority("x", now=NOW, signs_from_at=NOW + 7 * DAY_MS)[0].signs_from_at == NOW + 7 * DAY_MS


def test_a_client_certificate_names_its_webhook_twice_and_is_good_for_client_authentication_only(ca: tuple[Authority, bytes]) -> None:
    certificate, key_pem = issued(ca)
    leaf, issuer = parsed(certificate.chain)
    assert issuer == parsed(ca[0].certificate)[0]
    leaf.verify_directly_issued_by(issuer)
    key = serialization.load_pem_private_key(key_pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert isinstance(key.curve, ec.SECP256R1)
    assert leaf.public_key() == key.public_key()
    issuers_id = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert extensions(leaf) == {
        "basicConstraints": (True, x509.BasicConstraints(ca=False, path_length=None)),
        "keyUsage": (True, x509.KeyUsage(True, False, False, False, False, False, False, False, False)),
        "extendedKeyUsage": (False, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])),
        "subjectAltName": (
            False,
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"urn:accessgrid:webhook:{WEBHOOK}")]),
        ),
        "subjectKeyIdentifier": (False, x509.SubjectKeyIdentifier.from_public_key(key.public_key())),
        "authorityKeyIdentifier": (False, x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuers_id)),
    }
    assert leaf.subject.rfc4514_string() == f"CN={WEBHOOK}"
    assert (certificate.account_id, certificate.webhook_id, certificate.id) == ("acc", WEBHOOK, "crt_1")
    assert (certificate.authority_id, certificate.created_at) == (ca[0].id, NOW)
    assert certificate.not_before_at == at(leaf.not_valid_before_utc) == NOW - HOUR
    assert certificate.expires_at == at(leaf.not_valid_after_utc) == NOW + 365 * DAY_MS
    assert certificate.fingerprint == leaf.fingerprint(hashes.SHA256()).hex()
    assert int(certificate.serial, 16) == leaf.serial_number


def test_keys_and_serials_are_drawn_anew_each_time_with_128_bits_of_chance(ca: tuple[Authority, bytes]) -> None:
    made = [issued(ca) for _ in range(40)]
    assert len({key for _, key in made}) == 40
    serials = [int(one.serial, 16) for one, _ in made]
    assert len(set(serials)) == 40
    assert all(0 < one < 1 << 128 for one in serials)
    # Each of the 128 bits is seen set and unset: that one of them is not, by chance, is a matter of once in four thousand million runs.
    union = intersection = serials[0]
    for serial in serials:
        union |= serial
        intersection &= serial
    assert (union, intersection) == ((1 << 128) - 1, 0)


def test_a_certificate_is_never_valid_outside_its_authoritys_own_time(ca: tuple[Authority, bytes]) -> None:
    (own,) = parsed(ca[0].certificate)
    early, _ = issued(ca, now=at(own.not_valid_before_utc) + 1000)
    assert early.not_before_at == at(own.not_valid_before_utc)
    late, _ = issued(ca, now=ca[0].expires_at - 30 * DAY_MS)
    assert late.expires_at == ca[0].expires_at
    with pytest.raises(Invalid, match=r"expired at .*gridhook ca create"):
        issued(ca, now=ca[0].expires_at)


def test_an_authority_does_not_sign_with_another_ones_key(ca: tuple[Authority, bytes]) -> None:
    with pytest.raises(Invalid, match=f"is not that of authority {ca[0].id}"):
        issued((ca[0], new_authority("other", now=NOW)[1]))


def test_what_is_sealed_opens_as_what_a_connection_needs_and_shows_no_key(ca: tuple[Authority, bytes]) -> None:
    certificate, key_pem = issued(ca)
    pair = authorities.from_text("crt_1", authorities.to_text(certificate.chain, key_pem))
    assert (pair.id, pair.certificate, pair.private_key) == ("crt_1", certificate.chain, key_pem)
    assert (pair.not_before_at, pair.expires_at) == (certificate.not_before_at, certificate.expires_at)
    assert repr(pair) == "Pair('crt_1')"
    for text in ("", "secret", '{"chain":"x"}', '{"chain":"secret","key":"secret"}'):
        with pytest.raises(ValueError, match="crt_1") as refused:
            authorities.from_text("crt_1", text)
        assert "secret" not in str(refused.value)


# Whom real TLS stacks let in


class Ends:
    """A TLS client and a server that are wired together in memory."""

    def __init__(self, client: ssl.SSLContext, server: ssl.SSLContext) -> None:
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = client.wrap_bio(to_client, to_server, server_hostname="receiver.example.com")
        self.server = server.wrap_bio(to_server, to_client, server_side=True)

    def shake_hands(self) -> Mapping[str, object] | None:
        """What the server then knows of the client. Raises `ssl.SSLError` as the server does."""
        done = {"client": False, "server": False}
        for _ in range(10):
            for name, end in (("client", self.client), ("server", self.server)):
                if not done[name]:
                    try:
                        end.do_handshake()
                        done[name] = True
                    except ssl.SSLWantReadError:
                        continue
        assert all(done.values())
        return self.server.getpeercert()


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., ssl.SSLContext]:
    """Makes the context of a receiver that demands a certificate of these authorities, as strictly as OpenSSL can."""
    public = Foreign(tmp_path_factory.mktemp("tls"), "Public Root")
    leaf = public.leaf("receiver.example.com")

    def context(*trusted: Authority, version: ssl.TLSVersion) -> ssl.SSLContext:
        made = leaf.server()
        made.minimum_version = made.maximum_version = version
        made.verify_mode = ssl.CERT_REQUIRED
        made.verify_flags |= ssl.VERIFY_X509_STRICT
        made.load_verify_locations(cadata=b"".join(one.certificate for one in trusted).decode())
        return made

    return context


def caller(tmp_path: Path, certificate: Certificate, key_pem: bytes) -> ssl.SSLContext:
    path = tmp_path / "client.pem"
    path.write_bytes(certificate.chain + key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # the receiver is what is tried here
    context.load_cert_chain(path)
    return context


VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_strict_receiver_lets_the_webhook_in_and_learns_its_name(
    ca: tuple[Authority, bytes], receiver: Callable[..., ssl.SSLContext], tmp_path: Path, version: ssl.TLSVersion
) -> None:
    known = Ends(caller(tmp_path, *issued(ca)), receiver(ca[0], version=version)).shake_hands()
    assert known is not None
    assert known["subject"] == ((("commonName", WEBHOOK),),)
    assert known["subjectAltName"] == (("URI", f"urn:accessgrid:webhook:{WEBHOOK}"),)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_receiver_that_trusts_two_authorities_lets_both_ones_clients_in_and_no_third_ones(
    ca: tuple[Authority, bytes], receiver: Callable[..., ssl.SSLContext], tmp_path: Path, version: ssl.TLSVersion
) -> None:
    second, third = new_authority("gridhook webhook CA", now=NOW), new_authority("gridhook webhook CA", now=NOW)
    bundle = receiver(ca[0], second[0], version=version)
    for one in (ca, second):
        assert Ends(caller(tmp_path, *issued(one)), bundle).shake_hands()
    with pytest.raises(ssl.SSLCertVerificationError):
        Ends(caller(tmp_path, *issued(third)), bundle).shake_hands()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_receiver_refuses_a_certificate_whose_time_is_over(
    ca: tuple[Authority, bytes], receiver: Callable[..., ssl.SSLContext], tmp_path: Path, version: ssl.TLSVersion
) -> None:
    old = new_authority("old", now=NOW - 400 * DAY_MS)
    expired = issued(old, now=NOW - 366 * DAY_MS)
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate has expired"):
        Ends(caller(tmp_path, *expired), receiver(old[0], version=version)).shake_hands()


@pytest.mark.parametrize("purpose", ["sslclient", "sslserver"])
def test_openssl_finds_a_client_and_no_server_in_it(ca: tuple[Authority, bytes], tmp_path: Path, purpose: str) -> None:
    (tmp_path / "ca.pem").write_bytes(ca[0].certificate)
    (tmp_path / "leaf.pem").write_bytes(issued(ca)[0].chain)
    verify = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", "ca.pem", "leaf.pem"]
    done = subprocess.run(verify, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode == 0) == (purpose == "sslclient"), done.stdout + done.stderr


# An authority that was made elsewhere

Change = Callable[[x509.CertificateBuilder], x509.CertificateBuilder]


def common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def on_a_curve_of_its_own(certificate: bytes) -> bytes:
    """As one flipped byte on a disk may leave it."""
    der = x509.load_pem_x509_certificate(certificate).public_bytes(serialization.Encoding.DER)
    p256 = bytes.fromhex("2a8648ce3d030107")
    assert p256 in der
    return ssl.DER_cert_to_PEM_cert(der.replace(p256, p256[:-1] + b"\x63")).encode()


class Made:
    """A CA certificate that is right, but for what a test says."""

    def __init__(
        self,
        key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | None = None,
        *,
        constraints: x509.BasicConstraints | None = x509.BasicConstraints(True, None),  # noqa: B008 # a value
        signs: bool | None = True,
        extended: x509.ObjectIdentifier | None = None,
        identified: bool = True,
        days: tuple[int, int] = (-1, 3000),
        signer: ec.EllipticCurvePrivateKey | None = None,
        named: bool = True,
        issuer: str | None = None,
        names: x509.NameConstraints | None = None,
        odd: bool | None = None,
    ) -> None:
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        name = common_name("Corporate CA") if named else x509.Name([])
        now = datetime.fromtimestamp(NOW // 1000, UTC)
        builder = (
            x509.CertificateBuilder(name if issuer is None else common_name(issuer), name, self.key.public_key(), 7)
            .not_valid_before(now + timedelta(days=days[0]))
            .not_valid_after(now + timedelta(days=days[1]))
        )
        if constraints is not None:
            builder = builder.add_extension(constraints, critical=True)
        if signs is not None:
            usage = x509.KeyUsage(not signs, False, False, False, False, signs, signs, False, False)
            builder = builder.add_extension(usage, critical=True)
        if extended is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([extended]), critical=False)
        if names is not None:
            builder = builder.add_extension(names, critical=True)
        if odd is not None:
            builder = builder.add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x0c\x03foo"), critical=odd)
        if identified:
            builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
        by = signer or self.key
        signed = builder.sign(by, None if isinstance(by, ed25519.Ed25519PrivateKey) else hashes.SHA256())
        self.certificate = signed.public_bytes(serialization.Encoding.PEM)

    def key_pem(self, password: bytes | None = None, form: serialization.PrivateFormat = serialization.PrivateFormat.PKCS8) -> bytes:
        cipher = serialization.NoEncryption() if password is None else serialization.BestAvailableEncryption(password)
        return self.key.private_bytes(serialization.Encoding.PEM, form, cipher)


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(lambda: ec.generate_private_key(ec.SECP256R1()), id="P-256"),
        pytest.param(lambda: ec.generate_private_key(ec.SECP384R1()), id="P-384"),
        pytest.param(lambda: rsa.generate_private_key(65537, 2048), id="RSA"),
    ],
)
def test_an_imported_authority_issues_certificates_that_a_strict_receiver_takes(
    key: Callable[[], ec.EllipticCurvePrivateKey], receiver: Callable[..., ssl.SSLContext], tmp_path: Path
) -> None:
    made = Made(key())
    old_form = made.key_pem(form=serialization.PrivateFormat.TraditionalOpenSSL)
    imported = import_authority(made.certificate, old_form, now=NOW, signs_from_at=NOW + DAY_MS)
    assert (imported[0].created_at, imported[0].signs_from_at, imported[0].expires_at) == (NOW, NOW + DAY_MS, NOW + 3000 * DAY_MS)
    assert imported[0].certificate == made.certificate
    assert imported[1] == made.key_pem()
    assert Ends(caller(tmp_path, *issued(imported)), receiver(imported[0], version=ssl.TLSVersion.TLSv1_3)).shake_hands()


def test_an_extension_that_nobody_must_know_does_no_harm() -> None:
    made = Made(odd=False)
    assert import_authority(made.certificate, made.key_pem(), now=NOW, signs_from_at=NOW)[0].certificate == made.certificate


def test_an_authority_that_was_exported_from_another_gridhook_can_be_imported(ca: tuple[Authority, bytes]) -> None:
    again, _ = import_authority(ca[0].certificate, ca[1], now=NOW, signs_from_at=NOW)
    assert again.fingerprint == ca[0].fingerprint
    assert again.id != ca[0].id


GOOD = Made()
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize(
    ("certificate", "key", "signs_in_days", "field", "says"),
    [
        (b"what", GOOD.key_pem(), 0, "certificate", "must be PEM"),
        (b"x" * 70_000, GOOD.key_pem(), 0, "certificate", "larger than 65536 bytes"),
        (GOOD.certificate * 2, GOOD.key_pem(), 0, "certificate", "holds 2 certificates: give only"),
        (GOOD.certificate, b"what", 0, "key", "must be a private key as PEM"),
        (GOOD.certificate, GOOD.key_pem(b"password"), 0, "key", "is encrypted: decrypt it first"),
        (GOOD.certificate, Made().key_pem(), 0, "key", "is not this certificate's"),
        (Made(ec.generate_private_key(ec.SECP521R1())), None, 0, "key", "EC P-256, EC P-384 or RSA of at least 2048 bits"),
        (Made(rsa.generate_private_key(65537, 1024)), None, 0, "key", "EC P-256, EC P-384 or RSA of at least 2048 bits"),
        (Made(ed25519.Ed25519PrivateKey.generate()), None, 0, "key", "EC P-256, EC P-384 or RSA of at least 2048 bits"),
        (Made(constraints=None), None, 0, "certificate", "is not a CA's"),
        (Made(constraints=x509.BasicConstraints(False, None)), None, 0, "certificate", "is not a CA's"),
        (Made(signs=None), None, 0, "certificate", "keyUsage lacks keyCertSign"),
        (Made(signs=False), None, 0, "certificate", "keyUsage lacks keyCertSign"),
        (Made(extended=ExtendedKeyUsageOID.SERVER_AUTH), None, 0, "certificate", "extendedKeyUsage lacks clientAuth"),
        (Made(odd=True), None, 0, "certificate", "its extension 1.2.3.4.5 is critical"),
        (Made(identified=False), None, 0, "certificate", "has no subjectKeyIdentifier"),
        (Made(named=False), None, 0, "certificate", "has no subject"),
        (Made(days=(-30, -1)), None, 0, "certificate", "expired at .*: renew it first"),
        (Made(days=(1, 30)), None, 0, "certificate", "choose a time in between"),
        (Made(days=(-1, 7)), None, 8, "certificate", "choose a time in between"),
        (Made(signer=OTHER_KEY), None, 0, "certificate", "its signature is not by its own key"),
        (Made(signer=OTHER_KEY, issuer="Root"), None, 0, "certificate", "was issued by CN=Root, .* import an authority that is a root"),
        (on_a_curve_of_its_own(GOOD.certificate), GOOD.key_pem(), 0, "certificate", "its key cannot be read: it was altered"),
    ],
)
def test_an_authority_that_cannot_serve_is_refused_with_what_is_wrong_and_the_remedy(
    certificate: bytes | Made, key: bytes | None, signs_in_days: int, field: str, says: str
) -> None:
    pem = certificate.certificate if isinstance(certificate, Made) else certificate
    key_pem = certificate.key_pem() if isinstance(certificate, Made) else key
    assert key_pem is not None
    with pytest.raises(Invalid, match=says) as refused:
        import_authority(pem, key_pem, now=NOW, signs_from_at=NOW + signs_in_days * DAY_MS)
    assert refused.value.field == field


def names(kind: str, *subtrees: x509.GeneralName) -> x509.NameConstraints:
    return x509.NameConstraints(subtrees if kind == "permitted" else None, subtrees if kind == "excluded" else None)


@pytest.mark.parametrize(
    ("constraints", "serves"),
    [
        (names("permitted", x509.DNSName("example.com")), True),
        (names("excluded", x509.DNSName("example.com")), True),
        (names("permitted", x509.RFC822Name("example.com")), True),
        (names("excluded", x509.DirectoryName(common_name("somebody else"))), True),
        (names("permitted", x509.UniformResourceIdentifier(".example.com")), False),
        (names("excluded", x509.UniformResourceIdentifier("example.com")), False),
        (names("permitted", x509.DirectoryName(common_name("Corporate"))), False),
    ],
)
def test_an_authority_whose_constraints_exclude_our_names_is_refused_and_no_other(
    constraints: x509.NameConstraints,
    serves: bool,
    receiver: Callable[..., ssl.SSLContext],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = Made(names=constraints)
    if not serves:
        with pytest.raises(Invalid, match="nameConstraints exclude the names of our certificates"):
            import_authority(made.certificate, made.key_pem(), now=NOW, signs_from_at=NOW)
        monkeypatch.setattr("gridhook.authority._excludes_ours", lambda _: False)
    imported = import_authority(made.certificate, made.key_pem(), now=NOW, signs_from_at=NOW)
    ends = Ends(caller(tmp_path, *issued(imported)), receiver(imported[0], version=ssl.TLSVersion.TLSv1_3))
    if serves:
        assert ends.shake_hands()
    else:
        with pytest.raises(ssl.SSLCertVerificationError):
            ends.shake_hands()
