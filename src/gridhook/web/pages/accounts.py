"""Which account to look at: of those one belongs to, or, for an operator, of all."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from gridhook.model import Account, Role
from gridhook.web.call import Call
from gridhook.web.operations import page
from gridhook.web.pages.front import Front
from gridhook.web.pages.views import ROOT
from gridhook.web.problems import Reply
from gridhook.web.routes import Route

ACCOUNTS = f"{ROOT}/accounts"
PAGE = 50
LONGEST_SEARCH = 100  # characters


@dataclass(frozen=True, slots=True)
class Choice:
    account: Account
    role: Role | None  # None: seen as operator alone


class Accounts:
    def __init__(self, front: Front) -> None:
        self._front = front

    @page("chooseAccount", "Choose an account")
    async def index(self, call: Call) -> Reply:
        visitor = await self._front.visitor(call)
        wanted = (call.argument("q") or "").replace("\0", "").strip()[:LONGEST_SEARCH]
        number = call.integer("page", 1, 1, 100_000)
        person_id = None if visitor.is_operator else visitor.session.person_id
        found = await self._front.service.store.accounts_found(wanted or None, person_id, offset=(number - 1) * PAGE, limit=PAGE)
        roles = {one.account_id: one.role for one in visitor.memberships}
        return await self._front.mine(
            visitor,
            ACCOUNTS,
            "accounts.html",
            choices=[Choice(one, roles.get(one.id)) for one in found.accounts],
            total=found.total,
            wanted=wanted,
            newer=_address(wanted, number - 1) if number > 1 else None,
            older=_address(wanted, number + 1) if number * PAGE < found.total else None,
        )


def _address(wanted: str, number: int) -> str:
    return f"{ACCOUNTS}?{urlencode({'q': wanted, 'page': number} if wanted else {'page': number})}"


def routes(front: Front) -> list[Route]:
    return [Route(ACCOUNTS, {"GET": Accounts(front).index})]
