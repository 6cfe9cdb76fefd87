"""Whether a receiver refused our client certificate, and whether it can have seen it. Pure."""

from __future__ import annotations

from gridhook.model import Answered, Outcome, Phase, Reason

CERTIFICATE_STATUSES = (495, 496)  # nginx's own, where its configuration lets them out

# nginx takes the handshake, then says 400: its pages for 495 and 496. A configuration that says `return 495` comes out like this, too.
_PAGES = ("The SSL certificate error", "No required SSL certificate was sent")

ASKED_IN_VAIN = "the receiver asked for a client certificate, got none, and closed the connection without an answer"

_TELLING = frozenset({Reason.CLIENT_CERTIFICATE_REFUSED, Reason.RESET_AFTER_CLIENT_CERTIFICATE})
_NEVER_SENT = frozenset({Reason.CREDENTIAL_UNAVAILABLE, Reason.CREDENTIAL_EXPIRED, Reason.NOT_SENT})


def is_certificate_refusal(outcome: Outcome, *, accepted_before: bool = False) -> bool:
    """Did the receiver's TLS layer, or nginx's page for it, refuse the client certificate of this request?

    accepted_before: the receiver has taken a request with this very certificate. A connection that ends without a word right after the
    certificate was asked for is a refusal then no more: Node.js refuses in that way, but a receiver that crashes looks the same.
    """
    if isinstance(outcome, Answered):
        if outcome.status in CERTIFICATE_STATUSES:
            return True
        return _page(outcome) is not None
    if outcome.reason is Reason.RESET_AFTER_CLIENT_CERTIFICATE:
        return not accepted_before
    return outcome.reason is Reason.CLIENT_CERTIFICATE_REFUSED


def in_words(outcome: Outcome) -> str:
    """How the receiver refused, for the log."""
    if not isinstance(outcome, Answered):
        return outcome.detail or outcome.reason.value
    page = _page(outcome)
    return f"status {outcome.status}" if page is None else f"nginx's page for status 400: {page}"


def may_have_been_presented(outcome: Outcome) -> bool:
    """Can the client certificate that was meant for this request have reached the receiver? False: its name, its address, the connection or
    its own certificate stood before it, or we had none to present."""
    if isinstance(outcome, Answered):
        return True
    if outcome.phase in (Phase.DNS, Phase.CONNECT) or outcome.reason in _NEVER_SENT:
        # A process that died, or was stopped, knew no phase: it may have come further.
        return outcome.reason in (Reason.WORKER_LOST, Reason.INTERRUPTED)
    return outcome.phase is not Phase.TLS or outcome.reason in _TELLING


def _page(outcome: Answered) -> str | None:
    """What nginx's page says, if it is one of the two."""
    if outcome.status != 400:
        return None
    return next((words for words in _PAGES if f"<title>400 {words}</title>".encode() in outcome.body), None)
