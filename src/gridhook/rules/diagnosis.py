"""One attempt in words: what happened, and what to do. For people; programs read the status, the reason and the echo. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from gridhook.model import Answered, Attempt, AttemptKind, Echo, Reason, Unreachable
from gridhook.rules.header_fields import first, printable
from gridhook.rules.ids import is_certificate_id
from gridhook.rules.refusals import ASKED_IN_VAIN, is_certificate_refusal

LOCATION_SHOWN = 200  # bytes of a redirect's target
DETAIL_SHOWN = 400
NOTE_SHOWN = 800


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """`summary`: what happened. `remedy`: what to do, empty when nothing is. Printable ASCII, whatever the receiver sent."""

    summary: str
    remedy: str = ""


REASONS = MappingProxyType(
    {
        Reason.URL_REFUSED: Diagnosis(
            "The URL is not one we send to; nothing was sent",
            "Register a plain http or https URL with a public host name and a usual port.",
        ),
        Reason.ADDRESS_REFUSED: Diagnosis(
            "The host resolves to an address that is not public; nothing was sent",
            "Point the host name at public addresses only: one address that is not public among them is enough to refuse.",
        ),
        Reason.DNS_ERROR: Diagnosis(
            "The host name could not be resolved",
            "Check the spelling of the URL's host, and that its DNS zone answers from outside your network.",
        ),
        Reason.DNS_EMPTY: Diagnosis(
            "The host name exists, but has no address (no A or AAAA record)",
            "Add an A or AAAA record for the URL's host.",
        ),
        Reason.DNS_TIMEOUT: Diagnosis(
            "The host name's DNS servers did not answer in time",
            "Check that all name servers of the zone answer from outside your network.",
        ),
        Reason.CONNECT_REFUSED: Diagnosis(
            "The receiver's machine refused the connection: nothing listens on this port",
            "Start the receiver, or correct the port in the URL.",
        ),
        Reason.CONNECT_TIMEOUT: Diagnosis(
            "The receiver's machine did not answer the attempt to connect",
            "Check that it is up and that no firewall drops connections to this port.",
        ),
        Reason.CONNECT_FAILED: Diagnosis(
            "There is no way to the receiver's address",
            "Check that the address in DNS is the right one and reachable from the internet.",
        ),
        Reason.TLS_CERTIFICATE_EXPIRED: Diagnosis(
            "The receiver's certificate has expired; nothing was sent",
            "Renew it on the receiver and reload the server; check that what renews it by itself still runs.",
        ),
        Reason.TLS_CERTIFICATE_NOT_YET_VALID: Diagnosis(
            "The receiver's certificate is not valid yet; nothing was sent",
            "Install the one that is valid now, or check the clock of the machine that issued it.",
        ),
        Reason.TLS_CERTIFICATE_SELF_SIGNED: Diagnosis(
            "The receiver's certificate is self-signed, so it proves nothing; nothing was sent",
            "Install one for this host name from a public CA: there is no switch to skip the check.",
        ),
        Reason.TLS_CERTIFICATE_WRONG_NAME: Diagnosis(
            "The receiver's certificate is for another host name; nothing was sent",
            "Install one for the host name of the URL, or correct the URL; with several sites on one address, look at SNI.",
        ),
        Reason.TLS_CERTIFICATE_UNKNOWN_CA: Diagnosis(
            "The receiver's certificate leads to no CA that we know; nothing was sent",
            "Let the server send the intermediate certificates with its own (the 'full chain' file), and use a public CA.",
        ),
        Reason.TLS_CERTIFICATE: Diagnosis(
            "The receiver's certificate is not valid for this URL; nothing was sent",
            "Install a certificate for this host name that is in date and issued by a public CA, with its intermediate certificates.",
        ),
        Reason.TLS_PROTOCOL: Diagnosis(
            "No TLS connection came about: no common version, or the port does not speak TLS",
            "Enable TLS 1.2 or 1.3 on the receiver, or register the http:// URL if the port is plain HTTP.",
        ),
        Reason.TLS_ALERT: Diagnosis(
            "The receiver refused the TLS connection",
            "Look at the receiver's TLS log. If it demands a client certificate: bearer-token webhooks present none; "
            "switch the webhook to mtls, or make the certificate optional.",
        ),
        Reason.CLIENT_CERTIFICATE_REFUSED: Diagnosis(
            "The receiver's TLS layer refused our client certificate",
            "Let the receiver trust the CA bundle of /v1/ca.pem, and this webhook's present certificate if it pins one; check its clock.",
        ),
        Reason.RESET_AFTER_CLIENT_CERTIFICATE: Diagnosis(
            "The receiver asked for our client certificate, then closed the connection without an answer: "
            "it refused the certificate without saying so, or failed",
            "If it never took this certificate (Node.js refuses in this way): let it trust the CA bundle of /v1/ca.pem, and this webhook's "
            "certificate if it pins one. If it did, look for a crash or a restart in its log; de-duplicate on the event's id.",
        ),
        Reason.TLS_TIMEOUT: Diagnosis(
            "The receiver accepted the connection, but did not finish the TLS handshake in time",
            "Check that this port speaks TLS and that the receiver is not overloaded.",
        ),
        Reason.TIMEOUT: Diagnosis(
            "Connected, but no complete answer in time; the receiver may have processed the request",
            "Answer at once and do the work afterwards; de-duplicate on the event's id.",
        ),
        Reason.RESET: Diagnosis(
            "The receiver closed the connection before its answer was complete; it may have processed the request",
            "Look for a crash or a restart in the receiver's log, and at limits of proxies in front of it; de-duplicate on the event's id.",
        ),
        Reason.PROTOCOL_ERROR: Diagnosis(
            "What came back is not an HTTP/1.1 answer",
            "Check that the URL's port is that of an HTTP server, and look at proxies in front of it.",
        ),
        Reason.HEADERS_TOO_LARGE: Diagnosis(
            "The answer's headers are larger than we read",
            "Send fewer or shorter headers: the status line is all that a delivery needs.",
        ),
        Reason.CREDENTIAL_UNAVAILABLE: Diagnosis(
            "Our copy of this webhook's key or certificate is missing or could not be decrypted; nothing was sent",
            "This is on the sender's side: its operator must load the master key that it is sealed under, or restore what was stored. "
            "Until then, a new key or certificate for the webhook helps too.",
        ),
        Reason.CREDENTIAL_EXPIRED: Diagnosis(
            "This webhook's client certificate has expired; nothing was sent",
            "Issue the next one (POST .../certificates): what waits is sent with it at its next attempt; what failed, a recovery sends.",
        ),
        Reason.WORKER_LOST: Diagnosis(
            "Our process died during this attempt; whether the request arrived is not known",
            "Nothing to do: the delivery goes on by its schedule. De-duplicate on the event's id.",
        ),
        Reason.INTERRUPTED: Diagnosis(
            "Our process was told to stop during this attempt; whether the request arrived is not known",
            "Nothing to do: the attempt is not counted and is made again. De-duplicate on the event's id.",
        ),
        Reason.NOT_SENT: Diagnosis("No request was made: none was needed", "Nothing to do."),
        Reason.INTERNAL: Diagnosis(
            "The attempt failed through a defect on the sender's side",
            "Report it to the sender's operator with the time of this attempt: the log holds the error.",
        ),
    }
)

ECHOES = MappingProxyType(
    {
        Echo.MATCHED: Diagnosis("The receiver echoed the challenge: the webhook is verified"),
        Echo.TRUSTED_HOST: Diagnosis("This host is trusted: the webhook is verified without a challenge"),
        Echo.WRONG_STATUS: Diagnosis(
            "the handshake needs exactly 200",
            'When X-AccessGrid-Webhook-Challenge is present, answer 200 with {"challenge": "<its value>"}; then resend the verification.',
        ),
        Echo.NOT_JSON: Diagnosis(
            "The receiver answered 200, but the body is no complete JSON object",
            'Answer the handshake with exactly {"challenge": "<token>"} as JSON, not as text or HTML; then resend the verification.',
        ),
        Echo.NO_CHALLENGE: Diagnosis(
            'The receiver answered 200 with JSON that has no "challenge"',
            'Put the token into the member "challenge" at the top of the answer\'s object; then resend the verification.',
        ),
        Echo.MISMATCH: Diagnosis(
            'The receiver answered 200, but its "challenge" is not the token that we sent',
            "Echo the token of this very request, unchanged: each handshake has its own. Check for caches in front of the receiver.",
        ),
        Echo.SUPERSEDED: Diagnosis(
            "The echo is right, but came too late: a newer challenge was issued, the URL was changed or the webhook is gone",
            "Nothing to do if a newer verification succeeded; else resend the verification.",
        ),
        Echo.NO_ANSWER: Diagnosis("The handshake got no answer", "Make the receiver reachable, then resend the verification."),
    }
)

STATUSES = MappingProxyType(
    {
        400: "The receiver could not read the request: check that it parses CloudEvents in JSON and accepts unknown members.",
        401: "Check that the receiver expects this webhook's key: Authorization: Bearer <private key>.",
        403: "Check that the receiver expects this webhook's key, and that no firewall or bot protection turns our requests away.",
        404: "Check the path of the registered URL: the server is there, the path is not.",
        405: "Let the receiver accept POST at this path, or correct the path of the registered URL.",
        408: "The receiver gave up reading our request: look at timeouts of the server and of proxies in front of it.",
        410: "The receiver says that the path is gone: correct the URL, or delete the webhook. We keep to the schedule all the same.",
        411: "A proxy in front of the receiver mishandles Content-Length, which we always send.",
        413: "Raise the limit on request bodies of the receiver, or of the proxy in front of it.",
        415: "Let the receiver accept the content type application/cloudevents+json; many frameworks know only application/json.",
        421: "The server behind this address does not serve this host name: check its virtual hosts and DNS.",
        429: "The receiver limits the rate of requests: raise the limit, or send Retry-After to say when to come back.",
        500: "Look for the error in the receiver's log.",
        501: "Let the receiver accept POST at this path.",
        502: "The proxy in front of the receiver could not reach it: check that the application behind it is up.",
        503: "The receiver says that it is unavailable: check that it is up; Retry-After may say when to come back.",
        504: "The proxy in front of the receiver waited too long for it: answer at once and do the work afterwards.",
    }
)

_CERTIFICATE_REFUSED = (
    "Let ssl_client_certificate hold the CA bundle of /v1/ca.pem, and pin this webhook's present certificate if you pin one. "
    "A bearer-token webhook presents none: switch it to mtls, or set ssl_verify_client optional."
)

_WANTS_CERTIFICATE = (
    "If the receiver demands a client certificate: bearer-token webhooks present none; switch the webhook to mtls, or make the certificate "
    "optional. If it is optional: look for a crash or a restart in the receiver's log; de-duplicate on the event's id."
)

_HANDSHAKE_STATUSES = MappingProxyType(
    {
        401: "The handshake carries no Authorization: answer X-AccessGrid-Webhook-Challenge before checking the key.",
        403: "The handshake carries no Authorization: answer X-AccessGrid-Webhook-Challenge before checking the key.",
        415: "The handshake's content type is application/json, not that of deliveries: accept both.",
    }
)


_NOT_NAMED = (
    "An mTLS webhook sends no Authorization: let the receiver look for this webhook's own certificate, which names it (CN wh_..., "
    "and urn:accessgrid:webhook:wh_... in its subjectAltName), and see that no firewall turns our requests away."
)


def diagnose(attempt: Attempt) -> Diagnosis:
    """What happened in this attempt and what to do about it."""
    words = _diagnose(attempt)
    if isinstance(attempt.outcome, Answered) and attempt.outcome.status in (401, 403) and is_certificate_id(attempt.credential_id):
        words = Diagnosis(words.summary, _NOT_NAMED)
    if attempt.outcome.exchange.reconnects:
        again = "sent twice: the kept-alive connection was closed without an answer, and the request was made again at once on a new one"
        words = Diagnosis(f"{words.summary} ({again})", words.remedy)
    if attempt.note is not None:
        note = printable(attempt.note.encode("utf-8", "replace"), NOTE_SHOWN)
        words = Diagnosis(f"{words.summary}; {note}", words.remedy)
    return words


def _diagnose(attempt: Attempt) -> Diagnosis:
    if attempt.kind is AttemptKind.VERIFICATION:
        return _of_handshake(attempt)
    if isinstance(attempt.outcome, Unreachable):
        return _of_unreachable(attempt.outcome)
    return _of_answer(attempt.outcome)


def _of_handshake(attempt: Attempt) -> Diagnosis:
    """The echo's words; the reason's where nothing came back, the status' where it was the wrong one."""
    outcome = attempt.outcome
    if attempt.echo is None or attempt.echo is Echo.NO_ANSWER:
        if isinstance(outcome, Unreachable):
            return _of_unreachable(outcome)
        return ECHOES[Echo.NO_ANSWER]
    words = ECHOES[attempt.echo]
    if attempt.echo is not Echo.WRONG_STATUS or not isinstance(outcome, Answered):
        return words
    summary = f"The receiver answered {outcome.status}; {words.summary}"
    if outcome.status // 100 == 3:
        return Diagnosis(summary, _redirect(outcome))
    if is_certificate_refusal(outcome):
        return Diagnosis(f"{summary}: the receiver's TLS layer (nginx's) refused our client certificate, or got none", _CERTIFICATE_REFUSED)
    return Diagnosis(summary, _HANDSHAKE_STATUSES.get(outcome.status, words.remedy))


