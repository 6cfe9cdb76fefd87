"""Whose request is it? Every SDK's spelling opens the door, and nothing else does."""

from __future__ import annotations

import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridhook.errors import Unauthenticated
from gridhook.rules.api_signature import REFUSAL, Proof, Spelling, is_bound, sign, signed_payload, verify

SECRET = "test_secret"
LIST = "/v1/console/webhooks"
ONE = "/v1/console/webhooks/wh_1"

PY_CREATE = (
    b'{"name": "Prod", "url": "https://example.com/h", "subscribed_events": ["ag.access_pass.issued"], "auth_method": "bearer_token"}'
)
JS_CREATE = b'{"name":"Prod","url":"https://example.com/h?a=b&c=d","subscribed_events":["ag.access_pass.issued"]}'
PHP_CREATE = rb'{"name":"Prod","url":"https:\/\/example.com\/h","subscribed_events":["ag.access_pass.issued"]}'
CAFE = '{"name":"Café","url":"https://example.com/h","subscribed_events":["ag.access_pass.issued"]}'.encode()

VECTORS = [
    (b'{"id": "webhooks"}', "dad035c2bc321773f9a5ca22c0de93147182c38319ead6ecd5b01e983a92f5a2"),
    (b'{"id":"webhooks"}', "2d4f412c032dba84978ae2d38143710ad7098cb33d1e9aea64e1f414b5447c7a"),
    (b"{}", "bb98f7d7e577e826235bd51f99cfb30542e74f0f992624fd3bb61d7cf053f737"),
    (b'{"id": "wh_1"}', "327a43031d08e8f49763e1901f70b58e028055637098ff3da469d01ab4c97e3d"),
    (b'{"id":"wh_1"}', "b0f3e853367a1cda309f9c4de66dc7dc060355011d05f7dc2aaa24756e7f26cd"),
    (b'{"id":"card_123"}', "0b1918a2ba398bbd851ba5ab8bbcfe3a3fdbee5857f64e49439d97a717f76d51"),
    (b'{"name":"test"}', "0e492e35e3858140c7e4a6678ca96a2dc553e81cc3bd97b5cf4a8576107b868e"),
    (b'{"id":"webhooks?page=2&per_page=10"}', "92cd6b42a0ec4052d7bb170ebc0ed90e240729c8c0fc01207fbe916a4604284f"),
    (PY_CREATE, "fa48876d1e60c155431899b3fdf7eac8c4c893ff54b56fce2ab0c80540155500"),
    (JS_CREATE, "07d5eee2b9349438a2091799b66132a8f43d1b78de790a441c53a4a69b706b02"),
    (PHP_CREATE, "0a8221912eeb4ed195bfb00d8ec10d8089bfb5f7f742ac13a240cd741421cd25"),
    (CAFE, "88cbb17d5f327e63077e4a8c4114b2ff1dce7d887a68f24ca9017f7daaf501bd"),
]
CAFE_AS_JS_SIGNS_IT = "2256c4ce525a459a740b1d848fe1fd14d31038fc1def233754ada5e77fdc6865"
JS_CREATE_WRAPPED = "152af1953f860019bc54d224f585c77f4c9fdcfe48ed12e1fbca01232e8242ac"
LIST_SHA256 = "bb4b735e519efd44e4c81143b0331ac5167aac71b45a75f779f4abdb79e76014"
JS_CREATE_SHA256 = "72f8db0594f9934b7e318f9317929c682da1464ab1fd1182cb6ae0fd574d128f"
JS_CREATE_SHA256_WRAPPED = "5943e53ff9467a4fd2e7599618d90f41a337823874c54ab0f575b972a3c0b97a"


def proof(
    signature: str | None,
    *,
    body: bytes = b"",
    query: bytes = b"",
    path: str = LIST,
    secrets: tuple[str, ...] = (SECRET,),
    wrapped_base64: bool = True,
    legacy_sha256: bool = False,
) -> Proof:
    return verify(
        secrets=secrets,
        signature=signature,
        body=body,
        query=query,
        path=path,
        wrapped_base64=wrapped_base64,
        legacy_sha256=legacy_sha256,
    )


