"""When a certificate is told to expire, renewed, and how it stands. Pure."""

from __future__ import annotations

from enum import StrEnum

from gridhook.model import Certificate, Instant

DAY_MS = 86_400_000
NOTICE_DAYS = (30, 14, 7, 1)  # before expiry: once each per certificate
PUNCTUAL_MS = 3_600_000


class CertificateState(StrEnum):
    PRESENTED = "presented"
    FALLBACK = "fallback"  # replaced, and presented when the receiver refuses the newer one
    RETIRED = "retired"  # its key is destroyed
    EXPIRED = "expired"


def state_of(certificate: Certificate, now: Instant) -> CertificateState:
    if certificate.replaced_at is not None:
        is_fallback = certificate.retires_at is not None and certificate.retires_at > now
        return CertificateState.FALLBACK if is_fallback else CertificateState.RETIRED
    return CertificateState.EXPIRED if certificate.expires_at <= now else CertificateState.PRESENTED


def notices_due(certificate: Certificate, now: Instant) -> tuple[int, ...]:
    """Of NOTICE_DAYS, those whose time has come since the last one that was told, the earliest first.

    After a pause of the process, or a jump of the clock, that may be several: each is told once all the same. Those whose time lay
    before the certificate was made are not: a certificate for ten days is not about to expire in thirty.
    """
    told = certificate.noticed_days
    return tuple(
        days
        for days in NOTICE_DAYS
        if (told is None or days < told) and certificate.created_at < certificate.expires_at - days * DAY_MS <= now < certificate.expires_at
    )


def days_left(certificate: Certificate, now: Instant) -> int:
    """Whole days until it expires, rounded down; a notice that comes within an hour of its time still says its own number."""
    return max(0, certificate.expires_at - now + PUNCTUAL_MS) // DAY_MS


def is_renewal_due(certificate: Certificate, now: Instant, renew_days_before: int) -> bool:
    """renew_days_before: 0 is never. Not in the first half of its life: one that is short-lived would be replaced as soon as it is made."""
    if not renew_days_before or certificate.replaced_at is not None:
        return False
    at = certificate.expires_at - renew_days_before * DAY_MS
    return max(at, certificate.created_at + (certificate.expires_at - certificate.created_at) // 2) <= now
