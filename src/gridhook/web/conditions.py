"""If-Match: a change that is made only to the state that its caller has seen."""

from __future__ import annotations

import re

from gridhook.errors import Invalid, Stale
from gridhook.model import Webhook
from gridhook.web.operations import Parameter

# RFC 9110 s8.8.3: entity-tag = [ "W/" ] DQUOTE *etagc DQUOTE. In a list, empty elements are passed over (s5.6.1.2).
_ETAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_LIST = re.compile(rf"[ \t,]*{_ETAG.pattern}(?:[ \t]*,[ \t]*(?:{_ETAG.pattern})?)*[ \t]*")
IF_MATCH = Parameter(
    "If-Match",
    "The ETag of the webhook that you have seen: if it was changed since, nothing is done and you get 412. `*`: any.",
    {"type": "string"},
    place="header",
    example='"3"',
)


def expected_revision(condition: str | None, webhook: Webhook) -> int | None:
    """The revision that an edit must find. None: any. Raises `Stale` when the condition names others only, `Invalid` when it is none.

    RFC 9110 s13.1.1: compared strongly, so a weak tag matches nothing.
    """
    if condition is None or condition.strip() == "*":
        return None
    if not _LIST.fullmatch(condition):
        raise Invalid("If-Match", 'must be * or entity tags in double quotes, as ETag gave them, for example "3"')
    tags = [text for weak, text in _ETAG.findall(condition) if not weak]
    if str(webhook.revision) not in tags:
        raise Stale(f"webhook {webhook.id} was changed meanwhile (it is at revision {webhook.revision}): read it again, then decide")
    return webhook.revision
