"""What we sign, the receivers' own library accepts; what was changed on the way, it refuses."""

from __future__ import annotations

import time
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from gridhook.errors import Invalid
from gridhook.rules.cloudevents import read_event
from gridhook.rules.signatures import header_id, new_key, signature_headers

OLD, NEW, FOREIGN = (new_key(bytes([number]) * 32) for number in (1, 2, 3))
BODY = '{"specversion":"1.0","id":"7f3c7a0e","data":{"full_name":"Zoë Ñandú"}}'.encode()

keys = st.binary(min_size=32, max_size=32).map(new_key)
bodies = st.dictionaries(st.text(), st.text()).map(lambda data: repr(data).encode())


def publishable(text: str) -> bool:
    """Whether a publisher may choose it as the id of an event."""
    try:
        read_event({"type": "ag.hid_org.created", "data": {}, "id": text}, plain=True)
    except Invalid:
        return False
    return True


event_ids = st.text(min_size=1, max_size=255).filter(publishable)


def accepts(key: str, headers: dict[str, str], body: bytes) -> bool:
    """What a receiver with this key says, asked through the library that it would use. The library looks at the real clock."""
    try:
        Webhook(key).verify(body, headers, json_parse=False)
    except WebhookVerificationError:
        return False
    return True


def test_the_published_example_has_the_published_signature():
    headers = signature_headers(
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert headers == (
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    )


@given(key=keys, event_id=event_ids, body=bodies)
def test_a_receiver_accepts_every_event_that_a_publisher_can_send(key, event_id, body):
    headers = dict(signature_headers([key], event_id, int(time.time()), body))
    assert accepts(key, headers, body)


def test_while_a_key_is_replaced_a_receiver_with_either_accepts_and_one_with_neither_does_not():
    headers = dict(signature_headers([NEW, OLD], "7f3c7a0e", int(time.time()), BODY))
    assert accepts(NEW, headers, BODY)
    assert accepts(OLD, headers, BODY)
    assert not accepts(FOREIGN, headers, BODY)


def test_the_newest_key_signs_first():
    def signature(*by: str) -> str:
        return dict(signature_headers(by, "7f3c7a0e", 1_800_000_000, BODY))["webhook-signature"]

    assert signature(NEW, OLD) == f"{signature(NEW)} {signature(OLD)}"
    assert signature(NEW).startswith("v1,")


@pytest.mark.parametrize(
    ("changed", "body"),
    [
        ({}, BODY + b" "),
        ({}, BODY.replace(b"7f3c", b"7f3d")),
        ({"webhook-id": "7f3c7a0f"}, BODY),
        ({"webhook-timestamp": str(int(time.time()) + 1)}, BODY),
        ({"webhook-signature": "v1,"}, BODY),
    ],
)
def test_what_was_changed_on_the_way_is_refused(changed, body):
    headers = dict(signature_headers([NEW], "7f3c7a0e", int(time.time()) - 5, BODY))
    assert accepts(NEW, headers, BODY)
    assert not accepts(NEW, {**headers, **changed}, body)


def test_an_attempt_that_is_replayed_an_hour_later_is_refused():
    headers = dict(signature_headers([NEW], "7f3c7a0e", int(time.time()) - 3600, BODY))
    assert not accepts(NEW, headers, BODY)


@given(event_id=event_ids)
def test_the_id_in_the_header_is_safe_there_and_decodes_to_the_events(event_id):
    sent = header_id(event_id)
    assert all("!" <= character <= "~" and character != "." for character in sent)
    assert unquote(sent, errors="strict") == event_id


@pytest.mark.parametrize(
    ("event_id", "sent"),
    [
        ("0190f3c2-7d1e-7a2b-9c4d-5e6f70819203", "0190f3c2-7d1e-7a2b-9c4d-5e6f70819203"),
        ("urn:door/7+a=b,c~d_e;f@g", "urn:door/7+a=b,c~d_e;f@g"),
        ("order.1", "order%2E1"),
        ("order%2E1", "order%252E1"),
        (" order 1 ", "%20order%201%20"),
        ("Tür-7", "T%C3%BCr-7"),
        ("🚪", "%F0%9F%9A%AA"),
    ],
)
def test_an_id_is_sent_as_it_is_unless_a_header_could_not_say_it(event_id, sent):
    assert header_id(event_id) == sent


def test_no_two_splits_into_id_time_and_body_are_signed_alike():
    one = signature_headers([NEW], "door", 1, b'2.{"a":1}')
    other = signature_headers([NEW], "door.1", 2, b'{"a":1}')
    assert dict(one)["webhook-signature"] != dict(other)["webhook-signature"]


@pytest.mark.parametrize(
    "key", ["", "whsec_", "whsec_????", "whsec_c2hvcnQ=", OLD.removeprefix("whsec_"), OLD + "\n", "whsec_" + "A" * 88, "whpk_" + OLD]
)
def test_what_is_no_signing_key_is_refused_and_not_shown(key):
    with pytest.raises(ValueError) as refused:
        signature_headers([key], "7f3c7a0e", 1, BODY)
    assert not key.removeprefix("whsec_") or key.removeprefix("whsec_") not in str(refused.value)


def test_without_key_id_or_time_nothing_is_signed():
    for by, event_id, timestamp in (([], "7f3c", 1), ([NEW], "", 1), ([NEW], "7f3c", -1), ([NEW], "\ud800", 1)):
        with pytest.raises(ValueError):
            signature_headers(by, event_id, timestamp, BODY)


@pytest.mark.parametrize("entropy", [b"", b"x" * 31, b"x" * 33])
def test_a_key_takes_32_bytes_of_chance(entropy):
    with pytest.raises(ValueError):
        new_key(entropy)
