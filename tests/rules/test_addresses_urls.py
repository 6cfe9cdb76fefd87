"""The grammar of a webhook's URL: what is kept, what is normalised, what is refused with which remedy."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gridhook.errors import Invalid
from gridhook.rules.addresses import PUBLIC_ONLY, AddressPolicy, parse_url


def problem(url: str, **texts) -> str:
    with pytest.raises(Invalid) as caught:
        parse_url(url, AddressPolicy.from_texts(**texts))
    assert caught.value.field == "url"
    return caught.value.message


@pytest.mark.parametrize(
    ("text", "url", "authority", "path"),
    [
        ("https://Example.COM", "https://example.com/", "example.com", "/"),
        ("HTTPS://example.com.:443/a", "https://example.com/a", "example.com", "/a"),
        ("http://example.com:8080?x=1", "http://example.com:8080/?x=1", "example.com:8080", "/?x=1"),
        ("https://example.com:80/", "https://example.com:80/", "example.com:80", "/"),
        ("https://bücher.example.com/", "https://xn--bcher-kva.example.com/", "xn--bcher-kva.example.com", "/"),
        ("https://faß.example.com/", "https://xn--fa-hia.example.com/", "xn--fa-hia.example.com", "/"),
        ("https://[2606:4700:0::1111]:8443/", "https://[2606:4700::1111]:8443/", "[2606:4700::1111]:8443", "/"),
        ("https://example.com/a/../b//c", "https://example.com/a/../b//c", "example.com", "/a/../b//c"),
        ("https://example.com/é 1".replace(" ", ""), "https://example.com/%C3%A91", "example.com", "/%C3%A91"),
        ("https://example.com/100%/%2f|<x>", "https://example.com/100%25/%2f%7C%3Cx%3E", "example.com", "/100%25/%2f%7C%3Cx%3E"),
        ("https://example.com/?a=b&c=%20&d=|%", "https://example.com/?a=b&c=%20&d=|%", "example.com", "/?a=b&c=%20&d=|%"),
        ("https://example.com/?q=é?/", "https://example.com/?q=%C3%A9?/", "example.com", "/?q=%C3%A9?/"),
        ("https://pr--1.ab--cd.example.com/", "https://pr--1.ab--cd.example.com/", "pr--1.ab--cd.example.com", "/"),
    ],
)
def test_a_url_is_rebuilt_from_its_parts_in_one_form(text, url, authority, path):
    target = parse_url(text, PUBLIC_ONLY)
    assert (target.url, target.authority, target.path) == (url, authority, path)
    assert parse_url(target.url, PUBLIC_ONLY) == target


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("", "is empty"),
        ("https://example.com/" + "a" * 2048, "2048 is the limit"),
        ("https://example.com/" + "é" * 1000, "when encoded"),
        ("example.com/hook", "must start with http:// or https://"),
        ("https:///hook", "has no host"),
        ("https://user:pw@example.com/", "remove it"),
        ("https://example.com/#top", "fragment"),
        ("https://example.com/a b", "%20"),
        ("https://example.com/\u200b", "U+200B"),
        ("https://example.com:/", "port"),
        ("https://example.com:080/", "port"),
        ("https://[::1]:80x/", "port"),
        ("https://[::1", "has a host"),
        ("https://example.com..:443/", "empty label"),
        ("https://my_host.example.com/", "labels are"),
        ("https://-a.example.com/", "labels are"),
        ("https://" + "a" * 64 + ".example.com/", "labels are at most 63"),
        ("https://" + "a." * 127 + "com/", "253"),
        ("https://93。184。216。34/", "plain form"),
        ("https://10.0.0.5/", "10.0.0.5 is in 10.0.0.0/8, private (RFC 1918)"),
        ("https://example.com:22/", "port 22"),
        ("https://receiver/", "write the full name"),
    ],
)
def test_a_bad_url_is_refused_with_what_to_do(url, remedy):
    assert remedy in problem(url)


@pytest.mark.parametrize("url", ["http://localhost:8080/", "http://web_app/", "http://db.internal/", "https://LOCALHOST./"])
def test_a_name_without_public_meaning_is_accepted_when_the_operator_lists_it(url):
    assert problem(url)
    assert parse_url(url, AddressPolicy.from_texts(allow_hosts=["localhost", "web_app", "DB.internal"]))


def test_an_operator_may_name_the_only_ports():
    assert "sends only to 443, 8443" in problem("https://example.com:3000/", allow_ports=[443, 8443])
    assert parse_url("https://example.com/", AddressPolicy.from_texts(allow_ports=[443])).port == 443
    assert parse_url("https://example.com:6379/", AddressPolicy.from_texts(allow_ports=[6379])).port == 6379


def test_a_literal_that_the_operator_opened_is_a_target():
    target = parse_url("http://127.0.0.1:8080/x", AddressPolicy.from_texts(allow_networks=["127.0.0.0/8"]))
    assert (target.host, target.port, str(target.literal)) == ("127.0.0.1", 8080, "127.0.0.1")


ODD = ["http", "https", "://", "/", "?", "@", ":", "[", "]", "::", "%", ".", "..", "xn--", "a", "1", "0x", "80", "ß", "é", "。", "#"]
PIECES = st.lists(st.sampled_from(ODD) | st.characters(), max_size=24).map("".join)


@given(PIECES | PIECES.map(lambda text: "https://" + text))
@example("https://xn--/")
@example("https://xn--a\u0300/")
@example("https://\u0300.com/")
@example("https://\ud800/")
def test_any_text_is_a_target_that_is_plain_ascii_or_is_refused_for_its_url(text):
    try:
        target = parse_url(text, PUBLIC_ONLY)
    except Invalid:
        return
    assert target.url.isascii()
    assert target.url.isprintable()
    assert " " not in target.url
    assert target.path.startswith("/")
    assert target.url == f"{target.scheme}://{target.authority}{target.path}"
    assert parse_url(target.url, PUBLIC_ONLY) == target
