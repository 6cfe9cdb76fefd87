"""A test delivery tells of things that could be, in the form that its schema promises, whatever that schema may grow into."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridhook.errors import Invalid
from gridhook.rules.catalogue import EVENT_TYPES, EventType, catalogue, check_data, event_type
from gridhook.rules.instants import parse_rfc3339
from gridhook.rules.samples import sample, sample_of

NOW = parse_rfc3339("2026-11-22T10:31:40.250Z")
DAY_MS = 86_400_000
PASSES = [name for name in EVENT_TYPES if name.startswith("ag.access_pass.")]
TEMPLATES = [name for name in EVENT_TYPES if name.startswith("ag.card_template.")]
WEARABLES = {"apple": ("iphone", "apple_watch"), "android": ("android_phone", "android_watch")}
PROTOCOLS = {"apple": {"desfire", "seos"}, "android": {"smart_tap", "seos"}}

seeds = st.text(st.characters(), max_size=50)  # lone surrogates too
instants = st.integers(parse_rfc3339("2001-01-01T00:00:00Z"), parse_rfc3339("2199-12-31T00:00:00Z"))


@given(type=st.sampled_from(EVENT_TYPES), seed=seeds, now=instants)
def test_every_sample_keeps_the_schema_of_its_type_and_shows_all_of_it(type, seed, now):
    data = sample(type, seed=seed, now=now)
    check_data(type, data)
    assert list(data) == list(json.loads(event_type(type).schema_bytes)["properties"])
    assert json.loads(json.dumps(data)) == data


@given(type=st.sampled_from(EVENT_TYPES), seed=seeds, now=instants)
def test_the_same_seed_at_the_same_time_tells_the_same(type, seed, now):
    assert sample(type, seed=seed, now=now) == sample(type, seed=seed, now=now)


@pytest.mark.parametrize("type", EVENT_TYPES)
def test_each_seed_tells_of_somebody_else_and_none_repeats_the_catalogues_example(type):
    told = [json.dumps(sample(type, seed=str(number), now=NOW)) for number in range(8)]
    assert len(set(told)) == 8
    assert json.dumps(event_type(type).example) not in told


@settings(deadline=None, max_examples=30)  # 33 samples each
@given(seed=seeds)
def test_one_seed_tells_one_story_through_all_types(seed):
    told = {type: sample(type, seed=seed, now=NOW) for type in EVENT_TYPES}
    fields: dict[str, set[Any]] = {}
    for type, data in told.items():
        for name, value in data.items():
            if name in ("organization_name", "account_id", "card_template_id", "full_name", "employee_id", "title", "access_pass_id"):
                fields.setdefault(name, set()).add(value)
        if type in PASSES:
            fields.setdefault("department", set()).add((data["metadata"]["department"], data["metadata"]["email"]))
    assert {name: len(values) for name, values in fields.items()} == dict.fromkeys(fields, 1)
    assert len(fields) == 8
    assert told["ag.hid_org.created"]["name"] in fields["organization_name"]


def test_a_person_keeps_name_title_department_and_address_together():
    titles: dict[str, set[str]] = {}
    for number in range(200):
        data = sample("ag.access_pass.updated", seed=str(number), now=NOW)
        mailbox, _, domain = data["metadata"]["email"].partition("@")
        first = data["full_name"].split()[0].lower()
        assert mailbox.startswith(first.translate(str.maketrans("ëéł", "eel")) + ".")
        assert domain.endswith(".example")
        titles.setdefault(data["title"], set()).add(data["metadata"]["department"])
    assert len(titles) >= 5
    assert all(len(departments) == 1 for departments in titles.values())


@given(type=st.sampled_from(PASSES), seed=seeds, now=instants)
def test_one_pass_has_one_id_one_template_and_one_credential_everywhere(type, seed, now):
    data = sample(type, seed=seed, now=now)
    (template,) = data["card_templates"]
    assert data["id"] == data["access_pass_id"]
    assert template["id"] == data["card_template_id"] != data["id"]
    assert template["protocol"] == data["protocol"]
    assert template["protocol"] in PROTOCOLS[template["platform"]]
    assert template["hid_org_id"] == data["hid_org_id"]
    assert (data["hid_org_id"] is not None) == (data["protocol"] == "seos")
    assert data["apple_user_id"] is None or template["platform"] == "apple"
    places = [*data.get("devices", []), *([data["details"]] if "details" in data else [])]
    for place in places:
        assert [place[name] for name in ("card_template_id", "platform", "protocol", "card_number", "site_code")] == [
            *(template["id"], template["platform"], template["protocol"], data["card_number"], data["site_code"])
        ]
    if "details" in data:
        assert data["details"]["id"] == data["id"]
        assert data["details"]["status"] == data["state"]


@given(type=st.sampled_from(PASSES), seed=seeds)
def test_the_device_of_an_event_is_one_of_the_passes_devices_unless_it_was_removed(type, seed):
    data = sample(type, seed=seed, now=NOW)
    platform = data["card_templates"][0]["platform"]
    devices = {device["id"]: device["type"] for device in data.get("devices", [])}
    assert len(devices) == len(data.get("devices", []))
    assert list(devices.values()) in ([], [WEARABLES[platform][0]], list(WEARABLES[platform]))
    about: Any = data.get("device")
    if type == "ag.access_pass.devices.removed":
        assert about["id"] not in devices
        assert about["type"] in WEARABLES[platform]
    elif type.startswith("ag.access_pass.devices.") or type in ("ag.access_pass.activated", "ag.access_pass.failed"):
        assert devices[about["id"]] == about["type"]
    else:
        assert about is None


@pytest.mark.parametrize(
    ("type", "state", "statuses"),
    [
        ("issued", "created", None),
        ("viewed", "created", []),
        ("activated", "active", ["installed"]),
        ("updated", "active", ["installed"]),
        ("suspended", "suspended", ["suspended"]),
        ("resumed", "active", ["installed"]),
        ("unlinked", "unlink", ["uninstalled"]),
        ("deleted", "deleted", []),
        ("expired", None, ["suspended"]),
        ("renewed", "active", ["installed"]),
        ("failed", "created", ["credentials_created"]),
        ("devices.added", "active", ["installed", "installed"]),
        ("devices.removed", "active", ["installed"]),
        ("devices.suspended", "active", ["installed", "suspended"]),
        ("devices.resumed", "active", ["installed", "installed"]),
    ],
)
def test_state_and_devices_are_what_the_event_left_them(type, state, statuses):
    for seed in "abcdefgh":
        data = sample(f"ag.access_pass.{type}", seed=seed, now=NOW)
        assert data["state"] == state
        told = [device["status"] for device in data["devices"]] if "devices" in data else None
        # Some also wear a watch that holds the pass.
        assert told == statuses or (data["device"] is None and statuses and told == statuses * 2)
        assert ("details" in data) == (type == "issued")


@given(type=st.sampled_from(PASSES), seed=seeds, now=instants)
def test_a_pass_is_valid_now_unless_it_has_just_expired(type, seed, now):
    data = sample(type, seed=seed, now=now)
    start_at, expires_at = parse_rfc3339(data["start_date"]), parse_rfc3339(data["expiration_date"])
    assert start_at < expires_at
    assert start_at < now
    if type == "ag.access_pass.expired":
        assert now - 2 * DAY_MS < expires_at < now
    else:
        assert expires_at > now
    if type == "ag.access_pass.renewed":
        assert expires_at - now > 365 * DAY_MS


@given(type=st.sampled_from(TEMPLATES), seed=seeds)
def test_a_template_speaks_what_its_platform_speaks(type, seed):
    data = sample(type, seed=seed, now=NOW)
    assert data["protocol"] in PROTOCOLS[data["platform"]]
    assert (data["hid_org_id"] is not None) == (data["protocol"] == "seos")


@given(seed=seeds)
def test_a_pair_is_two_templates_one_for_each_platform(seed):
    data = sample("ag.card_template_pair.created", seed=seed, now=NOW)
    ios, android = data["ios_template"], data["android_template"]
    assert (ios["platform"], android["platform"]) == ("apple", "android")
    assert ios["protocol"] in PROTOCOLS["apple"]
    assert android["protocol"] in PROTOCOLS["android"]
    assert len({ios["id"], android["id"], data["card_template_pair_id"]}) == 3
    assert ios["name"].startswith(data["name"])
    assert android["name"].startswith(data["name"])


@given(seed=seeds)
def test_a_low_balance_is_below_its_threshold_by_what_it_says(seed):
    data = sample("ag.account_balance.low", seed=seed, now=NOW)
    assert 0 <= data["current_balance"] < data["threshold"]
    assert data["amount_below_threshold"] == data["threshold"] - data["current_balance"]


@given(seed=seeds, now=instants)
def test_a_certificate_expires_in_as_many_whole_days_as_the_notice_says(seed, now):
    data = sample("ag.webhook.cert_expiring", seed=seed, now=now)
    assert (parse_rfc3339(data["cert_expires_at"]) - now) // DAY_MS == data["days_until_expiration"]
    assert data["days_until_expiration"] in (30, 14, 7, 1)


@given(seed=seeds, now=instants)
def test_an_impersonation_ends_after_it_began_and_not_in_the_future(seed, now):
    ended = sample("ag.account.impersonation_ended", seed=seed, now=now)
    assert parse_rfc3339(ended["started_at"]) < parse_rfc3339(ended["ended_at"]) <= now
    started = sample("ag.account.impersonation_started", seed=seed, now=now)
    assert parse_rfc3339(started["started_at"]) <= now
    assert started["actor_name"] == ended["actor_name"]
    assert started["actor_name"] != sample("ag.access_pass.issued", seed=seed, now=now)["full_name"]


def test_an_unknown_type_is_refused():
    with pytest.raises(Invalid, match=r"Did you mean 'ag\.access_pass\.issued'"):
        sample("ag.access_pass.issue", seed="a", now=NOW)


# What a schema may become


def changed(type: str, change: Any) -> EventType:
    """The type with another schema."""
    known = event_type(type)
    schema = json.loads(known.schema_bytes)
    change(schema)
    return replace(
        known,
        schema_bytes=json.dumps(schema).encode(),
        validator=jsonschema_rs.Draft202012Validator(schema, validate_formats=True),
    )


def with_field(field: Any, *, name: str = "added_next_year", inside: str | None = None) -> EventType:
    """An access pass event whose schema requires one more field, of the pass or of each of its devices. The example does not show it."""

    def add(schema: dict[str, Any]) -> None:
        schema["$defs"]["floor"] = {"type": "integer", "minimum": -3, "maximum": -1}
        schema["$defs"]["chain"] = {"properties": {"label": {"type": "string"}, "next": {"$ref": "#/$defs/chain"}}}
        at = schema["$defs"][inside] if inside else schema
        at["properties"][name] = field
        at["required"] = [*at.get("required", []), name]

    return changed("ag.access_pass.devices.added", add)


FIELDS: list[Any] = [
    {"type": "string"},
    {"type": "string", "minLength": 40, "maxLength": 41},
    {"type": "string", "maxLength": 3},
    {"type": ["null", "string"], "format": "date-time"},
    *({"type": "string", "format": name} for name in ("date", "time", "duration", "email", "hostname", "uri", "uri-reference", "uuid")),
    *({"type": "string", "format": name} for name in ("ipv4", "ipv6", "idn-email", "iri")),
    {"type": "string", "pattern": "^[0-9A-F]{14}$"},
    {"type": "string", "pattern": r"^DE\d{2}-[a-z]+\.?x*$", "minLength": 6},
    {"type": "string", "pattern": "^(red|green)$", "examples": ["green"]},
    {"enum": [None, "ground", "upper"]},
    {"const": {"kind": "fixed"}},
    {"type": "integer"},
    {"type": "integer", "minimum": 7, "maximum": 7},
    {"type": "integer", "exclusiveMinimum": 7, "exclusiveMaximum": 9},
    {"type": "integer", "multipleOf": 12, "minimum": 100},
    {"type": "number", "maximum": -5},
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.1},
    {"type": "boolean"},
    {"type": "null"},
    {"type": "array", "items": {"type": "string", "format": "uuid"}, "minItems": 3, "uniqueItems": True},
    {"type": "array", "items": {"type": "string"}, "maxItems": 0},
    {"type": "array", "prefixItems": [{"type": "number"}, {"type": "string"}], "items": False, "minItems": 2, "maxItems": 2},
    {"type": "object"},
    {
        "type": "object",
        "properties": {"a": {"type": "object", "properties": {"b": {"type": "integer"}}, "required": ["b"]}},
        "required": ["a"],
    },
    {"type": "object", "required": ["undescribed"]},
    {"$ref": "#/$defs/floor"},
    {"$ref": "#/$defs/chain"},
    {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/device"}]},
    {"oneOf": [{"type": "string", "format": "uuid"}, {"type": "integer"}], "description": "An id."},
    {"allOf": [{"$ref": "#/$defs/floor"}, {"multipleOf": 2}]},
    {"type": "string", "pattern": "^(?=.*x)(y|x)+$", "default": "yx"},
    True,
]


@pytest.mark.parametrize("inside", [None, "device"])
@pytest.mark.parametrize("field", FIELDS, ids=json.dumps)
def test_a_field_that_is_added_tomorrow_is_filled_as_its_schema_says(field, inside):
    known = with_field(field, inside=inside)
    for seed in "abc":
        data = sample_of(known, seed=seed, now=NOW)
        assert list(known.validator.iter_errors(data)) == []
        for place in data["devices"] if inside else [data]:
            assert place["added_next_year"] is not None or field == {"type": "null"}
        assert {**data, "devices": []} == {**sample(known.type, seed=seed, now=NOW), "devices": []} | (
            {} if inside else {"added_next_year": data["added_next_year"]}
        ), "what was there before stays as it was"


def test_a_field_added_under_a_name_that_is_known_says_what_is_known():
    data = sample_of(with_field({"type": "string", "format": "email"}, name="email", inside="device"), seed="a", now=NOW)
    assert [device["email"] for device in data["devices"]] == [data["metadata"]["email"]] * 2
    data = sample_of(with_field({"type": "object", "properties": {"full_name": {}, "floor_id": {"type": "string"}}}), seed="a", now=NOW)
    assert data["added_next_year"]["full_name"] == data["full_name"]
    assert data["added_next_year"]["floor_id"].startswith("0x")


def test_a_field_is_filled_as_the_new_example_shows_it():
    def add(schema: dict[str, Any]) -> None:
        schema["properties"]["colour"] = {"type": "string", "pattern": "^(red|green)$"}
        schema["examples"][0]["colour"] = "green"

    assert sample_of(changed("ag.hid_org.created", add), seed="a", now=NOW)["colour"] == "green"


def test_a_fact_that_the_schema_no_longer_allows_is_not_told():
    def tighten(schema: dict[str, Any]) -> None:
        schema["properties"]["title"] = {"type": "string", "enum": ["Astronaut"]}
        schema["properties"]["full_name"] = {"type": "string", "maxLength": 2}
        schema["$defs"]["device"]["properties"]["status"] = {"enum": ["melted"]}

    known = changed("ag.access_pass.activated", tighten)
    data = sample_of(known, seed="a", now=NOW)
    assert list(known.validator.iter_errors(data)) == []
    assert data["title"] == "Astronaut"
    assert data["devices"][0]["status"] == "melted"
    assert data["employee_id"] == sample("ag.access_pass.activated", seed="a", now=NOW)["employee_id"]


def test_a_schema_that_asks_for_more_than_can_be_made_gives_its_own_example():
    def entangle(schema: dict[str, Any]) -> None:
        schema["properties"]["slug"] = {"type": "string", "pattern": "^(north|south)-(east|west)$"}
        schema["properties"]["check"] = {"not": {"type": ["string", "null", "object"]}}
        schema["required"] = [*schema["required"], "slug", "check"]
        schema["if"] = {"properties": {"slug": {"const": "north-east"}}}
        schema["then"] = {"properties": {"name": {"const": "NE"}}}
        schema["examples"] = [{"account_org_id": "0x1", "slug": "north-east", "name": "NE", "check": 5}]

    known = changed("ag.hid_org.created", entangle)
    assert sample_of(known, seed="a", now=NOW) == known.example


def test_a_schema_that_contains_itself_without_end_is_given_up():
    known = with_field({"$ref": "#/$defs/device"}, inside="device")
    assert sample_of(known, seed="a", now=NOW) == known.example


@pytest.mark.parametrize("known", catalogue().schemas.values(), ids=lambda known: f"{known.type}.{known.version}")
def test_a_type_that_is_added_tomorrow_to_a_family_or_beside_them_has_samples(known):
    relative, stranger = (sample_of(replace(known, type=name), seed="a", now=NOW) for name in (f"{known.type}_again", "ag.new_family.born"))
    assert known.validator.is_valid(relative)
    assert known.validator.is_valid(stranger)
    assert relative != known.example, "what is known of the family is told"
