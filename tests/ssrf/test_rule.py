"""The corpus against the pure rule."""

from __future__ import annotations

import pytest

from gridhook.errors import Invalid
from gridhook.rules.addresses import AddressPolicy, parse_url, refusal
from tests.ssrf.corpus import Case, cases, ip_cases, url_cases


@pytest.mark.parametrize("case", ip_cases(), ids=str)
def test_an_address_is_refused_exactly_when_it_is_not_public(case: Case):
    assert case.ip is not None
    refused = refusal(case.ip, AddressPolicy.from_texts(**case.policy))
    assert (refused is None) == case.allow, case.why
    assert case.allow or str(refused).startswith(f"{case.ip} is in ")


@pytest.mark.parametrize("case", url_cases(), ids=str)
def test_a_url_is_refused_for_what_it_says_or_for_what_its_name_resolves_to(case: Case):
    policy = AddressPolicy.from_texts(**case.policy)
    if case.is_refused_by_url_alone:
        with pytest.raises(Invalid) as caught:
            parse_url(case.url, policy)
        assert caught.value.field == "url"
        return
    target = parse_url(case.url, policy)
    refused = [refusal(address, policy, target.host) for step in case.answers for address in step]
    # An empty answer and a redirect are refused further on: by the resolver, by the sender.
    assert any(refused) != (case.allow or case.kind in ("dns-empty", "redirect")), case.why


def test_the_corpus_is_whole():
    ids = [case.id for case in cases()]
    assert len(ids) == len(set(ids)) == 251
    assert sum(case.is_refused_by_url_alone for case in cases()) == 102
