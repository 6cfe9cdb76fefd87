"""Webhooks and accounts are found by a part of what they are called, whichever the database and the script."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from gridhook.model import Account, Sealed, WebhookFilter
from gridhook.store import Store
from gridhook.store.promises import Credential
from tests.store.world import NOON, an_account, hook

NAMES = ("École ÉLÉMENTAIRE", "ÅNGSTRÖM 50%", "Σίσυφος_ΣΑΣ", "İstanbul", "plain", "Straße 🚪!", "100% sure")


@pytest.mark.parametrize("name", NAMES)
async def test_what_is_called_in_any_script_is_found_by_its_own_name_and_by_each_part_of_it(store: Store, name: str) -> None:
    await an_account(store)
    for n, other in enumerate(NAMES):
        await store.add_webhook(replace(hook(f"wh{n}"), name=other), Credential(f"cred{n}", Sealed(b"\x01")))
        await store.add_account(Account(f"a{n}", other, True, NOON))
    small = "".join(letter.lower() if letter.isascii() else letter for letter in name)
    for text in (name, small, name[:4], name[-3:]):
        webhooks = await store.webhooks("acc", offset=0, limit=50, filter=WebhookFilter(text=text))
        accounts = await store.accounts_found(text=text, person_id=None, offset=0, limit=50)
        expected = [other for other in NAMES if text in other or (text == small and other == name)]
        assert sorted(one.name for one in webhooks.webhooks) == sorted(one.name for one in accounts.accounts) == sorted(expected), text


async def test_a_search_for_what_no_text_can_hold_finds_nothing(store: Store) -> None:
    await an_account(store)
    await store.add_webhook(hook(), Credential("cred", Sealed(b"\x01")))
    for text in ("\0", "hook\0", "\ud800", "%", "_", "!"):
        assert (await store.webhooks("acc", offset=0, limit=50, filter=WebhookFilter(text=text))).total == 0
        assert (await store.accounts_found(text=text, person_id=None, offset=0, limit=50)).total == 0
