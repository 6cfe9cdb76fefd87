"""Why TLS failed: what the handshake said, as a Reason and a readable detail."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from gridhook.model import Phase, Reason
from gridhook.rules.header_fields import printable
from gridhook.rules.instants import rfc3339
from gridhook.rules.refusals import ASKED_IN_VAIN

NAME_SHOWN = 100  # bytes of a certificate's subject or issuer

# AlertDescription, RFC 8446 s6 and RFC 5246 s7.2.
ALERTS = {
    10: "unexpected_message",
    20: "bad_record_mac",
    22: "record_overflow",
    40: "handshake_failure",
    41: "no_certificate",
    42: "bad_certificate",
    43: "unsupported_certificate",
    44: "certificate_revoked",
    45: "certificate_expired",
    46: "certificate_unknown",
    47: "illegal_parameter",
    48: "unknown_ca",
    49: "access_denied",
    50: "decode_error",
    51: "decrypt_error",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    86: "inappropriate_fallback",
    90: "user_canceled",
    100: "no_renegotiation",
    109: "missing_extension",
    110: "unsupported_extension",
    112: "unrecognized_name",
    113: "bad_certificate_status_response",
    115: "unknown_psk_identity",
    116: "certificate_required",
    120: "no_application_protocol",
}
_OF_OUR_CERTIFICATE = frozenset({41, 42, 43, 44, 45, 46, 48, 49, 51, 116})
_VAGUE = 40  # handshake_failure: of our certificate only if one was asked for
_OF_PROTOCOL = frozenset({10, 20, 22, 47, 50, 70, 86, 109, 110, 120})
_PROTOCOL_VERSION = 70

# OpenSSL's X509_V_ERR_* numbers (x509_vfy.h).
_EXPIRED = (Reason.TLS_CERTIFICATE_EXPIRED, "the certificate has expired")
_EARLY = (Reason.TLS_CERTIFICATE_NOT_YET_VALID, "the certificate is not valid yet")
_UNKNOWN = (Reason.TLS_CERTIFICATE_UNKNOWN_CA, "the certificate's issuer is not known; is the intermediate certificate missing?")
_CERTIFICATE = {
    2: _UNKNOWN,
    9: _EARLY,
    10: _EXPIRED,
    18: (Reason.TLS_CERTIFICATE_SELF_SIGNED, "the certificate is self-signed"),
    19: (Reason.TLS_CERTIFICATE_UNKNOWN_CA, "the certificate chain ends in a self-signed certificate that is not trusted"),
    20: _UNKNOWN,
    21: _UNKNOWN,
    23: (Reason.TLS_CERTIFICATE, "the certificate has been revoked"),
    26: (Reason.TLS_CERTIFICATE, "the certificate is not meant for servers"),
    62: (Reason.TLS_CERTIFICATE_WRONG_NAME, "the certificate is for another name"),
    64: (Reason.TLS_CERTIFICATE_WRONG_NAME, "the certificate is for another address"),
    66: (Reason.TLS_CERTIFICATE, "the certificate's key is too short"),
    68: (Reason.TLS_CERTIFICATE, "the certificate's signature algorithm is too weak"),
}

# What OpenSSL says when the other side does not speak TLS as we do, without an alert.
_PROTOCOL_WORDS = (
    "wrong version number",
    "unsupported protocol",
    "http request",
    "packet length too long",
    "record layer failure",
    "bad record type",
    "invalid record",
    "unexpected message",
    "no protocols available",
    "bad hello",
    "wrong ssl version",
    "legacy sigalg",
    "dh key too small",
    "bad extension",
    "length mismatch",
    "decode error",
)


@dataclass(frozen=True, slots=True)
class Heard:
    """What went over one connection's handshake. `told`: of the receiver's certificate, by libcurl's words for it."""

    presented: bool = False  # the request has a client certificate
    asked: bool = False  # the receiver asked for one, and has not begun to answer since
    alert: int | None = None
    told: tuple[tuple[str, str], ...] = ()


