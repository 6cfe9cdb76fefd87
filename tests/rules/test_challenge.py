"""Did the receiver prove that it wants our events?"""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridhook.model import Answered, Echo, Reason, Unreachable
from gridhook.rules.challenge import TOKEN_BYTES, is_trusted_host, judge_echo, new_token, request_parts
from gridhook.rules.requests import delivery_headers

TOKEN = new_token(bytes(range(TOKEN_BYTES)))
ECHO = json.dumps({"challenge": TOKEN}).encode()


def test_the_handshake_is_the_guides_word_for_word():
    headers, body = request_parts(TOKEN)
    assert headers == (
        ("Content-Type", "application/json"),
        ("User-Agent", "AccessGrid-Webhooks/1.0"),
        ("X-AccessGrid-Webhook-Challenge", TOKEN),
    )
    assert json.loads(body) == {"challenge": TOKEN}


def test_the_token_is_64_hex_digits_from_32_random_bytes():
    assert bytes(range(32)).hex() == TOKEN
    with pytest.raises(ValueError):
        new_token(b"short")


ANSWERS = [
    (Answered(200, body=ECHO), Echo.MATCHED),
    (Answered(200, b"Content-Type: text/html\r\n", ECHO), Echo.MATCHED),
    (Answered(200, body=b' {"more": [1], "challenge":"' + TOKEN.encode() + b'"}\r\n'), Echo.MATCHED),
    (Answered(200, body=b"\xef\xbb\xbf" + ECHO), Echo.MATCHED),
    (Answered(201, body=ECHO), Echo.WRONG_STATUS),
    (Answered(202, body=ECHO), Echo.WRONG_STATUS),
    (Answered(204), Echo.WRONG_STATUS),
    (Answered(302, b"Location: https://elsewhere.example/\r\n", ECHO), Echo.WRONG_STATUS),
    (Answered(401, body=ECHO), Echo.WRONG_STATUS),
    (Answered(500, body=ECHO), Echo.WRONG_STATUS),
    (Answered(200), Echo.NOT_JSON),
    (Answered(200, body=TOKEN.encode()), Echo.NOT_JSON),
    (Answered(200, body=b"<p>" + ECHO), Echo.NOT_JSON),
    (Answered(200, body=ECHO + ECHO), Echo.NOT_JSON),
    (Answered(200, body=b"challenge=" + TOKEN.encode()), Echo.NOT_JSON),
    (Answered(200, body=b'"' + TOKEN.encode() + b'"'), Echo.NOT_JSON),
    (Answered(200, body=b"[" + ECHO + b"]"), Echo.NOT_JSON),
    (Answered(200, body=b"[" * 100_000), Echo.NOT_JSON),
    (Answered(200, body=ECHO.decode().encode("utf-16")), Echo.NOT_JSON),
    (Answered(200, body=ECHO, truncated=True), Echo.NOT_JSON),
    (Answered(200, body=ECHO, body_error="connection reset"), Echo.NOT_JSON),
    (Answered(200, body=b"{}"), Echo.NO_CHALLENGE),
    (Answered(200, body=b'{"Challenge":"' + TOKEN.encode() + b'"}'), Echo.NO_CHALLENGE),
    (Answered(200, body=b'{"data":' + ECHO + b"}"), Echo.NO_CHALLENGE),
    (Answered(200, body=b'{"challenge":"' + TOKEN.upper().encode() + b'"}'), Echo.MISMATCH),
    (Answered(200, body=b'{"challenge":"' + TOKEN.encode() + b' "}'), Echo.MISMATCH),
    (Answered(200, body=b'{"challenge":"\\u00e9"}'), Echo.MISMATCH),
    (Answered(200, body=b'{"challenge":""}'), Echo.MISMATCH),
    (Answered(200, body=b'{"challenge":null}'), Echo.MISMATCH),
    (Answered(200, body=b'{"challenge":["' + TOKEN.encode() + b'"]}'), Echo.MISMATCH),
    (Unreachable(Reason.TIMEOUT), Echo.NO_ANSWER),
]


@pytest.mark.parametrize(("outcome", "echo"), ANSWERS)
def test_only_200_with_the_token_in_a_json_object_verifies(outcome, echo):
    assert judge_echo(outcome, TOKEN) is echo


@given(status=st.integers(100, 999), body=st.binary(max_size=200))
def test_no_answer_of_a_receiver_breaks_the_judgement_or_verifies_by_chance(status, body):
    assert judge_echo(Answered(status, body=body), TOKEN) is not Echo.MATCHED


@given(token=st.binary(min_size=TOKEN_BYTES, max_size=TOKEN_BYTES).map(new_token))
def test_an_echo_of_another_handshake_verifies_nothing(token):
    assert (judge_echo(Answered(200, body=ECHO), token) is Echo.MATCHED) == (token == TOKEN)


@pytest.mark.parametrize("host", ["webhook.site", "WebHook.Site", "webhook.site."])
def test_webhook_site_is_trusted_in_any_case(host):
    assert is_trusted_host(host, ("webhook.site",))


@pytest.mark.parametrize("host", ["x.webhook.site", "webhook.site.example", "webhooksite", "webhook.site..", "", "1.2.3.4"])
def test_its_subdomains_and_lookalikes_are_not(host):
    assert not is_trusted_host(host, ("webhook.site",))
    assert not is_trusted_host(host, ())


def test_a_delivery_carries_the_guides_three_headers():
    assert delivery_headers("ab12") == (
        ("Content-Type", "application/cloudevents+json"),
        ("User-Agent", "AccessGrid-Webhooks/1.0"),
        ("Authorization", "Bearer ab12"),
    )


def test_without_a_bearer_key_there_is_no_authorization():
    assert [name for name, _ in delivery_headers(None)] == ["Content-Type", "User-Agent"]


@pytest.mark.parametrize("token", ["", "a b", "a\r\nX-Evil: 1", "a\0", "é", "ab\n"])
def test_no_key_smuggles_a_header_and_the_refusal_does_not_show_it(token):
    with pytest.raises(ValueError) as caught:
        delivery_headers(token)
    assert not token or token not in str(caught.value)
