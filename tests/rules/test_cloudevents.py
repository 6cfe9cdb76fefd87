"""What a publisher says becomes one CloudEvent, fixed byte for byte, or is refused with field and remedy."""

import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridhook.errors import Invalid, TooLarge, Unreadable
from gridhook.rules import strict_json
from gridhook.rules.catalogue import EVENT_TYPES, event_type
from gridhook.rules.cloudevents import Draft, Terms, accept, read_event
from gridhook.rules.instants import rfc3339

NOON = 1_795_348_800_000  # 2026-11-22T12:00:00Z
MINUTE = 60_000
HOUR = 60 * MINUTE
HID_ORG = {"account_org_id": "0x0496f1", "slug": "northwind", "name": None}
ENVELOPE = {
    "specversion": "1.0",
    "id": "evt-1",
    "source": "/core/passes",
    "type": "ag.hid_org.created",
    "data": HID_ORG,
}
PLAIN = {"type": "ag.hid_org.created", "data": HID_ORG}


def accepted(draft, *, account_id="acct_1", new_id="7f3c7a0e-6a8b-4a55-9a3e-1f2d3c4b5a69", now=NOON, **changes):
    terms = {
        "window_ms": 6 * HOUR,
        "skew_ms": MINUTE,
        "source": "/accessgrid/customer",
        "base_url": "https://hooks.example.com",
        "max_bytes": 256 * 1024,
    }
    return accept(draft, account_id, new_id, now, Terms(**{**terms, **changes}))


def refused(value, *, plain):
    with pytest.raises(Invalid) as caught:
        accepted(read_event(value, plain=plain))
    return caught.value


def test_a_plain_event_becomes_a_complete_cloudevent():
    event = accepted(read_event(PLAIN, plain=True))
    assert event.payload == (
        b'{"specversion":"1.0","id":"7f3c7a0e-6a8b-4a55-9a3e-1f2d3c4b5a69","source":"/accessgrid/customer",'
        b'"type":"ag.hid_org.created","datacontenttype":"application/json",'
        b'"dataschema":"https://hooks.example.com/schemas/webhooks/ag.hid_org.created/1.json",'
        b'"time":"2026-11-22T12:00:00Z","data":{"account_org_id":"0x0496f1","slug":"northwind","name":null}}'
    )
    assert (event.account_id, event.id, event.type) == ("acct_1", "7f3c7a0e-6a8b-4a55-9a3e-1f2d3c4b5a69", "ag.hid_org.created")
    assert (event.time_at, event.accepted_at, event.expires_at) == (NOON, NOON, NOON + 6 * HOUR)
    assert len(event.fingerprint) == 32


def test_the_publishers_id_and_time_are_kept_and_its_source_and_schema_replaced():
    said = ENVELOPE | {
        "time": "2026-11-22T12:30:00.250+01:00",
        "dataschema": "urn:theirs",
        "datacontenttype": "application/json; charset=utf-8",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "tracestate": "a=b",
    }
    event = accepted(read_event(said, plain=False))
    sent = json.loads(event.payload)
    assert list(sent) == ["specversion", "id", "source", "type", "datacontenttype", "dataschema", "time", "data"]
    assert sent["id"] == event.id == "evt-1"
    assert sent["source"] == "/accessgrid/customer"
    assert sent["dataschema"] == "https://hooks.example.com/schemas/webhooks/ag.hid_org.created/1.json"
    assert sent["datacontenttype"] == "application/json"
    assert sent["time"] == "2026-11-22T11:30:00.250Z"
    assert event.expires_at == event.time_at + 6 * HOUR == NOON - 30 * MINUTE + 250 + 6 * HOUR


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_every_type_is_accepted_in_both_spellings(name):
    data = event_type(name).example
    plain = accepted(read_event({"type": name, "data": data, "id": "e"}, plain=True))
    structured = accepted(read_event(ENVELOPE | {"type": name, "data": data, "id": "e"}, plain=False))
    assert plain == structured
    assert json.loads(plain.payload)["data"] == data


