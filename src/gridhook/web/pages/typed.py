"""What a person typed about a webhook, as values. All raise `Invalid`; the URL is left to the service, which asks DNS."""

from __future__ import annotations

from gridhook.errors import Invalid
from gridhook.rules.catalogue import check_subscribed
from gridhook.service.inputs import checked_limits
from gridhook.web.pages.forms import Form


def chosen_events(chosen: tuple[str, ...]) -> tuple[str, ...]:
    if not chosen:
        raise Invalid("subscribed_events", "is empty: choose at least one event")
    return check_subscribed(chosen)


def max_in_flight(form: Form) -> int | None:
    number = form.whole("max_in_flight")
    checked_limits(number, None)
    return number


def rate_per_second(form: Form) -> float | None:
    number = form.number("rate_per_second")
    checked_limits(None, number)
    return number
