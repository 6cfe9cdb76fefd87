"""Identifiers that no SDK trips over."""

from __future__ import annotations

from itertools import pairwise
from urllib.parse import quote
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridhook.rules import ids
from gridhook.rules.api_signature import is_bound

MAKERS = [ids.webhook_id, ids.account_id, ids.secret_id, ids.credential_id, ids.challenge_id, ids.publisher_key_id, ids.request_id]
ACTION_WORDS = {"suspend", "resume", "unlink", "delete", "publish", "verify", "webhooks", "key-cards", "0"}

entropies = st.binary(min_size=ids.ID_BYTES, max_size=ids.ID_BYTES)


@pytest.mark.parametrize("make", MAKERS)
@given(entropy=entropies)
def test_no_id_is_a_word_that_an_sdk_takes_for_an_action(make, entropy):
    text = make(entropy)
    assert text not in ACTION_WORDS
    assert text.partition("_")[2] not in ACTION_WORDS
    assert "templates" not in text
    assert quote(text, safe="") == text
    assert text == text.lower()
    assert 20 < len(text) <= 32


@given(entropy=entropies)
def test_a_webhook_id_is_wh_and_26_characters(entropy):
    text = ids.webhook_id(entropy)
    assert text.startswith("wh_")
    assert len(text) == 29


@given(one=entropies, other=entropies)
def test_different_entropy_makes_different_ids(one, other):
    assert (ids.webhook_id(one) == ids.webhook_id(other)) == (one == other)


@given(entropy=entropies)
def test_an_sdk_may_sign_every_webhook_id(entropy):
    text = ids.webhook_id(entropy)
    assert is_bound(b'{"id":"%s"}' % text.encode(), f"/v1/console/webhooks/{text}/verify")


@given(now=st.integers(0, 2**48 - 1), entropy=st.binary(min_size=10, max_size=10))
def test_an_event_id_is_a_version_7_uuid_that_holds_its_time_and_all_but_six_bits_of_chance(now, entropy):
    made = UUID(ids.uuid7(now, entropy))
    chance = int.from_bytes(entropy)
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert made.int >> 80 == now
    assert made.int >> 64 & 0xFFF == chance >> 68
    assert made.int & (1 << 62) - 1 == chance & (1 << 62) - 1


@given(nows=st.lists(st.integers(0, 2**48 - 1), min_size=2, unique=True), entropy=st.binary(min_size=10, max_size=10))
def test_event_ids_sort_by_time(nows, entropy):
    made = [ids.uuid7(now, entropy) for now in sorted(nows)]
    assert all(one < other for one, other in pairwise(made))


def test_a_secret_is_64_hex_digits():
    assert ids.secret_text(b"\xab" * 32) == "ab" * 32


@pytest.mark.parametrize("make", [*MAKERS, ids.secret_text, lambda entropy: ids.uuid7(0, entropy)])
@pytest.mark.parametrize("entropy", [b"", b"short", b"x" * 64])
def test_too_little_chance_is_refused(make, entropy):
    with pytest.raises(ValueError):
        make(entropy)
