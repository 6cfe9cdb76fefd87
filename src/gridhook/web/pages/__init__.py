"""The console: what AccessGrid's customers see when they open *Webhooks*. Pages for people, made on the server; the API is beside it."""

from __future__ import annotations

from gridhook.web.pages import (
    accounts,
    assets,
    attempt,
    attempts,
    catalogue,
    certificates,
    changes,
    creating,
    deleting,
    deliveries,
    editing,
    events,
    keys,
    me,
    operating,
    overview,
    recovering,
    signing_in,
    single_sign_on,
    slashes,
    trying,
    verifying,
    webhook,
    webhook_list,
)
from gridhook.web.pages import settings as settings_page
from gridhook.web.pages.front import Front
from gridhook.web.pages.streams import Streams
from gridhook.web.pages.views import ROOT
from gridhook.web.routes import Route


def routes(front: Front, streams: Streams) -> list[Route]:
    provider = single_sign_on.open_provider(front)
    found = [
        *signing_in.routes(front, provider.host if provider else None),
        *single_sign_on.routes(front, provider),
        *me.routes(front),
        *accounts.routes(front),
        *overview.routes(front),
        *changes.routes(front, streams),
        *attempts.routes(front),
        *attempt.routes(front),
        *events.routes(front),
        *operating.routes(front),
        *catalogue.routes(front),
        *webhook_list.routes(front),
        *creating.routes(front),
        *verifying.routes(front),
        *webhook.routes(front),
        *trying.routes(front),
        *deliveries.routes(front),
        *recovering.routes(front),
        *settings_page.routes(front),
        *editing.routes(front),
        *keys.routes(front),
        *certificates.routes(front),
        *deleting.routes(front),
    ]
    return [*assets.routes(), *(front.dressed(route) for route in found), *slashes.routes(ROOT, found)]


def is_below(path: str) -> bool:
    """Whether a browser looks for one of our pages there."""
    return path == ROOT or path.startswith(f"{ROOT}/")
