"""Which account to look at: of those one belongs to, or, for an operator, of all."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from gridhook.errors import NotFound
from gridhook.model import Account, Role
from gridhook.service.people import Visitor
from gridhook.web.call import Call
from gridhook.web.operations import page
from gridhook.web.pages.front import Front
from gridhook.web.pages.views import ROOT
from gridhook.web.problems import Reply
from gridhook.web.routes import Route

ACCOUNTS = f"{ROOT}/accounts"
PAGE = 50


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
        wanted = (call.argument("q") or "").strip()[:100]
        number = call.integer("page", 1, 1, 100_000)
        found = [one for one in await self._choices(visitor) if _fits(one.account, wanted.casefold())]
        start = (number - 1) * PAGE
        return await self._front.mine(
            visitor,
            ACCOUNTS,
            "accounts.html",
            choices=found[start : start + PAGE],
            total=len(found),
            wanted=wanted,
            newer=_address(wanted, number - 1) if number > 1 else None,
            older=_address(wanted, number + 1) if start + PAGE < len(found) else None,
        )

    async def _choices(self, visitor: Visitor) -> list[Choice]:
        """By name."""
        roles = {one.account_id: one.role for one in visitor.memberships}
        if visitor.is_operator:
            accounts = await self._front.service.store.accounts()
        else:
            accounts = [account for id in roles if (account := await self._account(id)) is not None]
        return [Choice(one, roles.get(one.id)) for one in sorted(accounts, key=lambda one: (one.name.casefold(), one.id))]

    async def _account(self, account_id: str) -> Account | None:
        try:
            return await self._front.service.account(account_id)
        except NotFound:
            return None


def _fits(account: Account, wanted: str) -> bool:
    return wanted in account.name.casefold() or wanted in account.id.casefold()


def _address(wanted: str, number: int) -> str:
    return f"{ACCOUNTS}?{urlencode({'q': wanted, 'page': number} if wanted else {'page': number})}"


def routes(front: Front) -> list[Route]:
    return [Route(ACCOUNTS, {"GET": Accounts(front).index})]
