"""Who looks at which account's pages, and what they may do there."""

from __future__ import annotations

from dataclasses import dataclass

from gridhook.model import Account, Role, Webhook
from gridhook.service.people import Visitor
from gridhook.web.shapes.attempts import masked

ROOT = "/console"
BASE = ROOT + "/a/{account_id}"
WEBHOOKS = BASE + "/webhooks"
ONE = WEBHOOKS + "/{webhook_id}"
WARN_BEFORE_MS = 30 * 86_400_000  # of a certificate's end: from then on pages point to it


@dataclass(frozen=True, slots=True)
class View:
    """A signed-in person in one account. `path`: of the request, without query. looks_ahead: nobody reads this answer, or not yet."""

    visitor: Visitor
    account: Account
    role: Role
    path: str
    looks_ahead: bool = False

    @property
    def may_change(self) -> bool:
        return self.role is Role.ADMIN

    def url_of(self, webhook: Webhook) -> str:
        """As this person may see it: the query may hold a token, which is the admins' to know."""
        return webhook.url if self.may_change else masked(webhook.url)

    @property
    def base(self) -> str:
        """Where this account's pages begin."""
        return BASE.format(account_id=self.account.id)