@pytest.mark.parametrize(
    ("change", "field", "says"),
    [
        ({"specversion": "0.3"}, "/specversion", 'must be "1.0"'),
        ({"specversion": 1.0}, "/specversion", 'must be "1.0"'),
        ({"specversion": None}, "/specversion", "is required"),
        ({"id": None}, "/id", "is required"),
        ({"id": ""}, "/id", "non-empty string"),
        ({"id": 7}, "/id", "not a number"),
        ({"id": "x" * 256}, "/id", "has 256 characters; at most 255"),
        ({"id": "a\nb"}, "/id", "control"),
        ({"id": "a\x7f"}, "/id", "control"),
        ({"id": "a\u2028b"}, "/id", "unprintable"),
        ({"source": None}, "/source", "is required"),
        ({"source": ""}, "/source", "non-empty string"),
        ({"source": ["/x"]}, "/source", "not an array"),
        ({"type": None}, "/type", "is required"),
        ({"type": ""}, "/type", "non-empty string"),
        ({"type": True}, "/type", "not a boolean"),
        ({"type": "ag.hid_org.renamed"}, "/type", "is not an event type"),
        ({"type": "ag.access_pass.installed"}, "/type", "obsolete; use 'ag.access_pass.activated'"),
        ({"data": None}, "/data", "is required"),
        ({"data": "e30="}, "/data", "must be an object"),
        ({"data": {"slug": "x"}}, "/data/account_org_id", "is required"),
        ({"data_base64": "e30="}, "/data_base64", "is not supported; send the object itself in data"),
        ({"datacontenttype": "text/xml"}, "/datacontenttype", "must be application/json"),
        ({"datacontenttype": "application/jsonp"}, "/datacontenttype", "must be application/json"),
        ({"datacontenttype": 1}, "/datacontenttype", "must be application/json"),
        ({"dataschema": ""}, "/dataschema", "must be a URI"),
        ({"dataschema": {}}, "/dataschema", "not an object"),
        ({"time": 1_795_348_800}, "/time", "must be a string such as"),
        ({"time": "yesterday"}, "/time", "RFC 3339"),
        ({"time": "2026-11-22T12:00:00"}, "/time", "offset"),
        ({"subject": "0xp1"}, "/subject", "'subject' is an attribute that receivers would not get"),
        ({"partitionkey": "a"}, "/partitionkey", "put it into data or leave it out"),
        ({"test": True}, "/test", "receivers would not get"),
        ({"Type": "ag.hid_org.created"}, "/Type", "receivers would not get"),
        ({"a/b~c": 1}, "/a~1b~0c", "receivers would not get"),
        ({"\u202e": 1}, "", "receivers would not get"),
    ],
)
def test_a_cloudevent_that_is_wrong_is_refused_by_attribute(change, field, says):
    error = refused(ENVELOPE | change, plain=False)
    assert error.field == field
    assert says in error.message


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type", "data"])
def test_an_attribute_that_is_left_out_is_required_by_name(name):
    error = refused({key: value for key, value in ENVELOPE.items() if key != name}, plain=False)
    assert error.field == f"/{name}"
    assert error.message.startswith("is required")


def test_null_attributes_count_as_absent():
    nulls = {"time": None, "dataschema": None, "datacontenttype": None, "subject": None, "data_base64": None, "traceparent": None}
    assert read_event(ENVELOPE | nulls, plain=False) == read_event(ENVELOPE, plain=False)
    assert read_event(PLAIN | {"id": None, "time": None}, plain=True) == read_event(PLAIN, plain=True)


@pytest.mark.parametrize(
    ("value", "field", "says"),
    [
        ([], "", "must be a JSON object, not an array"),
        (None, "", "not null"),
        ("x", "", "not a string"),
        (1, "", "not a number"),
        ({}, "/type", "is required"),
        ({"type": "ag.hid_org.created"}, "/data", "is required"),
        (PLAIN | {"id": ""}, "/id", "non-empty string"),
        (PLAIN | {"id": 1}, "/id", "not a number"),
        (PLAIN | {"event_type": "x"}, "/event_type", "'event_type' is not a field of an event; there are type, data, id and time"),
        (ENVELOPE, "/source", "is not a field of an event"),
        (PLAIN | {"time": "12:00"}, "/time", "RFC 3339"),
    ],
)
def test_a_plain_event_that_is_wrong_is_refused_by_field(value, field, says):
    error = refused(value, plain=True)
    assert error.field == field
    assert says in error.message


@pytest.mark.parametrize("id_", ["1", "x" * 255, "urn:uuid:7f3c", "Zoë ☕ 1", "a/b?c=d&e"])
def test_any_printable_id_of_up_to_255_characters_is_kept(id_):
    event = accepted(read_event(PLAIN | {"id": id_}, plain=True))
    assert event.id == id_ == json.loads(event.payload)["id"]


@pytest.mark.parametrize(
    ("time_at", "says"),
    [
        (NOON + MINUTE, None),
        (NOON + MINUTE + 1, "lies 60 seconds in the future"),
        (NOON + 26 * HOUR, "2026-11-23T14:00:00Z lies 26 hours in the future; set the publisher's clock"),
        (NOON - 6 * HOUR + 1, None),
        (NOON - 6 * HOUR, "2026-11-22T06:00:00Z is 6 hours ago, and events are delivered for 6 hours only; leave time out"),
        (0, "1970-01-01T00:00:00Z is 20779 days ago"),
    ],
)
def test_a_time_that_no_attempt_could_meet_is_refused_with_the_remedy(time_at, says):
    draft = read_event(PLAIN | {"time": rfc3339(time_at)}, plain=True)
    if says is None:
        assert accepted(draft).time_at == time_at
        return
    with pytest.raises(Invalid) as caught:
        accepted(draft)
    assert caught.value.field == "/time"
    assert says in caught.value.message


