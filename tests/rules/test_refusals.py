"""What counts as: the receiver refused our client certificate."""

from __future__ import annotations

import pytest

from gridhook.model import Answered, AttemptKind, Echo, Outcome, Phase, Reason, Unreachable
from gridhook.rules.diagnosis import REASONS, diagnose
from gridhook.rules.refusals import ASKED_IN_VAIN, in_words, is_certificate_refusal, may_have_been_presented
from tests.rules.test_diagnosis import attempt

NGINX = b"<html>\r\n<head><title>400 %s</title></head>\r\n<body>\r\n<center><h1>400 Bad Request</h1></center>\r\n"


@pytest.mark.parametrize(
    ("outcome", "refused"),
    [
        (Unreachable(Reason.CLIENT_CERTIFICATE_REFUSED), True),
        (Answered(400, body=NGINX % b"The SSL certificate error"), True),
        (Answered(400, body=NGINX % b"No required SSL certificate was sent"), True),
        (Answered(495), True),
        (Answered(496), True),
        (Answered(400, body=b'{"error":"bad JSON"}'), False),
        (Answered(400, body=NGINX % b"Request Header Or Cookie Too Large"), False),
        (Answered(403, body=NGINX % b"The SSL certificate error"), False),
        (Answered(200, body=NGINX % b"The SSL certificate error"), False),
        *((Unreachable(reason), False) for reason in Reason if "client_certificate" not in reason),
    ],
    ids=lambda value: str(getattr(value, "reason", getattr(value, "status", value))),
)
def test_a_refusal_of_our_certificate_is_an_alert_about_it_or_nginx_s_page_for_it(outcome: Outcome, refused: bool) -> None:
    assert is_certificate_refusal(outcome) is refused


def test_a_connection_that_just_ends_is_a_refusal_only_of_a_certificate_that_was_never_taken() -> None:
    outcome = Unreachable(Reason.RESET_AFTER_CLIENT_CERTIFICATE)
    assert is_certificate_refusal(outcome)
    assert not is_certificate_refusal(outcome, accepted_before=True)


@pytest.mark.parametrize("kind", [AttemptKind.DELIVERY, AttemptKind.VERIFICATION])
def test_nginx_s_page_is_told_as_a_refused_certificate_and_not_as_a_request_that_cannot_be_read(kind: AttemptKind) -> None:
    echo = Echo.WRONG_STATUS if kind is AttemptKind.VERIFICATION else None
    found = diagnose(attempt(Answered(400, body=NGINX % b"The SSL certificate error"), kind, echo))
    assert "client certificate" in found.summary
    assert "ssl_client_certificate" in found.remedy


@pytest.mark.parametrize("reason", [Reason.TLS_ALERT, Reason.CLIENT_CERTIFICATE_REFUSED, Reason.RESET_AFTER_CLIENT_CERTIFICATE])
def test_each_trouble_with_client_certificates_says_what_to_do_about_them(reason: Reason) -> None:
    assert "certificate" in REASONS[reason].remedy


def test_a_bearer_webhook_whose_receiver_demands_a_certificate_is_pointed_to_mtls() -> None:
    assert "mtls" in REASONS[Reason.TLS_ALERT].remedy
    silent = diagnose(attempt(Unreachable(Reason.RESET, ASKED_IN_VAIN, Phase.HEADERS)))
    assert "asked for a client certificate, got none" in silent.summary
    assert "mtls" in silent.remedy
    assert "mtls" not in diagnose(attempt(Unreachable(Reason.RESET, "it ended", Phase.HEADERS))).remedy


def test_the_note_of_a_refusal_says_what_the_receiver_said() -> None:
    assert in_words(Answered(400, body=NGINX % b"The SSL certificate error")) == "nginx's page for status 400: The SSL certificate error"
    assert in_words(Answered(495)) == "status 495"
    assert in_words(Unreachable(Reason.CLIENT_CERTIFICATE_REFUSED, "the alert unknown_ca")) == "the alert unknown_ca"


@pytest.mark.parametrize(
    ("outcome", "presented"),
    [
        (Answered(500), True),
        (Unreachable(Reason.TIMEOUT, "", Phase.HEADERS), True),
        (Unreachable(Reason.RESET, "", Phase.REQUEST), True),
        (Unreachable(Reason.CLIENT_CERTIFICATE_REFUSED, "", Phase.TLS), True),
        (Unreachable(Reason.RESET_AFTER_CLIENT_CERTIFICATE, "", Phase.TLS), True),
        (Unreachable(Reason.WORKER_LOST), True),
        (Unreachable(Reason.DNS_ERROR, "", Phase.DNS), False),
        (Unreachable(Reason.ADDRESS_REFUSED, "", Phase.DNS), False),
        (Unreachable(Reason.CONNECT_REFUSED, "", Phase.CONNECT), False),
        (Unreachable(Reason.TLS_CERTIFICATE_EXPIRED, "", Phase.TLS), False),
        (Unreachable(Reason.TLS_PROTOCOL, "", Phase.TLS), False),
        (Unreachable(Reason.CREDENTIAL_EXPIRED, "", Phase.REQUEST), False),
    ],
    ids=lambda value: str(getattr(value, "reason", getattr(value, "status", value))),
)
def test_a_certificate_was_presented_only_in_attempts_that_came_so_far(outcome: Outcome, presented: bool) -> None:
    assert may_have_been_presented(outcome) is presented
