"""Every event type has one schema that stands alone, enforces what receivers rely on, and explains itself."""

import copy
import json
from importlib.resources import files

import jsonschema_rs
import pytest

from gridhook.errors import Invalid
from gridhook.rules.catalogue import EVENT_TYPES, OBSOLETE, catalogue, check_data, check_subscribed, event_type

# As the vendor's clients and documents list them.
NAMES = [
    "ag.access_pass.issued",
    "ag.access_pass.viewed",
    "ag.access_pass.activated",
    "ag.access_pass.updated",
    "ag.access_pass.suspended",
    "ag.access_pass.resumed",
    "ag.access_pass.unlinked",
    "ag.access_pass.deleted",
    "ag.access_pass.expired",
    "ag.access_pass.renewed",
    "ag.access_pass.failed",
    "ag.access_pass.devices.added",
    "ag.access_pass.devices.removed",
    "ag.access_pass.devices.suspended",
    "ag.access_pass.devices.resumed",
    "ag.card_template.created",
    "ag.card_template.updated",
    "ag.card_template.requested_publishing",
    "ag.card_template.published",
    "ag.card_template.deleted",
    "ag.card_template_pair.created",
    "ag.landing_page.created",
    "ag.landing_page.updated",
    "ag.landing_page.attached_to_template",
    "ag.credential_profile.created",
    "ag.credential_profile.attached_to_template",
    "ag.credential_profile.deleted",
    "ag.hid_org.created",
    "ag.hid_org.activated",
    "ag.account_balance.low",
    "ag.webhook.cert_expiring",
    "ag.account.impersonation_started",
    "ag.account.impersonation_ended",
]

ISSUED = {
    "access_pass_id": "0xp455",
    "id": "0xp455",
    "card_template_id": "0xt3mp",
    "state": "created",
    "full_name": "Sam Example",
    "employee_id": "1001",
    "title": None,
    "start_date": "2026-08-20T00:00:00Z",
    "expiration_date": "2027-08-20T00:00:00Z",
    "metadata": {"department": "R&D"},
    "tag_id": "04A1B2C3D4E5F6",
    "protocol": "desfire",
    "card_number": "12345",
    "site_code": "42",
    "file_data": None,
    "card_templates": [{"id": "0xt3mp", "platform": "apple", "protocol": "desfire", "name": "Badge"}],
    "details": {
        "id": "0xp455",
        "card_template_id": "0xt3mp",
        "platform": "apple",
        "protocol": "desfire",
        "status": "created",
        "card_number": "12345",
        "site_code": "42",
    },
}
ACTIVATED = {
    **{name: value for name, value in ISSUED.items() if name != "details"},
    "device": {"type": "iphone", "id": "dev_1"},
    "devices": [
        {
            "id": "dev_1",
            "card_template_id": "0xt3mp",
            "platform": "apple",
            "type": "iphone",
            "protocol": "desfire",
            "status": "installed",
            "card_number": "12345",
            "site_code": "42",
            "file_data": None,
        }
    ],
}
PAIR = catalogue().types["ag.card_template_pair.created"].example
NOTICE = {"webhook_id": "wh_1", "webhook_name": "Doors", "cert_expires_at": "2026-09-11T00:00:00Z", "days_until_expiration": 30}
BALANCE = {
    "account_id": "acct_1",
    "organization_name": "Example Ltd",
    "current_balance": 50.0,
    "threshold": 100.0,
    "amount_below_threshold": 50.0,
}
TEMPLATE = {"card_template_id": "0xt3mp", "name": "Badge", "platform": "apple", "protocol": "desfire", "metadata": None}


def changed(data, path, value):
    """A copy with one value put at the path, or taken away when `value` is `gone`."""
    data = copy.deepcopy(data)
    at = data
    *way, last = path
    for step in way:
        at = at[step]
    if value is gone:
        del at[last]
    else:
        at[last] = value
    return data


gone = object()


def test_the_catalogue_lists_the_33_types_and_no_other():
    assert sorted(EVENT_TYPES) == sorted(NAMES)
    assert len(EVENT_TYPES) == 33
    assert tuple(catalogue().types) == EVENT_TYPES


def test_every_schema_file_in_the_package_is_in_the_catalogue():
    there = {file.name for file in files("gridhook").joinpath("catalogue").iterdir()}
    assert there == {f"{name}.{version}.json" for name, version in catalogue().schemas}


def test_types_stand_together_by_family():
    families = [known.family for known in catalogue().types.values()]
    assert len(dict.fromkeys(families)) == 9
    assert families == sorted(families, key=list(dict.fromkeys(families)).index)


