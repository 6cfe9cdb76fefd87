"""Handshakes whose database goes away under them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psycopg

from gridhook.app import open_gridhook
from gridhook.config import Settings
from gridhook.telemetry import Log
from gridhook.testing import Receiver

LOSE_THE_CONNECTION = """
CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER die AFTER INSERT ON attempts DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION die();
"""


async def test_a_url_is_proven_though_the_database_was_away_when_its_receiver_answered(
    tmp_path: Path, postgres_url: str, quiet_log: Log
) -> None:
    settings = Settings(
        data_dir=str(tmp_path),
        database_url=postgres_url,
        master_key="test:" + "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=",
        allow_networks=("127.0.0.0/8",),
    )
    async with Receiver() as receiver, open_gridhook(settings, log=quiet_log) as gridhook:
        with psycopg.connect(postgres_url, autocommit=True) as database:
            database.execute(LOSE_THE_CONNECTION)
            account, _ = await gridhook.service.create_account("Northwind")
            made = await gridhook.service.webhooks.create(account.id, name="x", url=receiver.url, subscribed_events=["ag.hid_org.created"])
            async with asyncio.timeout(60):
                while gridhook.store.trouble() is None:
                    await asyncio.sleep(0.01)
                database.execute("DROP TRIGGER die ON attempts")
                while not (await gridhook.store.webhook(account.id, made.webhook.id)).is_verified:
                    await asyncio.sleep(0.05)
        assert len(receiver.handshakes) >= 2
