"""What an operator reads while the database is away."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path

import psycopg
from psycopg import sql

from gridhook.app import open_gridhook
from gridhook.config import Settings
from gridhook.telemetry import Log

WAITS, BACK = "the dispatcher waits for the database", "the database answers again"


async def until(log: io.BytesIO, msg: str) -> None:
    async with asyncio.timeout(60):
        while msg.encode() not in log.getvalue():
            await asyncio.sleep(0.05)


async def test_an_outage_is_told_once_by_each_part_and_so_is_its_end(tmp_path: Path, postgres_server: str, postgres_url: str) -> None:
    settings = Settings(
        data_dir=str(tmp_path),
        database_url=postgres_url,
        master_key="test:" + "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=",
        poll_seconds=0.2,
    )
    stream = io.BytesIO()
    log = Log(stream)
    with psycopg.connect(postgres_server, autocommit=True) as server, psycopg.connect(postgres_url) as here:
        name = here.info.dbname
        async with open_gridhook(settings, log=log) as gridhook:
            for _ in range(2):
                stream.truncate(0)
                server.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))
                server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
                await until(stream, WAITS)
                await asyncio.sleep(2)  # long enough for several tries of each part
                server.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(name)))
                await until(stream, BACK)
                lines = [json.loads(line) for line in stream.getvalue().strip(b"\0").splitlines()]
                said = [line["msg"] for line in lines]
                assert (said.count(WAITS), said.count(BACK)) == (1, 1), said
                before = said[: said.index(BACK)]
                assert all(before.count(msg) == 1 for msg in before if msg.endswith("for the database")), said
                (back,) = (line for line in lines if line["msg"] == BACK)
                assert back["after_ms"] >= 1000
            assert not gridhook.engine.is_broken()
