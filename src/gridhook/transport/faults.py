"""Why a transfer failed, in the house's words: libcurl's code, OpenSSL's text and our own stops become a Reason and a readable detail."""

from __future__ import annotations

import errno
import os
import re

import pycurl

from gridhook.model import Phase, Reason
from gridhook.transport.wire import Limits

# Codes of our own beside libcurl's (which are positive).
DEADLINE = -1
CLOSING = -2
DEFECT = -3

# Why one of our callbacks made libcurl stop.
HEADERS_TOO_LARGE = "headers_too_large"
TOO_MANY_FIELDS = "too_many_fields"
TOO_MANY_INTERIM = "too_many_interim"
BAD_STATUS_LINE = "bad_status_line"
SWITCHING = "switching"
TRAILERS_TOO_LARGE = "trailers_too_large"
BODY_CAP = "body_cap"
FLOOD = "flood"
BROKEN_OFF = "broken_off"

_TOO_LARGE = 100  # CURLE_TOO_LARGE, since 8.6; pycurl has no name for it

# OpenSSL's X509_V_ERR_* numbers (x509_vfy.h).
_CERTIFICATE = {
    9: "the certificate is not valid yet",
    10: "the certificate has expired",
    18: "the certificate is self-signed",
    19: "the certificate chain ends in a self-signed certificate that is not trusted",
    20: "the certificate's issuer is not known; is the intermediate certificate missing?",
    21: "the certificate's issuer is not known; is the intermediate certificate missing?",
    23: "the certificate has been revoked",
    26: "the certificate is not meant for servers",
    62: "the certificate is for another name",
    63: "the certificate is for another address",
    66: "the certificate's key is too short",
    68: "the certificate's signature algorithm is too weak",
}

# An alert that says: no common version. All others say: we refuse you.
_VERSION_WORDS = (
    "protocol version",
    "wrong version number",
    "unsupported protocol",
    "http request",
    "packet length too long",
    "record layer failure",
    "bad record type",
    "invalid record",
    "unexpected message",
    "tlsv1 alert protocol",
    "no protocols available",
    "bad hello",
    "no application protocol",
    "wrong ssl version",
    "legacy sigalg",
    "dh key too small",
    "bad extension",
    "length mismatch",
    "decode error",
    "inappropriate fallback",
)
_ALERT = re.compile(r"(?:ssl/tls|sslv3|tlsv1|tlsv13|tls) alert ([a-z ]+)")


def of_ours(fault: str, limits: Limits) -> tuple[Reason, str]:
    """A stop of ours before the header section was complete."""
    if fault == HEADERS_TOO_LARGE:
        return Reason.HEADERS_TOO_LARGE, f"the header section is larger than {limits.header_bytes} bytes"
    if fault == TOO_MANY_FIELDS:
        return Reason.HEADERS_TOO_LARGE, f"the header section has more than {limits.header_fields} fields"
    if fault == TOO_MANY_INTERIM:
        return Reason.PROTOCOL_ERROR, f"more than {limits.interim_answers} interim (1xx) answers came before a final one"
    if fault == BROKEN_OFF:
        return Reason.RESET, _ended(Phase.HEADERS)
    if fault == FLOOD:
        return Reason.PROTOCOL_ERROR, "far more bytes came than an answer may have"
    return Reason.PROTOCOL_ERROR, "the status line is not HTTP/1.1"


def of_libcurl(code: int, text: str, phase: Phase, *, host: str, os_errno: int, verify: int) -> tuple[Reason, str]:
    """Reason and detail of a request without an answer. text: libcurl's; read for its meaning, never passed on."""
    low = text.lower()
    if code == DEADLINE or code == pycurl.E_OPERATION_TIMEDOUT:
        return _timed_out(phase)
    if code == CLOSING:
        return Reason.INTERRUPTED, "the sender was stopped while the request was under way; the receiver may have got it"
    if code == pycurl.E_COULDNT_CONNECT or (phase is Phase.CONNECT and code in (pycurl.E_SEND_ERROR, pycurl.E_RECV_ERROR)):
        return _unconnected(os_errno)
    if code == pycurl.E_PEER_FAILED_VERIFICATION:
        return Reason.TLS_CERTIFICATE, _certificate(low, verify, host)
    if code == pycurl.E_SSL_CERTPROBLEM:
        return Reason.CREDENTIAL_UNAVAILABLE, "our client certificate and its key could not be used; nothing was sent"
    if code == pycurl.E_SSL_CONNECT_ERROR or "openssl ssl_" in low or " alert " in low:
        return _tls(low, phase)
    # libcurl calls it complete (0) when a connection closes in the middle of the header section.
    if code in (pycurl.E_OK, pycurl.E_GOT_NOTHING, pycurl.E_SEND_ERROR, pycurl.E_RECV_ERROR, pycurl.E_PARTIAL_FILE):
        return Reason.RESET, _ended(phase)
    if code == _TOO_LARGE or (code == pycurl.E_OUT_OF_MEMORY and phase is Phase.HEADERS) or "too large" in low or "too long" in low:
        return Reason.HEADERS_TOO_LARGE, "a line of the header section is too long"
    if code == pycurl.E_UNSUPPORTED_PROTOCOL:
        return Reason.PROTOCOL_ERROR, "the answer does not start with an HTTP/1.1 status line"
    if code == pycurl.E_BAD_CONTENT_ENCODING:
        return Reason.PROTOCOL_ERROR, "the answer uses a transfer coding that was not asked for"
    if code in (8, pycurl.E_HTTP2 if hasattr(pycurl, "E_HTTP2") else 16, pycurl.E_WRITE_ERROR):
        return Reason.PROTOCOL_ERROR, _weird(low)
    return Reason.INTERNAL, f"the HTTP client failed with code {code}"


