"""What a browser sends: fields of a form, of this very session and from this very site."""

from __future__ import annotations

import hmac
from urllib.parse import parse_qsl, urlsplit

from gridhook.errors import Forbidden, Invalid, Unreadable
from gridhook.web.call import Call

MOST_BYTES = 64 * 1024
MOST_FIELDS = 500
CSRF = "csrf"


class Form:
    """Fields by name, in their order; unknown ones are passed over."""

    def __init__(self, body: bytes) -> None:
        try:
            pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict")
        except (ValueError, UnicodeDecodeError):
            raise Unreadable("", "this form could not be read; go back, load the page again and send it once more") from None
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            self._values.setdefault(name, []).append(value)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def text(self, name: str) -> str:
        """The first value, stripped; empty when there is none."""
        return self._values.get(name, [""])[0].strip()

    def raw(self, name: str) -> str:
        """The first value as it was typed: for passwords."""
        return self._values.get(name, [""])[0]

    def all(self, name: str) -> list[str]:
        return self._values.get(name, [])

    def number(self, name: str) -> float | None:
        """None for an empty field. Raises `Invalid`."""
        text = self.text(name)
        if not text:
            return None
        try:
            number = float(text)
        except ValueError:
            raise Invalid(name, "must be a number") from None
        if not -1e15 < number < 1e15:
            raise Invalid(name, "must be a number that makes sense here")
        return number

    def whole(self, name: str) -> int | None:
        """Likewise, without a fraction."""
        number = self.number(name)
        if number is not None and number != int(number):
            raise Invalid(name, "must be a whole number")
        return None if number is None else int(number)


def sentence(words: str) -> str:
    """A refusal's words as one: with a capital, and an end. What is null in JSON is a field left empty."""
    words = words.replace(" or be null", " or be empty")
    return f"{words[:1].upper()}{words[1:]}{'' if words.endswith(('.', '?', '!')) else '.'}"


async def read_form(call: Call, csrf: str | None) -> Form:
    """The fields of a POST. csrf: the session's; None for a form that needs no session. Raises `Forbidden` for another site's form."""
    check_origin(call)
    body = await call.body(MOST_BYTES)
    if (call.header(b"content-type") or "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise Unreadable("", "a form is expected here (application/x-www-form-urlencoded)")
    form = Form(body)
    if csrf is not None and not hmac.compare_digest(form.raw(CSRF).encode(), csrf.encode()):
        raise Forbidden("this form is of another session, or too old: go back, load the page again and send it once more")
    return form


def check_origin(call: Call) -> None:
    """Raises `Forbidden` when a browser says that another site sent this. Browsers too old to say are left to the form's token."""
    site = call.header(b"sec-fetch-site")
    if site is not None:
        if site not in ("same-origin", "none"):
            raise Forbidden("this form was sent from another site")
        return
    origin = call.header(b"origin")
    if origin is not None and urlsplit(origin).netloc.lower() != (call.header(b"host") or "").lower():
        raise Forbidden("this form was sent from another site")
