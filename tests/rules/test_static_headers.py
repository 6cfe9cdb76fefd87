"""A customer's own headers reach the receiver as they were given, and never touch what we say there."""

from __future__ import annotations

import contextlib
import re

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridhook.errors import Invalid
from gridhook.rules import static_headers
from gridhook.rules.requests import delivery_headers
from gridhook.rules.signatures import new_key, signature_headers
from gridhook.rules.static_headers import check_headers, merge_headers

SIGNED = signature_headers([new_key(b"k" * 32)], "7f3c7a0e", 1_800_000_000, b"{}")
OURS = (*delivery_headers("ab12"), *SIGNED)


def refusal(given: dict[str, object]) -> Invalid:
    with pytest.raises(Invalid) as refused:
        check_headers(given)
    return refused.value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Api-Key", "s3cr3t"),
        ("X-Team", "Doors, North & South; floor=7"),
        ("X-Query", '{"a": "b:c"}'),
        ("x", "1"),
        ("Api_Key", "a\tb"),
        ("Referer", "https://hooks.example.com/"),
        ("Accept-Language", "en"),
        ("CF-Access-Client-Id", "a" * 1024),
        ("X-" + "n" * 62, "v"),
        ("!#$%&'*+.^_`|~-9", "v"),
        ("Hosting", "v"),
        ("Webhooks", "v"),
        ("X-Contents", "v"),
        ("Datetime", "v"),
    ],
)
def test_a_header_for_the_receivers_front_door_is_kept_as_it_was_given(name, value):
    assert check_headers({name: value}) == {name: value}


def test_surrounding_spaces_and_tabs_are_no_part_of_a_value():
    assert check_headers({"X-Team": " \t Doors  North \t"}) == {"X-Team": "Doors  North"}


@pytest.mark.parametrize(
    "name",
    [
        # of the connection: RFC 9110 s7.6.1, RFC 9112
        *("Connection", "Keep-Alive", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "HTTP2-Settings", "Expect"),
        *("Proxy-Connection", "Proxy-Authorization", "Proxy-Anything", "Proxy"),
        # ours
        *("Host", "Content-Type", "Content-Length", "Content-Encoding", "Content-MD5", "Content-Anything", "User-Agent", "Authorization"),
        *("Accept", "Accept-Encoding", "X-AccessGrid-Webhook-Challenge", "X-AccessGrid-Anything"),
        *("webhook-id", "webhook-timestamp", "webhook-signature", "Webhook-Anything", "ce-id", "ce-specversion"),
        # another's
        *("Cookie", "Set-Cookie", "Date", "Via", "Forwarded", "X-Forwarded-For", "X-Real-IP", "X-HTTP-Method-Override"),
        *("Metadata-Flavor", "Metadata", "X-aws-ec2-metadata-token", "X-aws-ec2-metadata-token-ttl-seconds", "X-Google-Metadata-Request"),
    ],
)
def test_what_is_not_the_customers_to_say_is_refused_however_it_is_spelled(name):
    for spelling in (name, name.lower(), name.upper(), name.replace("-", "_"), name.replace("-", "."), name.replace("-", "!")):
        refused = refusal({"X-Team": "Doors", spelling: "secret-value"})
        assert refused.field == f"headers/{spelling}"
        assert refused.message.startswith("cannot be set: it ")
        assert "choose a name of your own" in refused.message
        assert "secret-value" not in str(refused)


@pytest.mark.parametrize(
    "name", ["", " ", "X Team", "X-Team ", "X-Team:", ":path", "X-Team\r\nX-Evil", "X-Team\0", "Tür", "(x)", "x\x7f", "x\n"]
)
def test_what_is_no_header_name_is_refused_without_being_repeated(name):
    refused = refusal({name: "v"})
    assert refused.field == "headers"
    assert "is not a header name" in refused.message