def of_alert(heard: Heard, phase: Phase) -> tuple[Reason, str] | None:
    """Reason and detail of the alert that ended the connection; None when there was none."""
    alert = heard.alert
    if not alert:
        return None  # 0, close_notify, is a farewell
    name = ALERTS.get(alert, f"number {alert}")
    # In TLS 1.3 our side of the handshake is over, and the request written, before the receiver has looked at our certificate.
    when = "during the handshake" if phase is Phase.TLS else "after the handshake, as TLS 1.3 does"
    about_ours = alert in _OF_OUR_CERTIFICATE or (alert == _VAGUE and heard.asked)
    if about_ours and heard.presented:
        return Reason.CLIENT_CERTIFICATE_REFUSED, f"the receiver refused our client certificate with the alert {name}, {when}"
    if about_ours and heard.asked:
        return Reason.TLS_ALERT, f"the receiver demands a client certificate, and none was presented: it sent the alert {name}, {when}"
    if alert == _PROTOCOL_VERSION:
        return Reason.TLS_PROTOCOL, "the receiver has no TLS version in common with us (1.2 and 1.3 are offered)"
    if alert in _OF_PROTOCOL:
        return Reason.TLS_PROTOCOL, f"the receiver broke off with the alert {name}: it does not speak TLS 1.2 or 1.3 as we do"
    return Reason.TLS_ALERT, f"the receiver refused the TLS connection with the alert {name}, {when}"


def of_silence(heard: Heard, unsent: bool) -> tuple[Reason, str] | None:
    """A new connection ended without a byte of an answer: is a client certificate the likely cause? None: nothing points to it.

    unsent: it had ended before the request was written. The alert of a server that is so quick is lost in the reset that follows it.
    """
    if not heard.asked:
        return None
    if heard.presented and unsent:
        detail = (
            "the receiver asked for our client certificate, then reset the connection, and with it any alert, before the request was sent"
        )
        return Reason.CLIENT_CERTIFICATE_REFUSED, detail
    if heard.presented:
        detail = "the receiver asked for our client certificate, then closed the connection without an alert and without an answer"
        return Reason.RESET_AFTER_CLIENT_CERTIFICATE, detail
    if unsent:
        detail = "the receiver asked for a client certificate, got none, and reset the connection before the request was sent"
        return Reason.TLS_ALERT, detail
    return Reason.RESET, ASKED_IN_VAIN


def of_certificate(low: str, verify: int, host: str, heard: Heard) -> tuple[Reason, str]:
    """low: libcurl's text in lower case. verify: OpenSSL's code, 0 when it was libcurl that compared the names."""
    if "name" in low and "match" in low:
        reason, said, verify = Reason.TLS_CERTIFICATE_WRONG_NAME, f"the certificate is for another name than {host}", 62
    else:
        reason, said = _CERTIFICATE.get(verify, (Reason.TLS_CERTIFICATE, "the certificate could not be verified"))
    return reason, f"{said} (code {verify}){_facts(dict(heard.told))}"


def of_handshake(low: str, phase: Phase) -> tuple[Reason, str] | None:
    """A handshake that failed without an alert. None: the connection just ended."""
    if "unexpected eof" in low or "ssl_error_syscall" in low or "connection reset" in low or "broken pipe" in low:
        return None
    if any(words in low for words in _PROTOCOL_WORDS):
        if "wrong version" in low or "http request" in low or "packet length" in low:
            return Reason.TLS_PROTOCOL, "the receiver does not speak TLS 1.2 or 1.3 on this port"
        return Reason.TLS_PROTOCOL, "the receiver does not speak TLS 1.2 or 1.3 correctly"
    return (Reason.TLS_PROTOCOL, "the TLS handshake failed") if phase is Phase.TLS else None


def _facts(told: dict[str, str]) -> str:
    """Subject, issuer and dates of the receiver's own certificate, the first of its chain."""
    found = [f"{word} {printable(told[word].encode(), NAME_SHOWN)}" for word in ("subject", "issuer") if told.get(word)]
    for word, key in (("valid from", "start date"), ("until", "expire date")):
        try:
            found.append(f"{word} {rfc3339(ssl.cert_time_to_seconds(told[key]) * 1000)}")
        except (KeyError, ValueError):
            continue
    return f": {', '.join(found)}" if found else ""
