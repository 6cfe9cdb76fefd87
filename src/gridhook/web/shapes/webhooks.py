"""Webhooks: as they are listed, made, shown in whole, and changed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from gridhook.engine.lane import LaneState
from gridhook.model import AuthMethod, Certificate, LaneLimits, Webhook
from gridhook.rules.catalogue import EVENT_TYPES
from gridhook.rules.instants import rfc3339
from gridhook.service.inputs import MAX_NAME, MOST_IN_FLIGHT, RATES
from gridhook.service.webhooks import Created, Detail, Listed
from gridhook.web.shapes import Shape, Time, certificates, health, time_of

_NAME = Meta(
    description="A label that people recognise, 1 to 120 characters without control characters",
    extra_json_schema={"minLength": 1, "maxLength": MAX_NAME},
)
_URL = Meta(description="http or https; its host must resolve, to public addresses only", extra_json_schema={"format": "uri"})
_EVENTS = Meta(
    description="An array of event names from the catalogue, at least one",
    extra_json_schema={"minItems": 1, "items": {"type": "string", "enum": [*EVENT_TYPES]}},
)
_IN_FLIGHT = Meta(
    description="Most requests in flight at a time, per process of the sender; null: only the sender's own limits hold",
    extra_json_schema={"minimum": 1, "maximum": MOST_IN_FLIGHT},
)
_RATE = Meta(
    description="Most requests started per second, per process of the sender; null: no limit of yours",
    extra_json_schema={"minimum": RATES[0], "maximum": RATES[1]},
)


class WebhookRow(Shape):
    """A webhook: nothing secret."""

    id: str
    name: str
    url: str
    auth_method: AuthMethod
    subscribed_events: tuple[str, ...]
    created_at: Time
    status: Annotated[Literal["pending", "verified"], Meta(description="pending: the URL is not proven; deliveries are held.")]
    verified_at: Time | None
    cert_expires_at: Annotated[Time, Meta(description="mtls only: when the certificate that deliveries present runs out.")] | UnsetType = (
        UNSET
    )


class Held(Shape):
    """What waits because the webhook is pending or paused."""

    count: int
    expires_at: Annotated[Time | None, Meta(description="When the oldest is given up.")]


class ListedWebhook(WebhookRow, kw_only=True):
    paused_at: Time | None
    held: Held
    health: health.HealthSummary


class Pagination(Shape):
    current_page: int
    per_page: int
    total_pages: int
    total_count: int


class WebhookList(Shape):
    """Newest first."""

    webhooks: list[ListedWebhook]
    pagination: Pagination


class CreatedWebhook(WebhookRow):
    private_key: Annotated[str, Meta(description="bearer_token only. 64 hex digits: shown here, and never again.")] | UnsetType = UNSET
    client_cert: (
        Annotated[str, Meta(description="mtls only. PEM: the certificate that deliveries present, then its issuer's. Shown here.")]
        | UnsetType
    ) = UNSET


class Limits(Shape):
    """What you allow for this webhook, per process of the sender; null: only the sender's own limits hold."""

    max_in_flight: int | None
    rate_per_second: float | None


class PrivateKey(Shape):
    """A key that deliveries carry as `Authorization: Bearer`; the key itself is never shown again."""

    id: str
    created_at: Time
    activates_at: Time
    in_use: bool


class PrivateKeys(Shape):
    """By `activates_at`, newest first; those replaced may be among them for a while."""

    private_keys: list[PrivateKey]


class SigningKey(Shape):
    """A Standard Webhooks key that signs; the key itself is never shown again."""

    id: str
    created_at: Time
    expires_at: Annotated[Time | None, Meta(description="Until when it signs along; null: it is the newest.")]


class Waiting(Shape):
    """Deliveries that are not done."""

    held: int
    queued: int
    oldest_expires_at: Annotated[Time | None, Meta(description="When the oldest of all of them is given up.")]
    held_expires_at: Annotated[Time | None, Meta(description="When the oldest held one is given up.")]