def test_a_long_name_is_refused_without_being_repeated():
    refused = refusal({"n" * 65: "v"})
    assert str(refused) == "headers: has a name of 65 characters; at most 64 are allowed"
    assert len(str(refusal({"n" * 1_000_000 + " ": "v"}))) < 200


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("", "must not be empty"),
        (" \t ", "must not be empty"),
        ("s3cr3t\r\nX-Evil: 1", "character 7 is U+000D"),
        ("s3cr3t\nX-Evil: 1", "character 7 is U+000A"),
        ("s3cr3t\n", "character 7 is U+000A"),
        ("\ns3cr3t", "character 1 is U+000A"),
        ("s3cr3t\0", "character 7 is U+0000"),
        ("s3cr3t\x0b", "character 7 is U+000B"),
        ("s3cr3t\x7f", "character 7 is U+007F"),
        ("s3cr3té", "character 7 is U+00E9"),
        ("s3cr3t\u2028", "character 7 is U+2028"),
        ("s3cr3t\u0120", "character 7 is U+0120"),
        ("s3cr3t\u00a0", "character 7 is U+00A0"),
        ("s3cr3t" * 171, "has 1026 bytes; at most 1024"),
        (None, "must be a string"),
        (7, "must be a string"),
        (True, "must be a string"),
        (["s3cr3t"], "must be a string"),
    ],
)
def test_what_is_no_header_value_is_refused_without_being_repeated(value, says):
    refused = refusal({"X-Team": value})
    assert refused.field == "headers/X-Team"
    assert says in refused.message
    assert "s3cr3t" not in str(refused)


@pytest.mark.parametrize(("one", "other"), [("X-Team", "x-team"), ("X-Team", "X_Team"), ("x.team", "X-TEAM")])
def test_one_header_under_two_spellings_is_refused(one, other):
    refused = refusal({one: "Doors", other: "Doors"})
    assert refused.field == f"headers/{other}"
    assert refused.message.startswith(f"is the same header as {one}")


def test_there_are_at_most_20_headers_and_4_kib_of_them():
    assert len(check_headers({f"X-{n}": "v" for n in range(20)})) == 20
    assert refusal({f"X-{n}": "v" for n in range(21)}).message == "has 21 headers; at most 20 are allowed"
    long = {f"X-{n}": "v" * 1021 for n in range(4)}
    assert check_headers(long) == long
    refused = refusal({**long, "X": "v"})
    assert refused.field == "headers"
    assert refused.message.startswith("take 4098 bytes together; at most 4096")


CURRENT = {"X-Team": "Doors", "X-Api-Key": "s3cr3t"}


@pytest.mark.parametrize(
    ("patch", "merged"),
    [
        ({}, CURRENT),
        ({"X-Team": "Gates"}, {"X-Team": "Gates", "X-Api-Key": "s3cr3t"}),
        ({"x_team": "Gates"}, {"x_team": "Gates", "X-Api-Key": "s3cr3t"}),
        ({"x-team": None}, {"X-Api-Key": "s3cr3t"}),
        ({"X-Team": None, "X-Api-Key": None}, {}),
        ({"X-Other": None}, CURRENT),
        ({"Authorization": None, "not a name": None}, CURRENT),
        ({"X-Floor": " 7 "}, {**CURRENT, "X-Floor": "7"}),
    ],
)
def test_a_change_sets_what_it_names_removes_what_it_sets_to_null_and_leaves_the_rest(patch, merged):
    assert list(merge_headers(CURRENT, patch).items()) == list(merged.items())


@pytest.mark.parametrize(
    ("patch", "field", "says"),
    [
        ({"Host": "a"}, "headers/Host", "cannot be set"),
        ({"X-Team": 7}, "headers/X-Team", "must be a string"),
        ({"X-Team": ""}, "headers/X-Team", "set it to null in a change to remove it"),
        ({"X-Team": None, "x-team": "Gates"}, "headers/x-team", "which this change names too"),
        ({"a b": None, "a_b": None, "A B": "x"}, "headers/a_b", "which this change names too"),
        ({f"X-{n}": "v" for n in range(19)}, "headers", "has 21 headers"),
    ],
)
def test_a_change_to_what_may_not_be_is_refused_and_its_field_named(patch, field, says):
    with pytest.raises(Invalid) as refused:
        merge_headers(CURRENT, patch)
    assert refused.value.field == field
    assert says in refused.value.message


