"""A certificate for the bench's receiver, which stands for itself."""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path

import certifi
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


def write_certificate(addresses: Sequence[str], certificate: Path, trusted: Path) -> None:
    """Key and certificate for these addresses go to `certificate`. `trusted`: the public authorities and this certificate, so that what a
    server holds in memory is what it would hold in earnest."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gridhook bench")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(one)) for one in addresses]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    certificate.touch(mode=0o600)
    certificate.write_bytes(secret + pem)
    trusted.write_bytes(Path(certifi.where()).read_bytes() + os.linesep.encode() + pem)