def refused(signature: str | None, **request: object) -> bool:
    with pytest.raises(Unauthenticated) as caught:
        proof(signature, **request)  # type: ignore[arg-type]
    assert str(caught.value) == REFUSAL
    return True


@pytest.mark.parametrize(("payload", "signature"), VECTORS)
def test_the_published_vectors_come_out(payload, signature):
    assert sign(SECRET, payload) == signature
    assert proof(signature, body=payload, path=LIST).spelling is Spelling.STRICT


# The query strings that the SDKs put on the wire, word for word, with the payload that each of them signs.
WIRE = [
    ("py list", LIST, b"sig_payload=%7B%22id%22%3A+%22webhooks%22%7D", b'{"id": "webhooks"}'),
    ("py page", LIST, b"page=2&per_page=10&sig_payload=%7B%22id%22%3A+%22webhooks%22%7D", b'{"id": "webhooks"}'),
    ("py delete", ONE, b"sig_payload=%7B%22id%22%3A+%22wh_1%22%7D", b'{"id": "wh_1"}'),
    ("py verify", ONE + "/verify", b"sig_payload=%7B%22id%22%3A+%22wh_1%22%7D", b'{"id": "wh_1"}'),
    ("js list", LIST, b"sig_payload=%7B%22id%22%3A%22webhooks%22%7D", b'{"id":"webhooks"}'),
    (
        "js page leak",
        LIST,
        b"page=2&per_page=10&sig_payload=%7B%22id%22%3A%22webhooks%3Fpage%3D2%26per_page%3D10%22%7D",
        b'{"id":"webhooks?page=2&per_page=10"}',
    ),
    ("js delete", ONE, b"sig_payload=%7B%22id%22%3A%22wh_1%22%7D", b'{"id":"wh_1"}'),
    ("java list", LIST, b"sig_payload=%7B%7D", b"{}"),
    ("java delete", ONE, b"sig_payload=%7B%7D", b"{}"),
    ("cs list", LIST, b"sig_payload=%7B%22id%22%3A%20%22webhooks%22%7D", b'{"id": "webhooks"}'),
    ("cs page", LIST, b"page=2&per_page=10&sig_payload=%7B%22id%22%3A%20%22webhooks%22%7D", b'{"id": "webhooks"}'),
    ("rb verify", ONE + "/verify", b"sig_payload=%7B%22id%22%3A%22wh_1%22%7D", b'{"id":"wh_1"}'),
    ("ex any order", LIST, b"per_page=10&sig_payload=%7B%22id%22%3A%22webhooks%22%7D&page=2", b'{"id":"webhooks"}'),
    ("php raw verify", ONE + "/verify", b"sig_payload=%7B%22id%22%3A%22verify%22%7D", b'{"id":"verify"}'),
]


@pytest.mark.parametrize(("path", "query", "payload"), [row[1:] for row in WIRE], ids=[row[0] for row in WIRE])
def test_every_sdk_gets_in_with_its_own_spelling_of_sig_payload(path, query, payload):
    assert signed_payload(b"", query) == (payload, True)
    assert proof(sign(SECRET, payload), query=query, path=path).payload == payload


def test_a_body_counts_and_a_sig_payload_beside_it_does_not():
    query = b"sig_payload=%7B%7D"
    assert proof(sign(SECRET, PY_CREATE), body=PY_CREATE, query=query).payload == PY_CREATE
    assert refused(sign(SECRET, b"{}"), body=PY_CREATE, query=query)


def test_a_body_of_two_braces_is_a_body():
    assert refused(sign(SECRET, b'{"id":"wh_1"}'), body=b"{}", query=b"sig_payload=%7B%22id%22%3A%22wh_1%22%7D", path=ONE)


@pytest.mark.parametrize("body", [b"", b" ", b"\r\n\t "])
def test_a_blank_body_leaves_the_word_to_sig_payload(body):
    assert proof(sign(SECRET, b"{}"), body=body, query=b"sig_payload=%7B%7D").payload == b"{}"