class Lane(Shape):
    """How the sending to this webhook stands in the process that answered."""

    in_flight: int
    limit: Annotated[int, Meta(description="Requests that may be in flight now, all things considered.")]
    rate_per_second: Annotated[float | None, Meta(description="Requests that may start per second now; null: as many as `limit` lets.")]
    is_failing: Annotated[bool, Meta(description="One request at a time, for the oldest event, until one succeeds.")]
    is_ramping: Annotated[bool, Meta(description="It came back a moment ago, and is led up gently.")]


class WebhookDetail(WebhookRow, kw_only=True):
    """All that can be shown of a webhook; nothing secret."""

    paused_at: Time | None
    revision: Annotated[int, Meta(description="Rises with each change; also the ETag, for If-Match.")]
    limits: Limits
    private_keys: list[PrivateKey]
    headers: Annotated[dict[str, str], Meta(description="Your own headers on each delivery: names, with their values masked.")]
    signing_keys: list[SigningKey]
    deliveries: Waiting
    health: health.HealthShown
    lane: Lane
    certificate: Annotated[certificates.Presented | None, Meta(description="null for bearer_token.")]


class SwitchedWebhook(WebhookDetail, kw_only=True):
    """A webhook that proves itself in another way now; what it does so with is shown here."""

    private_key: Annotated[str, Meta(description="bearer_token only. 64 hex digits: shown here, and never again.")] | UnsetType = UNSET
    client_cert: (
        Annotated[str, Meta(description="mtls only. PEM: the certificate that deliveries present, then its issuer's.")] | UnsetType
    ) = UNSET


class Verification(Shape):
    id: str
    verified: Annotated[bool, Meta(description="false: a handshake runs now; ask again for how it went.")]


class IssuedPrivateKey(Shape):
    id: str
    private_key: Annotated[str, Meta(description="64 hex digits: shown here, and never again.")]
    activates_at: Time


class IssuedSigningKey(Shape):
    id: str
    signing_key: Annotated[str, Meta(description="`whsec_` and base64: shown here, and never again.")]


# What callers send


class NewWebhook(Shape):
    """Members that we do not know are passed over: a newer SDK may send them."""

    name: Annotated[str, _NAME]
    url: Annotated[str, _URL]
    subscribed_events: Annotated[list[str], _EVENTS]
    auth_method: Annotated[AuthMethod | None, Meta(description="null: bearer_token. mtls needs an https URL")] = None
    max_in_flight: Annotated[int | None, _IN_FLIGHT] = None
    rate_per_second: Annotated[float | None, _RATE] = None
    headers: Annotated[
        dict[str, Any] | None,
        Meta(
            description="Your own headers on each delivery, by name",
            extra_json_schema={"additionalProperties": {"type": "string"}},
        ),
    ] = None


class WebhookChanges(Shape, forbid_unknown_fields=True):
    """What is to change; what is left out stays."""

    name: Annotated[str, _NAME] | UnsetType = UNSET
    url: Annotated[str, _URL] | UnsetType = UNSET
    subscribed_events: Annotated[list[str], _EVENTS] | UnsetType = UNSET
    auth_method: Annotated[AuthMethod, Meta(description="Is changed by itself, without other members")] | UnsetType = UNSET
    max_in_flight: Annotated[int | None, _IN_FLIGHT] | UnsetType = UNSET
    rate_per_second: Annotated[float | None, _RATE] | UnsetType = UNSET
    headers: (
        Annotated[
            dict[str, Any] | None,
            Meta(
                description="Merge patch (RFC 7396) of your own headers: null removes one, null in place of the object removes all",
                extra_json_schema={"additionalProperties": {"type": ["string", "null"]}},
            ),
        ]
        | UnsetType
    ) = UNSET


