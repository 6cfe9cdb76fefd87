"""Which certificate authorities receivers' certificates are checked against."""

from __future__ import annotations

import os

import certifi

from gridhook.errors import Misconfigured

SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",
)


def find_ca_file(configured: str) -> str:
    """The PEM bundle to use: the configured one, else the system's, else certifi's.

    Raises `Misconfigured` when the configured one cannot be read. SSL_CERT_FILE and its like are not looked at: who may be trusted
    is a setting of ours, not of the shell that started us.
    """
    if configured:
        try:
            with open(configured, "rb") as bundle:
                if b"-----BEGIN CERTIFICATE-----" not in bundle.read():
                    raise Misconfigured(f"GRIDHOOK_CA_FILE={configured!r} holds no PEM certificate")
        except OSError as error:
            raise Misconfigured(f"GRIDHOOK_CA_FILE={configured!r} cannot be read: {error.strerror}") from None
        return configured
    for bundle_path in SYSTEM_BUNDLES:
        if os.path.getsize(bundle_path) if os.path.isfile(bundle_path) else 0:
            return bundle_path
    return certifi.where()