@pytest.mark.parametrize("query", [b"", b"page=2", b"sig_payload=", b"sig_payload"])
@pytest.mark.parametrize("signed", [b"", b"{}"])
def test_without_body_and_sig_payload_nothing_is_assumed(query, signed):
    assert refused(sign(SECRET, signed), query=query)


@pytest.mark.parametrize(
    "query", [b"sig_payload=%7B%7D&sig_payload=%7B%7D", b"sig_payload=%7B%7D&page=1&sig%5Fpayload=x", b"sig_payload=&sig_payload=%7B%7D"]
)
def test_a_second_sig_payload_is_refused_also_beside_a_body(query):
    assert refused(sign(SECRET, b"{}"), query=query)
    assert refused(sign(SECRET, PY_CREATE), body=PY_CREATE, query=query)


def test_a_sig_payload_that_is_not_utf8_is_refused():
    assert refused(sign(SECRET, b"\xff\xfe"), query=b"sig_payload=%FF%FE")


def test_the_js_sdk_may_sign_the_latin_1_form_of_what_it_sends():
    assert proof(CAFE_AS_JS_SIGNS_IT, body=CAFE).spelling is Spelling.LATIN_1


def test_the_latin_1_form_is_not_tried_for_what_latin_1_cannot_hold():
    body = '{"name":"☕"}'.encode()
    assert proof(sign(SECRET, body), body=body).spelling is Spelling.STRICT
    assert refused(sign(SECRET, body.decode().encode("utf-16-le")), body=body)


def test_the_latin_1_form_is_for_bodies_only():
    payload = '{"name":"é"}'.encode()
    assert refused(sign(SECRET, payload.decode().encode("latin-1")), query=b"sig_payload=" + quote(payload).encode())


def test_curl_users_who_forget_w0_get_in_unless_the_operator_minds():
    assert proof(JS_CREATE_WRAPPED, body=JS_CREATE).spelling is Spelling.WRAPPED
    assert refused(JS_CREATE_WRAPPED, body=JS_CREATE, wrapped_base64=False)


@pytest.mark.parametrize(
    ("signature", "body", "query", "spelling"),
    [
        (LIST_SHA256, b"", b"sig_payload=%7B%22id%22%3A%22webhooks%22%7D", Spelling.SHA256),
        (JS_CREATE_SHA256, JS_CREATE, b"", Spelling.SHA256),
        (JS_CREATE_SHA256_WRAPPED, JS_CREATE, b"", Spelling.SHA256_WRAPPED),
    ],
)
def test_the_superseded_signature_needs_its_setting(signature, body, query, spelling):
    assert refused(signature, body=body, query=query)
    assert proof(signature, body=body, query=query, legacy_sha256=True).spelling is spelling


def test_either_of_two_live_secrets_signs_and_the_proof_says_which():
    signature = sign("new", b"{}")
    assert proof(signature, query=b"sig_payload=%7B%7D", secrets=("old", "new")).secret == 1
    assert proof(sign("old", b"{}"), query=b"sig_payload=%7B%7D", secrets=("old", "new")).secret == 0
    assert refused(signature, query=b"sig_payload=%7B%7D", secrets=("old",))


@pytest.mark.parametrize("key", ["0" * 64, "", "\0" * 64, "\0" * 32])
def test_an_unknown_account_has_no_key_that_opens_it_not_even_the_stand_in(key):
    assert refused(sign(key, b"{}"), query=b"sig_payload=%7B%7D", secrets=())
    assert refused(sign(key, b"{}"), query=b"sig_payload=%7B%7D", secrets=("another",))


@pytest.mark.parametrize("signature", [None, "", "zz", "0" * 63, "0" * 65, "0" * 64 + "\n", "g" * 64, "é" * 64, "٣" * 64])
def test_what_is_not_64_hex_digits_is_refused_in_the_same_words(signature):
    assert refused(signature, query=b"sig_payload=%7B%7D")