@pytest.mark.parametrize("name", NAMES)
def test_each_schema_is_a_complete_2020_12_document_that_explains_itself(name):
    known = catalogue().types[name]
    schema = json.loads(known.schema_bytes)
    jsonschema_rs.meta.validate(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == known.path == f"/schemas/webhooks/{name}/{known.version}.json"
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is True
    assert schema["title"] == known.title
    assert known.description.endswith(".")
    for text in references(schema):
        assert text.startswith("#/$defs/"), "a schema stands alone"
    for pointer, field in fields(schema):
        assert field.get("description"), f"{pointer} is not explained"


@pytest.mark.parametrize("name", NAMES)
def test_each_example_is_valid_and_shows_every_field(name):
    known = catalogue().types[name]
    schema = json.loads(known.schema_bytes)
    assert schema["examples"]
    for data in schema["examples"]:
        check_data(name, data)
        assert set(data) == set(schema["properties"])
    assert known.example == schema["examples"][0]


@pytest.mark.parametrize("name", NAMES)
def test_unknown_properties_pass_everywhere(name):
    check_data(name, {**catalogue().types[name].example, "added_next_year": {"x": [1]}})


@pytest.mark.parametrize("name", NAMES)
def test_a_required_field_that_is_missing_is_named(name):
    known = catalogue().types[name]
    for required in json.loads(known.schema_bytes).get("required", []):
        with pytest.raises(Invalid) as refused:
            check_data(name, changed(known.example, [required], gone))
        assert refused.value.field == f"/data/{required}"
        assert refused.value.message == "is required"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("ag.access_pass.issued", ISSUED),
        ("ag.access_pass.activated", ACTIVATED),
        ("ag.access_pass.devices.removed", ACTIVATED),
        ("ag.access_pass.viewed", {"id": "0xp455"}),
        ("ag.access_pass.updated", {"id": "0xp455", "access_pass_id": None, "state": None, "protocol": None, "devices": None}),
        ("ag.access_pass.expired", {"id": "0xp455", "devices": [], "start_date": "2026-08-20T02:00:00.5+02:00"}),
        ("ag.card_template.published", TEMPLATE),
        ("ag.card_template_pair.created", PAIR),
        ("ag.landing_page.attached_to_template", {"landing_page_id": "0x1", "card_template_id": "0xt3mp"}),
        ("ag.credential_profile.attached_to_template", {"credential_profile_id": "0x1"}),
        ("ag.hid_org.created", {"account_org_id": "0x1", "slug": None}),
        ("ag.account_balance.low", BALANCE),
        ("ag.account_balance.low", {**BALANCE, "current_balance": -3, "organization_name": None}),
        ("ag.webhook.cert_expiring", NOTICE),
        ("ag.account.impersonation_started", {"account_id": "acct_1"}),
    ],
)
def test_what_the_vendors_clients_read_is_accepted(name, data):
    check_data(name, data)


@pytest.mark.parametrize(
    ("name", "data", "field", "says"),
    [
        ("ag.access_pass.issued", [], "/data", "must be an object; got an array"),
        ("ag.access_pass.issued", "x", "/data", "must be an object; got 'x'"),
        ("ag.access_pass.issued", None, "/data", "must be an object; got null"),
        ("ag.access_pass.issued", changed(ISSUED, ["id"], None), "/data/id", "must be a string; got null"),
        ("ag.access_pass.issued", changed(ISSUED, ["id"], ""), "/data/id", "must not be empty"),
        ("ag.access_pass.issued", changed(ISSUED, ["access_pass_id"], 5), "/data/access_pass_id", "must be a string or null; got 5"),
        ("ag.access_pass.issued", changed(ISSUED, ["details"], None), "/data/details", "must be an object; got null"),
        (
            "ag.access_pass.issued",
            changed(ISSUED, ["details", "platform"], "ios"),
            "/data/details/platform",
            "must be one of apple, android; got 'ios'",
        ),
        ("ag.access_pass.issued", changed(ISSUED, ["state"], "lost"), "/data/state", "suspended, unlink, deleted, null; got 'lost'"),
        (
            "ag.access_pass.activated",
            changed(ACTIVATED, ["devices", 0, "platform"], None),
            "/data/devices/0/platform",
            "must be one of apple, android; got null",
        ),
        ("ag.access_pass.activated", changed(ACTIVATED, ["devices", 0, "type"], "ipad"), "/data/devices/0/type", "got 'ipad'"),
        ("ag.access_pass.activated", changed(ACTIVATED, ["devices", 0, "status"], gone), "/data/devices/0/status", "is required"),
        (
            "ag.access_pass.activated",
            changed(ACTIVATED, ["card_templates", 0, "protocol"], "mifare"),
            "/data/card_templates/0/protocol",
            "seos",
        ),
        ("ag.access_pass.activated", changed(ACTIVATED, ["device", "type"], "ipad"), "/data/device/type", "iphone"),
        ("ag.access_pass.activated", changed(ACTIVATED, ["tag_id"], "04A1"), "/data/tag_id", "must match"),
        ("ag.access_pass.activated", changed(ACTIVATED, ["start_date"], "2026-08-20"), "/data/start_date", "date-time"),
        ("ag.access_pass.activated", changed(ACTIVATED, ["start_date"], "2026-08-20T00:00:00"), "/data/start_date", "with offset"),
        ("ag.card_template.created", changed(TEMPLATE, ["protocol"], None), "/data/protocol", "got null"),
        ("ag.card_template_pair.created", changed(PAIR, ["ios_template", "name"], gone), "/data/ios_template/name", "is required"),
        ("ag.landing_page.updated", {"landing_page_id": None}, "/data/landing_page_id", "must be a string; got null"),
        ("ag.account_balance.low", changed(BALANCE, ["threshold"], "100.00"), "/data/threshold", "must be a number or null; got '100.00'"),
        ("ag.webhook.cert_expiring", changed(NOTICE, ["days_until_expiration"], 29.5), "/data/days_until_expiration", "integer"),
    ],
)
def test_what_would_break_a_receiver_is_refused_with_path_and_rule(name, data, field, says):
    with pytest.raises(Invalid) as refused:
        check_data(name, data)
    assert refused.value.field == field
    assert says in refused.value.message
    assert "also" not in refused.value.message
    assert refused.value.status == 422