def test_an_event_without_a_time_happened_now():
    assert accepted(Draft("ag.hid_org.created", HID_ORG), now=NOON + 5).time_at == NOON + 5


def test_an_event_over_the_size_limit_is_too_large_and_one_at_the_limit_is_not():
    size = len(accepted(read_event(PLAIN, plain=True)).payload)
    assert accepted(read_event(PLAIN, plain=True), max_bytes=size)
    with pytest.raises(TooLarge, match=f"takes {size} bytes as sent; the limit is {size - 1}"):
        accepted(read_event(PLAIN, plain=True), max_bytes=size - 1)


def fingerprint(text, **changes):
    return accepted(read_event(strict_json.parse(text.encode()), plain=True), **changes).fingerprint


SAID = '{"type": "ag.hid_org.created", "id": "e", "data": {"account_org_id": "o", "more": {"a": 1, "b": [1, 2]}}}'


@pytest.mark.parametrize(
    "again",
    [
        '{"id": "e", "data": {"more": {"b": [1, 2], "a": 1}, "account_org_id": "o"}, "type": "ag.hid_org.created"}',
        '{"type":"ag.hid_org.created","id":"e","data":{"account_org_id":"\\u006f","more":{"a":1,"b":[1,2]}}}',
        '{"type": "ag.hid_org.created", "id": "e", "time": null, "data": {"account_org_id": "o", "more": {"a": 1, "b": [1, 2]}}}',
    ],
)
def test_the_same_content_has_the_same_fingerprint_however_it_is_written(again):
    # ... and whenever, and wherever to: a repeat comes later, and the base URL may have moved meanwhile.
    assert fingerprint(SAID) == fingerprint(again, now=NOON + HOUR, base_url="https://other.example", source="accessgrid")


@pytest.mark.parametrize(
    "other",
    [
        SAID.replace("hid_org.created", "hid_org.activated"),
        SAID.replace('"o"', '"O"'),
        SAID.replace("[1, 2]", "[2, 1]"),
        SAID.replace("[1, 2]", '["1", 2]'),
        SAID.replace("[1, 2]", "[1.0, 2]"),
        SAID.replace("[1, 2]", "[true, 2]"),
        SAID.replace('"id"', '"time": "2026-11-22T12:00:00Z", "id"'),
    ],
)
def test_other_content_has_another_fingerprint(other):
    assert fingerprint(SAID) != fingerprint(other)


def test_a_time_given_counts_as_an_instant_not_as_a_text():
    at = SAID.replace('"id"', '"time": "2026-11-22T12:00:00Z", "id"')
    assert fingerprint(at) == fingerprint(at.replace("12:00:00Z", "13:00:00.000+01:00"))
    assert fingerprint(at) != fingerprint(at.replace("12:00:00Z", "12:00:00.001Z"))


def test_the_fingerprint_is_the_same_in_every_release():
    # It is compared with stored ones: another way to compute it would turn every repeat into a conflict.
    text = b'["ag.hid_org.created",{"account_org_id":"o","more":{"a":1,"b":[1,2]}},null]'
    assert fingerprint(SAID) == hashlib.sha256(text).digest()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=8), json_values, max_size=5))
def test_data_arrives_as_it_was_published(extra):
    body = json.dumps({"type": "ag.hid_org.created", "data": extra | HID_ORG}).encode()
    try:
        value = strict_json.parse(body)
    except Unreadable:
        assert b"\\u0000" in body
        return
    event = accepted(read_event(value, plain=True))
    arrived = json.loads(event.payload.decode())
    assert arrived["data"] == extra | HID_ORG
    assert list(arrived["data"]) == list(extra | HID_ORG)


names = st.sampled_from(["specversion", "id", "source", "type", "datacontenttype", "dataschema", "time", "data", "data_base64", "subject"])
texts = st.sampled_from(["1.0", "", "x", "ag.hid_org.created", "application/json", "2026-11-22T12:00:00Z", "urn:x"])


@settings(deadline=None)
@given(json_values | st.dictionaries(names | st.text(max_size=5), json_values | texts | st.just(HID_ORG), max_size=10), st.booleans())
def test_no_event_whatever_makes_it_fail_otherwise(value, plain):
    # Only Invalid comes out, with a field and a message that can be put into an answer.
    try:
        event = accepted(read_event(value, plain=plain))
    except Invalid as error:
        answer = f"{error.field}{error.message}".encode()
        assert len(answer) < 4000
        return
    assert json.loads(event.payload)["data"] == value["data"]
