"""A webhook's client certificates. All of it may be known to anybody: the keys are in none of these shapes."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from gridhook import model
from gridhook.authority import is_chain_intact
from gridhook.errors import Unavailable
from gridhook.rules.certificates import CertificateState
from gridhook.rules.instants import rfc3339
from gridhook.service.certificates import Shown
from gridhook.web.shapes import Shape, Time, time_of


class Certificate(Shape):
    """What may be shown of a certificate; it stays when its key is destroyed."""

    id: Annotated[str, Meta(description="Also the `credential_id` of its attempts.")]
    state: Annotated[
        CertificateState,
        Meta(
            description="presented: requests carry it. fallback: replaced, and presented when the receiver's TLS layer refuses the newer "
            "one, until `retires_at`. retired: its key is destroyed. expired: nothing is sent until another is issued."
        ),
    ]
    serial: Annotated[str, Meta(description="Hexadecimal.")]
    fingerprint: Annotated[str, Meta(description="SHA-256 of the certificate in DER, hexadecimal.")]
    authority_id: Annotated[str, Meta(description="Of those in /v1/ca.pem, the one that signed it.")]
    not_before: Time
    expires_at: Time
    created_at: Time
    accepted_at: Annotated[Time | None, Meta(description="When the receiver first took a request with it; null: not yet.")]
    replaced_at: Time | None
    retires_at: Annotated[Time | None, Meta(description="Until when a replaced one is fallen back on.")]


class Certificates(Shape):
    """The one that is presented, then the others, newest first."""

    certificates: list[Certificate]


class CertificateWithPem(Certificate, kw_only=True):
    pem: Annotated[str, Meta(description="The certificate, then its issuer's.")]


class Presented(Shape):
    """How far the receiver is with a rotation: it has caught up when `presented.accepted_at` is there."""

    presented: Certificate | None
    fallback: Annotated[Certificate | None, Meta(description="null: no rotation is going on.")]
    last_used: Annotated[
        str | None, Meta(description="The certificate of the newest attempt: its id. null: it ended before one can have been presented.")
    ]


def shown(one: Shown) -> Certificate:
    return Certificate(**_members(one))


def with_pem(one: Shown) -> CertificateWithPem:
    return CertificateWithPem(**_members(one), pem=pem_of(one.certificate).decode("ascii"))


def pem_of(certificate: model.Certificate) -> bytes:
    """Raises `Unavailable` for one that is not any more what we issued."""
    if not is_chain_intact(certificate):
        raise Unavailable(
            f"certificate {certificate.id} was damaged in the database; issue the next one, or let an operator restore its row"
        )
    return certificate.chain


def presented(all: tuple[Shown, ...], last_used: str | None) -> Presented:
    def first(*states: CertificateState) -> Certificate | None:
        return next((shown(one) for one in all if one.state in states), None)

    return Presented(
        presented=first(CertificateState.PRESENTED, CertificateState.EXPIRED),
        fallback=first(CertificateState.FALLBACK),
        last_used=last_used,
    )


def _members(one: Shown) -> dict[str, Any]:
    certificate = one.certificate
    return {
        "id": certificate.id,
        "state": one.state,
        "serial": certificate.serial,
        "fingerprint": certificate.fingerprint,
        "authority_id": certificate.authority_id,
        "not_before": rfc3339(certificate.not_before_at),
        "expires_at": rfc3339(certificate.expires_at),
        "created_at": rfc3339(certificate.created_at),
        "accepted_at": time_of(certificate.accepted_at),
        "replaced_at": time_of(certificate.replaced_at),
        "retires_at": time_of(certificate.retires_at),
    }
