"""Whether a receiver refused our client certificate. Pure."""

from __future__ import annotations

from gridhook.model import Answered, Outcome, Reason

CERTIFICATE_STATUSES = (495, 496)  # nginx's own, where its configuration lets them out

# nginx takes the handshake, then says 400: its pages for 495 and 496. A configuration that says `return 495` comes out like this, too.
_PAGES = (b"<title>400 The SSL certificate error</title>", b"<title>400 No required SSL certificate was sent</title>")


def is_certificate_refusal(outcome: Outcome, *, accepted_before: bool = False) -> bool:
    """Did the receiver's TLS layer, or nginx's page for it, refuse the client certificate of this request?

    accepted_before: the receiver has taken a request with this very certificate. A connection that ends without a word right after the
    certificate was asked for is a refusal then no more: Node.js refuses in that way, but a receiver that crashes looks the same.
    """
    if isinstance(outcome, Answered):
        if outcome.status in CERTIFICATE_STATUSES:
            return True
        return outcome.status == 400 and any(page in outcome.body for page in _PAGES)
    if outcome.reason is Reason.RESET_AFTER_CLIENT_CERTIFICATE:
        return not accepted_before
    return outcome.reason is Reason.CLIENT_CERTIFICATE_REFUSED