class NewPrivateKey(Shape, forbid_unknown_fields=True):
    activates_at: Annotated[Time | None, Meta(description="From when on it is used, at most 7 days ahead; absent: at once")] = None


class NewSigningKey(Shape, forbid_unknown_fields=True):
    overlap_seconds: Annotated[
        int | None,
        Meta(
            description="How long the key before it signs along, 0 to 604800 (7 days); absent: a day",
            extra_json_schema={"minimum": 0, "maximum": 604_800},
        ),
    ] = None


class NewTest(Shape, forbid_unknown_fields=True):
    type: Annotated[str, Meta(description="The name of an event type", extra_json_schema={"enum": [*EVENT_TYPES]})]


class UrlToCheck(Shape, forbid_unknown_fields=True):
    url: Annotated[str, Meta(description="The URL to check, as it would be registered")]


def created(made: Created) -> CreatedWebhook:
    return CreatedWebhook(**_row(made.webhook, made.certificate), **_proof(made))


def listed(one: Listed) -> ListedWebhook:
    return ListedWebhook(
        **_row(one.webhook, one.certificate),
        paused_at=time_of(one.webhook.paused_at),
        held=Held(count=one.held, expires_at=time_of(one.held_until)),
        health=health.summary(one.health),
    )


def detail(found: Detail, lane: LaneState) -> WebhookDetail:
    return WebhookDetail(**_detail(found, lane))


def switched(made: Created, found: Detail, lane: LaneState) -> SwitchedWebhook:
    return SwitchedWebhook(**_detail(found, lane), **_proof(made))


def _detail(found: Detail, lane: LaneState) -> dict[str, Any]:
    webhook = found.webhook
    limits = webhook.limits or LaneLimits()
    return {
        **_row(webhook, next((one.certificate for one in found.certificates if one.certificate.replaced_at is None), None)),
        "paused_at": time_of(webhook.paused_at),
        "revision": webhook.revision,
        "limits": Limits(max_in_flight=limits.max_in_flight, rate_per_second=limits.rate_per_second),
        "private_keys": private_keys(found),
        "headers": dict.fromkeys(found.headers, "***"),
        "signing_keys": [
            SigningKey(id=key.id, created_at=rfc3339(key.created_at), expires_at=time_of(key.expires_at)) for key in found.signing_keys
        ],
        "deliveries": Waiting(
            held=found.counts.held,
            queued=found.counts.queued,
            oldest_expires_at=time_of(found.counts.oldest_expires_at),
            held_expires_at=time_of(found.counts.held_until),
        ),
        "health": health.whole(found.health),
        "lane": Lane(
            in_flight=lane.in_flight,
            limit=lane.limit,
            rate_per_second=lane.rate_per_second,
            is_failing=lane.is_failing,
            is_ramping=lane.is_ramping,
        ),
        "certificate": certificates.presented(found.certificates, found.last_used) if webhook.auth_method is AuthMethod.MTLS else None,
    }


def private_keys(found: Detail) -> list[PrivateKey]:
    return [
        PrivateKey(id=key.id, created_at=rfc3339(key.created_at), activates_at=rfc3339(key.activates_at), in_use=key.id == found.key_in_use)
        for key in found.keys
    ]


def _row(webhook: Webhook, certificate: Certificate | None) -> dict[str, Any]:
    return {
        "id": webhook.id,
        "name": webhook.name,
        "url": webhook.url,
        "auth_method": webhook.auth_method,
        "subscribed_events": webhook.subscribed_events,
        "created_at": rfc3339(webhook.created_at),
        "status": webhook.status,
        "verified_at": time_of(webhook.verified_at),
        "cert_expires_at": UNSET if certificate is None else rfc3339(certificate.expires_at),
    }


def _proof(made: Created) -> dict[str, Any]:
    return {
        "private_key": UNSET if made.private_key is None else made.private_key,
        "client_cert": UNSET if made.certificate is None else made.certificate.chain.decode("ascii"),
    }