def body_error(fault: str | None, code: int, text: str) -> str | None:
    """What went wrong after a complete header section. None: nothing that a receiver did wrong (we read enough)."""
    low = text.lower()
    if fault in (BODY_CAP, SWITCHING):
        return None
    if fault == TRAILERS_TOO_LARGE:
        return "the trailers after the body are larger than the limit for headers"
    if fault == FLOOD:
        return "far more bytes came than an answer may have"
    if code == DEADLINE or code == pycurl.E_OPERATION_TIMEDOUT:
        return "the body was not complete when the time was over"
    if code == CLOSING:
        return "the sender was stopped before the body was complete"
    if "chunk" in low or "hexadecimal" in low:
        return "the body's chunked encoding is malformed"
    if code == pycurl.E_PARTIAL_FILE:
        return "the connection was closed before the whole body had come"
    if code in (pycurl.E_RECV_ERROR, pycurl.E_SEND_ERROR, pycurl.E_SSL_CONNECT_ERROR):
        return "the connection broke in the middle of the body"
    return "the body is malformed"


def _timed_out(phase: Phase) -> tuple[Reason, str]:
    if phase is Phase.CONNECT:
        return Reason.CONNECT_TIMEOUT, "no TCP connection within the connect limit"
    if phase is Phase.TLS:
        return Reason.TLS_TIMEOUT, "the TLS handshake did not end within the connect limit"
    if phase is Phase.REQUEST:
        return Reason.TIMEOUT, "the receiver did not take the whole request in time"
    return Reason.TIMEOUT, "no complete header section in time; the receiver may still have processed the request"


def _unconnected(os_errno: int) -> tuple[Reason, str]:
    if os_errno == errno.ECONNREFUSED:
        return Reason.CONNECT_REFUSED, "the receiver's host refused the connection: nothing listens on that port"
    if os_errno in (errno.ECONNRESET, errno.EPIPE):
        return Reason.RESET, "the connection was reset as soon as it stood; nothing was sent"
    if os_errno == errno.ETIMEDOUT:
        return Reason.CONNECT_TIMEOUT, "no TCP connection: the host did not answer"
    if os_errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
        return Reason.INTERNAL, "our process has no descriptor or memory left for a connection"
    return Reason.CONNECT_FAILED, f"no TCP connection: {os.strerror(os_errno).lower()}" if os_errno else "no TCP connection"


def _certificate(low: str, verify: int, host: str) -> str:
    if "name" in low and "match" in low:
        return f"the certificate is for another name than {host} (code 62)"
    said = _CERTIFICATE.get(verify)
    return f"{said} (code {verify})" if said else f"the certificate could not be verified (code {verify})"


def _tls(low: str, phase: Phase) -> tuple[Reason, str]:
    words = low.replace("::", ":")
    if "unexpected eof" in words or "ssl_error_syscall" in words or "connection reset" in words or "broken pipe" in words:
        return Reason.RESET, "the connection ended during the TLS handshake" if phase is Phase.TLS else _ended(phase)
    if any(word in words for word in _VERSION_WORDS):
        if "alert" in words:
            return Reason.TLS_PROTOCOL, "the receiver has no TLS version in common with us (1.2 and 1.3 are offered)"
        if "wrong version" in words or "http request" in words or "packet length" in words:
            return Reason.TLS_PROTOCOL, "the receiver does not speak TLS 1.2 or 1.3 on this port"
        return Reason.TLS_PROTOCOL, "the receiver does not speak TLS 1.2 or 1.3 correctly"
    alert = _ALERT.search(words)
    if alert is not None:
        return Reason.TLS_ALERT, f"the receiver refused the TLS connection with the alert: {alert[1].strip()[:60]}"
    if phase is Phase.TLS:
        return Reason.TLS_PROTOCOL, "the TLS handshake failed"
    return Reason.RESET, _ended(phase)


def _ended(phase: Phase) -> str:
    if phase is Phase.TLS:
        return "the connection ended during the TLS handshake"
    if phase is Phase.REQUEST:
        return "the connection ended while the request was being sent"
    return "the connection ended before a complete header section; the receiver may have processed the request"


def _weird(low: str) -> str:
    if "content-length" in low or "length" in low:
        # "the message framing is invalid and the recipient MUST treat it as an unrecoverable error" RFC 9112 s6.3
        return "the answer's Content-Length is invalid or contradicts itself"
    if "nul" in low:
        return "the header section holds a NUL byte"
    if "header without colon" in low or "colon" in low:
        return "a line of the header section has no colon"
    return "the answer is not HTTP/1.1"