def _of_unreachable(outcome: Unreachable) -> Diagnosis:
    words = REASONS[outcome.reason]
    if outcome.reason is Reason.RESET and outcome.detail == ASKED_IN_VAIN:
        words = Diagnosis(words.summary, _WANTS_CERTIFICATE)
    detail = outcome.detail
    if outcome.reason is Reason.TIMEOUT:
        detail = detail.partition(";")[0]  # then it says, as we do, that the receiver may have processed it
    if not detail or outcome.reason is Reason.CONNECT_REFUSED:  # whose detail says the same once more
        return words
    return Diagnosis(f"{words.summary} ({printable(detail.encode('utf-8', 'replace'), DETAIL_SHOWN)})", words.remedy)


def _of_answer(outcome: Answered) -> Diagnosis:
    status = outcome.status
    if status in (200, 201):
        if outcome.body_error is None:
            return Diagnosis(f"Received: the receiver answered {status}")
        error = printable(outcome.body_error.encode("utf-8", "replace"), DETAIL_SHOWN)
        return Diagnosis(
            f"Received: the receiver answered {status}; the body after it broke off ({error}), which changes nothing",
            "Nothing must be done; a short or empty body would be enough.",
        )
    said = f"The receiver answered {status}"
    if status // 100 == 1:
        return Diagnosis(f"{said}, which is not a final answer", "Answer 200 or 201: we ask for no upgrade and no interim answer.")
    if status // 100 == 2:
        return Diagnosis(
            f"{said}; only 200 and 201 count as received", "Let the receiver answer 200 or 201: until then it gets the same event again."
        )
    if status // 100 == 3:
        return Diagnosis(f"{said}; redirects are not followed", _redirect(outcome))
    if is_certificate_refusal(outcome):
        return Diagnosis(f"{said}: its TLS layer (nginx's) refused our client certificate, or got none", _CERTIFICATE_REFUSED)
    if status in (429, 503):
        wait = first(outcome.headers, "Retry-After")
        if wait:
            said += f" and asks to wait (Retry-After: {printable(wait, 40)})"
    if status in STATUSES:
        return Diagnosis(said, STATUSES[status])
    if status // 100 == 4:
        return Diagnosis(said, "The receiver refuses the request: look for the cause in its log and in the answer's body.")
    if status // 100 == 5:
        return Diagnosis(said, "The receiver failed: look for the error in its log.")
    return Diagnosis(f"{said}, which is no known status", "Answer 200 or 201.")


def _redirect(outcome: Answered) -> str:
    location = first(outcome.headers, "Location")
    if not location:
        return "Register the final URL."
    return f"Register the final URL: {printable(location, LOCATION_SHOWN)}"
