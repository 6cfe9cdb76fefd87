"""The settings of one webhook: the page that shows them, and that every form of it comes back to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from gridhook.errors import Invalid, NotFound
from gridhook.model import AuthMethod, Instant, Value, Webhook
from gridhook.rules.certificates import CertificateState
from gridhook.rules.retry import is_received
from gridhook.service.certificates import Shown
from gridhook.service.webhooks import LONGEST_KEY_DELAY_MS, Detail
from gridhook.store.promises import MOST_COUNTED, CredentialInfo
from gridhook.web.call import Call
from gridhook.web.operations import page
from gridhook.web.pages import forms
from gridhook.web.pages.families import families
from gridhook.web.pages.front import GONE, Front
from gridhook.web.pages.views import ONE, WARN_BEFORE_MS, View
from gridhook.web.problems import Reply
from gridhook.web.routes import Route

SETTINGS = ONE + "/settings"
NEWEST = 20  # attempts that are looked at for what a receiver takes


class Draft(Value, frozen=True):
    """What can be edited of a webhook, as it stands in the form's fields. It is also kept in the form, as it was when it was shown."""

    name: str
    url: str
    subscribed_events: tuple[str, ...]
    max_in_flight: str
    rate_per_second: str

    @staticmethod
    def of(webhook: Webhook) -> Draft:
        limits = webhook.limits
        in_flight, rate = (None, None) if limits is None else (limits.max_in_flight, limits.rate_per_second)
        return Draft(webhook.name, webhook.url, webhook.subscribed_events, _text(in_flight), _text(rate))


@dataclass(frozen=True, slots=True)
class News:
    """What somebody else changed while a form was open."""

    label: str
    words: str


@dataclass(frozen=True, slots=True)
class Editor:
    """The form for name, URL, events and limits. revision, seen: of the state that its person has seen."""

    draft: Draft
    revision: int
    seen: Draft
    news: Sequence[News] = ()


@dataclass(frozen=True, slots=True)
class Keys:
    """A webhook's Private Keys. waiting: not in use yet. replaced: the one before, of a change that is not long ago. is_taken: something
    was received with the one in use, so the receiver knows it."""

    in_use: CredentialInfo | None
    waiting: CredentialInfo | None
    replaced: CredentialInfo | None
    is_taken: bool


@dataclass(frozen=True, slots=True)
class Signer:
    """A signing key without its text. expires_at None: the newest."""

    id: str
    created_at: Instant
    expires_at: Instant | None


@dataclass(frozen=True, slots=True)
class Certificates:
    """all: newest first. ends_soon: the presented one."""

    all: tuple[Shown, ...]
    presented: Shown | None
    fallback: Shown | None
    last_used: str | None
    ends_soon: bool


def address(view: View, webhook_id: str) -> str:
    return SETTINGS.format(account_id=view.account.id, webhook_id=webhook_id)


async def detail_of(front: Front, view: View, call: Call) -> Detail:
    """Raises `NotFound`."""
    webhook = await front.webhook(view, call)
    try:
        return await front.service.webhooks.detail(view.account.id, webhook.id, most=MOST_COUNTED)
    except NotFound:
        raise NotFound(GONE) from None


async def show(
    front: Front,
    view: View,
    call: Call,
    *,
    status: int = 200,
    errors: Mapping[str, str] | None = None,
    editor: Editor | None = None,
    typed: Mapping[str, str] | None = None,
) -> Reply:
    """The page. errors: by field, or by section for those of no field. editor, typed: what a person had put into the forms."""
    found = await detail_of(front, view, call)
    webhook = found.webhook
    now = front.service.clock.now()
    if editor is None:
        draft = Draft.of(webhook)
        editor = Editor(draft, webhook.revision, draft)
    return await front.show(
        view,
        "settings.html",
        status=status,
        errors=errors or {},
        webhook=webhook,
        health=found.health,
        here=address(view, webhook.id),
        editor=editor,
        seen=msgspec.json.encode(editor.seen).decode(),
        families=families(),
        header_names=found.headers,
        typed={"header_name": "", "when": "86400", "at": "", "overlap": "86400", **(typed or {})},
        keys=await keys_of(front, found, now),
        newest_key=newest_key(found),
        newest_signing_key=newest_signing_key(found),
        latest_at=now + LONGEST_KEY_DELAY_MS,
        signers=[Signer(key.id, key.created_at, key.expires_at) for key in found.signing_keys],
        is_proving=webhook.auth_method is AuthMethod.MTLS,
        certificates=certificates_of(found, now),
        found=None,
        needs_https=False,
    )


NO_KEY = "none"


def newest_key(found: Detail) -> str:
    """Of the Private Keys, those that wait included."""
    return found.keys[0].id if found.keys else NO_KEY


def newest_signing_key(found: Detail) -> str:
    return next((key.id for key in found.signing_keys if key.expires_at is None), NO_KEY)


async def keys_of(front: Front, found: Detail, now: Instant) -> Keys:
    used = [key for key in found.keys if key.activates_at <= now]
    waiting = next((key for key in found.keys if key.activates_at > now), None)
    if len(used) < 2:
        return Keys(used[0] if used else None, waiting, None, False)
    in_use, replaced = used[:2]
    webhook = found.webhook
    newest = (await front.service.store.attempts(webhook.account_id, webhook.id, limit=NEWEST)).attempts
    # Deliveries that were received longer ago than the newest few attempts are told by health; tests are in the log only.
    is_taken = (found.health.last_success_at or 0) > in_use.activates_at or any(
        one.credential_id == in_use.id and is_received(one.outcome) for one in newest
    )
    return Keys(in_use, waiting, replaced, is_taken)


def certificates_of(found: Detail, now: Instant) -> Certificates:
    def first(*states: CertificateState) -> Shown | None:
        return next((one for one in found.certificates if one.state in states), None)

    presented = first(CertificateState.PRESENTED, CertificateState.EXPIRED)
    ends_soon = presented is not None and presented.certificate.expires_at - now < WARN_BEFORE_MS
    return Certificates(found.certificates, presented, first(CertificateState.FALLBACK), found.last_used, ends_soon)


def sentence(error: Exception, subject: str = "") -> str:
    """A refusal in words for a person: `The name is required: ...`; where to try again is said by the message itself."""
    return forms.sentence(f"{subject} {error.message}" if isinstance(error, Invalid) and subject else str(error))


def _text(number: float | None) -> str:
    """As a person would type it: without a fraction that is none."""
    return "" if number is None else str(int(number)) if number == int(number) else str(number)


class Settings:
    def __init__(self, front: Front) -> None:
        self._front = front

    @page("seeSettings", "The settings of a webhook")
    async def look(self, call: Call) -> Reply:
        view = await self._front.view(call)
        # Where a form came twice: see `keys`.
        twice = call.argument("twice")
        made = "A new key had been made already when this form arrived: nothing was made twice."
        errors = {twice: made} if twice in ("private_key", "overlap") else None
        return await show(self._front, view, call, errors=errors)


def routes(front: Front) -> list[Route]:
    return [Route(SETTINGS, {"GET": Settings(front).look})]
