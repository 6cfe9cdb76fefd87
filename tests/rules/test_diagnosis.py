"""What does the attempts log say to the person who must act?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gridhook.model import Answered, Attempt, AttemptKind, Echo, Outcome, Reason, Unreachable
from gridhook.rules.diagnosis import ECHOES, REASONS, STATUSES, diagnose


def attempt(outcome: Outcome, kind: AttemptKind = AttemptKind.DELIVERY, echo: Echo | None = None) -> Attempt:
    return Attempt("acc_1", "wh_1", kind, 1, 0, outcome, url="https://example.com/h", echo=echo)


def summary(status: int, *lines: bytes) -> str:
    return diagnose(attempt(Answered(status, b"".join(line + b"\r\n" for line in lines)))).summary


def remedy(status: int, *lines: bytes) -> str:
    return diagnose(attempt(Answered(status, b"".join(line + b"\r\n" for line in lines)))).remedy


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("kind", AttemptKind)
def test_every_reason_has_its_own_sentence_and_a_remedy(reason, kind):
    found = diagnose(attempt(Unreachable(reason), kind, Echo.NO_ANSWER if kind is AttemptKind.VERIFICATION else None))
    assert found == REASONS[reason]
    assert found.summary
    assert found.remedy
    assert [other for other in Reason if REASONS[other].summary == found.summary] == [reason]


@pytest.mark.parametrize("echo", Echo)
def test_every_echo_has_its_own_sentence_and_a_remedy_unless_it_verified(echo):
    found = diagnose(attempt(Answered(404 if echo is Echo.WRONG_STATUS else 200), AttemptKind.VERIFICATION, echo))
    assert ECHOES[echo].summary in found.summary
    assert bool(found.remedy) == (echo not in (Echo.MATCHED, Echo.TRUSTED_HOST))
    assert [other for other in Echo if ECHOES[other].summary == ECHOES[echo].summary] == [echo]


def test_what_is_noted_beside_an_outcome_is_said_after_it_and_cannot_deceive():
    note = "certificate crt_2 was refused (alert \u202e48); crt_1, the one before it, was presented at once"
    for outcome in (Answered(200), Unreachable(Reason.RESET)):
        plain, noted = diagnose(attempt(outcome)), diagnose(replace(attempt(outcome), note=note))
        assert noted.summary.startswith(f"{plain.summary}; certificate crt_2 was refused (alert ")
        assert noted.summary.endswith("crt_1, the one before it, was presented at once")
        assert noted.summary.isascii()
        assert noted.remedy == plain.remedy


def test_every_status_is_named_and_has_a_remedy_unless_it_is_success():
    assert [status for status in range(100, 1000) if f"answered {status}" not in summary(status)] == []
    assert [status for status in range(100, 1000) if not remedy(status)] == [200, 201]


@pytest.mark.parametrize("status", [202, 203, 204, 205, 206, 299])
def test_other_2xx_are_told_that_only_200_and_201_count(status):
    assert summary(status) == f"The receiver answered {status}; only 200 and 201 count as received"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_names_the_url_to_register(status):
    assert "redirects are not followed" in summary(status)
    assert remedy(status, b"Location: https://example.com/new") == "Register the final URL: https://example.com/new"
    assert remedy(status) == "Register the final URL."


def test_a_redirect_with_a_huge_and_hostile_location_is_cut_and_escaped():
    text = remedy(302, b"Location: https://e.example/\x1b[31m<script>\xe2\x80\xae" + b"A" * 60_000)
    assert text.startswith("Register the final URL: https://e.example/\\x1b[31m<script>\\xe2\\x80\\xaeAAA")
    assert text.endswith("A...")
    assert len(text) < 300


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (100, "not a final answer"),
        (401, "Authorization: Bearer"),
        (403, "key"),
        (404, "path"),
        (405, "POST"),
        (410, "delete the webhook"),
        (413, "limit"),
        (415, "application/cloudevents+json"),
        (429, "Retry-After"),
        (418, "log"),
        (500, "log"),
        (502, "proxy"),
        (599, "log"),
        (999, "no known status"),
    ],
)
def test_the_usual_failures_say_where_to_look(status, word):
    assert word in summary(status) + remedy(status)


@pytest.mark.parametrize("status", [429, 503])
def test_a_receiver_that_asks_to_wait_is_quoted(status):
    assert "Retry-After: 120" in summary(status, b"Retry-After: 120")
    assert "Retry-After" not in summary(status)


def test_statuses_with_words_of_their_own_are_failures_only():
    assert not {200, 201} & STATUSES.keys()


def test_a_body_that_broke_off_after_200_is_said_and_changes_nothing():
    found = diagnose(attempt(Answered(200, body_error="connection reset after 12 bytes")))
    assert found.summary.startswith("Received: the receiver answered 200")
    assert "connection reset after 12 bytes" in found.summary


def test_the_detail_of_what_went_wrong_stands_beside_the_sentence():
    found = diagnose(attempt(Unreachable(Reason.TLS_CERTIFICATE, "expired 3 days ago")))
    assert found.summary.endswith("(expired 3 days ago)")


def test_nothing_is_said_twice():
    for reason, detail in (
        (Reason.CONNECT_REFUSED, "the receiver's host refused the connection: nothing listens on that port"),
        (Reason.TIMEOUT, "no complete header section in time; the receiver may still have processed the request"),
    ):
        words = diagnose(attempt(Unreachable(reason, detail))).summary
        assert sum(words.count(again) for again in ("nothing listens", "have processed")) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_receiver_that_wants_the_key_in_the_handshake_is_told_why_it_is_not_there(status):
    found = diagnose(attempt(Answered(status), AttemptKind.VERIFICATION, Echo.WRONG_STATUS))
    assert found.summary == f"The receiver answered {status}; the handshake needs exactly 200"
    assert "no Authorization" in found.remedy


@pytest.mark.parametrize(("kind", "echo"), [(AttemptKind.DELIVERY, None), (AttemptKind.VERIFICATION, Echo.WRONG_STATUS)])
@pytest.mark.parametrize("status", [401, 403])
def test_who_receives_by_certificate_is_not_told_to_look_for_a_key_that_does_not_exist(status, kind, echo):
    made = attempt(Answered(status), kind, echo)
    by_certificate = diagnose(replace(made, credential_id="crt_1"))
    assert by_certificate.summary == diagnose(made).summary
    assert "this webhook's own certificate, which names it (CN wh_..." in by_certificate.remedy
    assert " key" not in by_certificate.remedy
    assert " key" in diagnose(replace(made, credential_id="cred_1")).remedy


def test_a_handshake_that_is_redirected_names_the_url_to_register():
    found = diagnose(attempt(Answered(301, b"Location: https://e.example/\r\n"), AttemptKind.VERIFICATION, Echo.WRONG_STATUS))
    assert found.remedy == "Register the final URL: https://e.example/"


@given(
    status=st.integers(100, 999),
    headers=st.one_of(st.binary(max_size=80), st.binary(max_size=80).map(lambda v: b"Location: " + v + b"\r\nRetry-After: " + v)),
    body_error=st.none() | st.text(max_size=30),
    detail=st.text(max_size=400),
    reason=st.sampled_from(Reason),
)
def test_whatever_a_receiver_sends_the_words_are_short_printable_ascii(status, headers, body_error, detail, reason):
    for outcome in (Answered(status, headers, body_error=body_error), Unreachable(reason, detail)):
        for kind, echo in ((AttemptKind.DELIVERY, None), (AttemptKind.VERIFICATION, Echo.WRONG_STATUS), (AttemptKind.VERIFICATION, None)):
            found = diagnose(attempt(outcome, kind, echo))
            for text in (found.summary, found.remedy):
                assert text.isascii()
                assert text.isprintable()
                assert len(text) < 2_000
