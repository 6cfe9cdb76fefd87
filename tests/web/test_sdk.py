"""AccessGrid's own Python SDK, as it comes from PyPI, against our server."""

from __future__ import annotations

import asyncio

import pytest
from accessgrid import AccessGrid
from accessgrid.client import AccessGridError, AuthenticationError

from gridhook.rules.instants import parse_rfc3339
from gridhook.testing import Receiver, Reply
from tests.web.world import World

EVENTS = ["ag.access_pass.issued", "ag.account_balance.low"]


def sdk(world: World, secret: str | None = None) -> AccessGrid:
    return AccessGrid(world.ours.account_id, secret or world.ours.secret, world.base_url)


async def test_the_sdk_creates_lists_verifies_and_deletes_a_webhook(world):
    client = sdk(world).console.webhooks
    async with Receiver() as receiver:
        created = await asyncio.to_thread(client.create, name="Prod", url=receiver.url, subscribed_events=EVENTS)
        assert created.id.startswith("wh_")
        assert (created.name, created.url, created.auth_method, created.subscribed_events) == ("Prod", receiver.url, "bearer_token", EVENTS)
        assert len(created.private_key) == 64
        assert created.created_at.endswith("Z")

        await world.verified(created.id)
        verification = await asyncio.to_thread(client.verify, created.id)
        assert (verification.id, verification.verified) == (created.id, True)

        (listed,) = await asyncio.to_thread(client.list)
        assert (listed.id, listed.private_key) == (created.id, None)

        await asyncio.to_thread(client.delete, created.id)
        with pytest.raises(AccessGridError, match=r"^API request failed: Webhook not found$"):
            await asyncio.to_thread(client.delete, created.id)
        with pytest.raises(AccessGridError, match=r"^API request failed: Webhook not found$"):
            await asyncio.to_thread(client.verify, created.id)
        assert await asyncio.to_thread(client.list) == []


async def test_verify_through_the_sdk_says_false_while_a_handshake_runs_and_true_once_it_succeeded(world):
    client = sdk(world).console.webhooks
    async with Receiver(handshake=lambda request: Reply(503)) as receiver:
        created = await asyncio.to_thread(client.create, name="Prod", url=receiver.url, subscribed_events=EVENTS)
        await receiver.shaken(1)
        assert (await asyncio.to_thread(client.verify, created.id)).verified is False
        await receiver.shaken(2)
    async with Receiver(port=receiver.port):
        assert (await asyncio.to_thread(client.verify, created.id)).verified is False
        await world.verified(created.id)
        assert (await asyncio.to_thread(client.verify, created.id)).verified is True


async def test_page_two_through_the_sdk_continues_where_page_one_ended_newest_first(world):
    client = sdk(world).console.webhooks

    async with Receiver() as receiver:
        ids = []
        for n in range(3):
            ids.append((await asyncio.to_thread(client.create, name=f"No {n}", url=receiver.url, subscribed_events=EVENTS)).id)
    first = await asyncio.to_thread(client.list, page=1, per_page=2)
    second = await asyncio.to_thread(client.list, page=2, per_page=2)
    assert sorted(webhook.id for webhook in [*first, *second]) == sorted(ids)
    told = [parse_rfc3339(webhook.created_at) for webhook in [*first, *second]]
    assert told == sorted(told, reverse=True)
    assert (len(first), len(second)) == (2, 1)


async def test_a_name_with_accents_and_emoji_goes_through_the_sdk_and_back(world):
    client = sdk(world).console.webhooks
    async with Receiver() as receiver:
        created = await asyncio.to_thread(client.create, name="Café ☕ Zürich", url=receiver.url, subscribed_events=EVENTS)
    assert created.name == "Café ☕ Zürich"
    assert [webhook.name for webhook in await asyncio.to_thread(client.list)] == ["Café ☕ Zürich"]


async def test_a_wrong_secret_is_an_authentication_error_in_the_sdk(world):
    with pytest.raises(AuthenticationError):
        await asyncio.to_thread(sdk(world, "0" * 64).console.webhooks.list)


async def test_what_is_wrong_with_a_webhook_reaches_the_caller_of_the_sdk_in_words(world):
    client = sdk(world).console.webhooks
    with pytest.raises(
        AccessGridError, match=r"^API request failed: Invalid event name: 'ag\.nope'\. Valid events: ag\.access_pass\.issued"
    ):
        await asyncio.to_thread(client.create, name="Prod", url="http://127.0.0.1:9/x", subscribed_events=["ag.nope"])
    with pytest.raises(AccessGridError, match=r"169\.254\.169\.254"):
        await asyncio.to_thread(client.create, name="Prod", url="http://169.254.169.254/", subscribed_events=EVENTS)
    with pytest.raises(AccessGridError, match="mtls"):
        await asyncio.to_thread(client.create, name="Prod", url="http://127.0.0.1:18009/", subscribed_events=EVENTS, auth_method="mtls")


async def test_an_account_without_the_enterprise_plan_is_told_so(world):
    await world.gridhook.service.set_enterprise(world.ours.account_id, False)
    with pytest.raises(AccessGridError, match="Enterprise"):
        await asyncio.to_thread(sdk(world).console.webhooks.list)