def test_upper_case_digits_are_digits():
    assert proof(sign(SECRET, b"{}").upper(), query=b"sig_payload=%7B%7D")


def test_a_signature_for_one_webhook_is_no_use_on_another():
    query = b"sig_payload=%7B%22id%22%3A%22wh_1%22%7D"
    signature = sign(SECRET, b'{"id":"wh_1"}')
    assert proof(signature, query=query, path=ONE)
    assert refused(signature, query=query, path="/v1/console/webhooks/wh_2")
    assert refused(signature, query=query, path="/v1/console/webhooks/wh_11")
    assert refused(signature, query=query, path=LIST)


def test_a_signature_that_lists_does_not_delete():
    query = b"sig_payload=%7B%22id%22%3A%22webhooks%22%7D"
    assert refused(sign(SECRET, b'{"id":"webhooks"}'), query=query, path=ONE)


BINDINGS = [
    (b'{"id":"webhooks"}', LIST, True),
    (b'{"id":"webhooks?page=2"}', LIST, True),
    (b'{"id":"webhooks?page=2"}', ONE, False),
    (b'{"id":"wh_1?x"}', ONE, True),
    (b'{"id":"wh_1?x"}', ONE + "/verify", False),
    (b'{"id":"wh_1"}', ONE + "/attempts", True),
    (b'{"id":"attempts"}', ONE + "/attempts", True),
    (b'{"id":"a b"}', "/v1/console/webhooks/a%20b", True),
    (b'{"id":"a%20b"}', "/v1/console/webhooks/a%20b", True),
    (b'{"id":"console"}', ONE, False),
    (b'{"id":""}', ONE, False),
    (b'{"id":null}', ONE, False),
    (b'{"id":1}', "/v1/console/webhooks/1", False),
    (b'{"id":["wh_1"]}', ONE, False),
    (b'{"id":"wh_2","id":"wh_1"}', ONE, True),
    (b"{}", ONE, True),
    (b'{"scope":"all"}', ONE, True),
    (b"[]", ONE, True),
    (b"free text", ONE, True),
    (b"[" * 100_000, ONE, True),
    (b'{"id":"wh_1"}', "/", False),
]


@pytest.mark.parametrize(("payload", "path", "expected"), BINDINGS)
def test_the_signed_id_must_be_of_this_path(payload, path, expected):
    assert is_bound(payload, path) is expected


@given(payload=st.binary(min_size=1, max_size=200).filter(bytes.strip), bit=st.integers(0, 255))
def test_any_flipped_bit_of_the_signature_is_noticed(payload, bit):
    good = bytes.fromhex(sign(SECRET, payload))
    bad = bytearray(good)
    bad[bit // 8] ^= 1 << bit % 8
    assert proof(good.hex(), body=payload)
    assert refused(bad.hex(), body=payload)


@given(payload=st.binary(min_size=1, max_size=200).filter(bytes.strip), data=st.data())
def test_any_flipped_bit_of_the_body_is_noticed(payload, data):
    bit = data.draw(st.integers(0, len(payload) * 8 - 1))
    other = bytearray(payload)
    other[bit // 8] ^= 1 << bit % 8
    assert refused(sign(SECRET, payload), body=bytes(other))


@given(value=st.dictionaries(st.sampled_from(["page", "x"]), st.text(max_size=20), max_size=2), plus=st.booleans())
def test_sig_payload_is_read_as_the_signer_wrote_it_whichever_way_it_is_escaped(value, plus):
    text = json.dumps(value, ensure_ascii=False)
    query = ("a=1&sig_payload=" + (quote_plus(text) if plus else quote(text, safe=""))).encode()
    assert signed_payload(b"", query) == (text.encode(), True)


@given(body=st.binary(max_size=60), query=st.binary(max_size=60), path=st.text(max_size=30), signature=st.text(max_size=70))
def test_whatever_comes_is_refused_in_one_text_and_breaks_nothing(body, query, path, signature):
    assert refused(signature, body=body, query=query, path=path, legacy_sha256=True)