def test_several_violations_are_named_together_but_not_without_end():
    with pytest.raises(Invalid) as refused:
        check_data("ag.access_pass.activated", {"title": 1, "devices": [{"id": "d"}, {}]})
    message = refused.value.message
    named = [refused.value.field, *(part.split()[1] for part in message.split("; ") if part.startswith("also /data"))]
    assert len(set(named)) == 5
    assert message.endswith("; and 8 more")


def test_a_huge_value_is_not_repeated_in_the_message():
    with pytest.raises(Invalid) as refused:
        check_data("ag.access_pass.updated", {"id": "0xp1", "state": "x\u202e" * 100_000})
    assert len(refused.value.message) < 500
    assert refused.value.message.isprintable()


def test_the_served_schema_carries_the_uri_that_events_name_and_never_changes():
    for known in catalogue().types.values():
        served = known.served("https://hooks.example.com/base")
        assert served == known.served("https://hooks.example.com/base")
        schema = json.loads(served)
        assert schema.pop("$id") == "https://hooks.example.com/base" + known.path
        own = json.loads(known.schema_bytes)
        own.pop("$id")
        assert schema == own


def test_an_example_that_someone_changes_stays_as_it_was():
    event_type("ag.hid_org.created").example["slug"] = "changed"
    assert event_type("ag.hid_org.created").example["slug"] != "changed"


def test_an_unknown_type_is_refused_with_the_one_that_was_meant():
    with pytest.raises(Invalid, match=r"^/type: 'ag.access_pass.activate' is not an event type. Did you mean 'ag.access_pass.activated'"):
        check_data("ag.access_pass.activate", {})


def test_subscribed_events_keep_their_order_and_lose_repeats():
    names = ["ag.hid_org.created", "ag.access_pass.issued", "ag.hid_org.created"]
    assert check_subscribed(names) == ("ag.hid_org.created", "ag.access_pass.issued")
    assert check_subscribed(NAMES) == tuple(NAMES)


@pytest.mark.parametrize(
    "names", [None, "ag.access_pass.issued", {}, {"ag.access_pass.issued": 1}, 3, [3], [None], [["ag.access_pass.issued"]]]
)
def test_subscribed_events_must_be_an_array_of_names(names):
    with pytest.raises(Invalid, match="array of event names") as refused:
        check_subscribed(names)
    assert refused.value.field == "subscribed_events"


def test_a_webhook_must_want_something():
    with pytest.raises(Invalid, match="at least one"):
        check_subscribed([])


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        *((old, f"use '{new}'") for old, new in OBSOLETE.items()),
        ("ag.access_pass.*", "Wildcards are not supported"),
        ("*", "Wildcards are not supported"),
        ("AG.Access_Pass.Issued", "Did you mean 'ag.access_pass.issued'?"),
        ("ag.access_pass.isued", "Did you mean 'ag.access_pass.issued'?"),
        ("order.created", "ag.account.impersonation_ended."),
        ("", "ag.account.impersonation_ended."),
    ],
)
def test_an_unknown_subscription_is_refused_with_the_list_and_a_hint(name, hint):
    with pytest.raises(Invalid) as refused:
        check_subscribed(["ag.access_pass.issued", name])
    assert refused.value.field == "subscribed_events"
    assert refused.value.message.startswith(f"Invalid event name: '{name}'. Valid events: ag.access_pass.issued, ")
    assert hint in refused.value.message
    assert all(known in refused.value.message for known in NAMES)


def test_obsolete_names_are_in_no_catalogue_and_point_into_it():
    assert not set(OBSOLETE) & set(NAMES)
    assert set(OBSOLETE.values()) <= set(NAMES)


def references(schema):
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield schema["$ref"]
        for value in schema.values():
            yield from references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from references(value)


def fields(schema, pointer=""):
    for name, field in schema.get("properties", {}).items():
        yield f"{pointer}/{name}", field
        yield from fields(field, f"{pointer}/{name}")
    for name, inner in schema.get("$defs", {}).items():
        yield from fields(inner, f"{pointer}/$defs/{name}")
