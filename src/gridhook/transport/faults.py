"""Why a transfer failed, in the house's words: libcurl's code, OpenSSL's text and our own stops become a Reason and a readable detail."""

from __future__ import annotations

import errno
import os

import pycurl

from gridhook.model import Phase, Reason
from gridhook.transport import tls
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

_ENDED = (pycurl.E_GOT_NOTHING, pycurl.E_SEND_ERROR, pycurl.E_RECV_ERROR, pycurl.E_PARTIAL_FILE)
_TOO_LARGE = 100  # CURLE_TOO_LARGE, since 8.6; pycurl has no name for it


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


def of_libcurl(
    code: int, text: str, phase: Phase, *, host: str, os_errno: int, verify: int, heard: tls.Heard, unsent: bool
) -> tuple[Reason, str]:
    """Reason and detail of a request without an answer. text: libcurl's; read for its meaning, never passed on.

    heard: of the handshake, if this request brought one about. unsent: not a byte of the request was written.
    """
    low = text.lower()
    if code == DEADLINE or code == pycurl.E_OPERATION_TIMEDOUT:
        return _timed_out(phase)
    if code == CLOSING:
        return Reason.INTERRUPTED, "the sender was stopped while the request was under way; the receiver may have got it"
    if code == pycurl.E_COULDNT_CONNECT or (phase is Phase.CONNECT and code in (pycurl.E_SEND_ERROR, pycurl.E_RECV_ERROR)):
        return _unconnected(os_errno)
    # Before libcurl's code: it takes the alert certificate_expired, which is about ours, for a failed check of theirs.
    refused = tls.of_alert(heard, phase)
    if refused is not None:
        return refused
    if code == pycurl.E_PEER_FAILED_VERIFICATION:
        return tls.of_certificate(low, verify, host, heard)
    # libcurl says the latter of a key that is none, or not the certificate's.
    if code == pycurl.E_SSL_CERTPROBLEM or (code == pycurl.E_BAD_FUNCTION_ARGUMENT and heard.presented and phase is Phase.CONNECT):
        return Reason.CREDENTIAL_UNAVAILABLE, "our client certificate and its key could not be used; nothing was sent"
    if code == pycurl.E_SSL_CONNECT_ERROR or "openssl ssl_" in low:
        failed = tls.of_handshake(low, phase)
        if failed is not None:
            return failed
        if phase is Phase.TLS:
            return tls.of_silence(heard, unsent) or (Reason.RESET, _ended(phase))
    # libcurl calls it complete (0) when a connection closes in the middle of the header section.
    if code in (pycurl.E_OK, pycurl.E_SSL_CONNECT_ERROR, *_ENDED):
        silent = tls.of_silence(heard, unsent) if code in _ENDED else None
        return silent or (Reason.RESET, _ended(phase))
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