# Names and values near the rules: real ones, ours respelled, and anything.
names = st.one_of(
    st.text(alphabet="xX-_.:aHostCnetyp \r\n", max_size=12),
    st.sampled_from([name for name, _ in OURS] + ["Host", "Content-Length", "Transfer-Encoding"]).flatmap(
        lambda name: st.sampled_from([name, name.replace("-", "_"), name.upper(), name + " ", name + "\t", name + "\0"])
    ),
    st.from_regex(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}", fullmatch=True),
    st.text(max_size=70),
)
values = st.one_of(
    st.text(alphabet="ab:, \t\r\n\0é", max_size=20), st.from_regex(r"[!-~]{1,40}", fullmatch=True), st.text(), st.none(), st.integers()
)


def on_the_wire(extra: dict[str, str]) -> list[tuple[bytes, bytes]]:
    """The header fields of a delivery as a server reads them."""
    lines = [f"{name}: {value}" for name, value in (*delivery_headers("ab12", extra.items()), *SIGNED)]
    server = h11.Connection(h11.SERVER)
    server.receive_data(("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n" + "\r\n".join(lines) + "\r\n\r\n").encode())
    request = server.next_event()
    assert isinstance(request, h11.Request)
    assert isinstance(server.next_event(), h11.EndOfMessage)
    return list(request.headers)


@given(offered=st.dictionaries(names, values, max_size=8))
def test_what_passes_arrives_as_one_line_each_beside_ours_untouched(offered):
    checked: dict[str, str] = {}
    for name, value in offered.items():
        with contextlib.suppress(Invalid):
            checked = check_headers({**checked, name: value})
    expected = [("Host", "a.example"), ("Content-Length", "0"), *delivery_headers("ab12"), *checked.items(), *SIGNED]
    assert on_the_wire(checked) == [(name.lower().encode(), value.encode()) for name, value in expected]
    # A CGI program gets its headers as variables in which case and separators are lost: still each its own.
    variables = [re.sub("[^a-z0-9]", "_", name.lower()) for name, _ in expected]
    assert len(set(variables)) == len(variables)


@given(current=st.dictionaries(names, values, max_size=4), patch=st.dictionaries(names, values, max_size=4))
def test_a_change_never_lets_in_what_could_not_have_been_given_at_once(current, patch):
    try:
        merged = merge_headers(check_headers(current), patch)
    except Invalid:
        return
    assert check_headers(merged) == merged
    assert all(value in {str(v).strip(" \t") for v in (*current.values(), *patch.values())} for value in merged.values())
    assert not any(value is None and name in merged for name, value in patch.items())


def test_static_headers_stand_between_the_guides_three_and_the_signature():
    headers = on_the_wire({"X-Team": "Doors"})
    assert [name.decode() for name, _ in headers][2:] == [
        *("content-type", "user-agent", "authorization", "x-team", "webhook-id", "webhook-timestamp", "webhook-signature")
    ]
    assert [name for name, _ in delivery_headers(None, [("X-Team", "Doors")])] == ["Content-Type", "User-Agent", "X-Team"]


def test_the_limits_leave_room_for_our_own_headers_in_8_kib():
    longest_id = signature_headers([new_key(b"k" * 32), new_key(b"l" * 32)], "🚪" * 255, 1_800_000_000, b"{}")
    ours = sum(len(name) + len(value) + 4 for name, value in (*delivery_headers("a" * 64), *longest_id))
    assert ours + static_headers.MAX_TOTAL_BYTES + 4 * static_headers.MAX_HEADERS < 8 * 1024
