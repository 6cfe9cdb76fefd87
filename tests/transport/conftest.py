"""A real transport that may reach loopback, and a test CA that it trusts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from gridhook.config import Settings
from gridhook.model import Outcome
from gridhook.transport import Identity, Limits, Outgoing, open_transport
from gridhook.transport.wire import Transport
from tests.transport.certificates import Authority

Send = Callable[..., Awaitable[Outcome]]

SHORT = Limits(connect_seconds=1.0, total_seconds=1.0)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def settings(authority: Authority, tmp_path: Path) -> Settings:
    return Settings(
        data_dir=str(tmp_path), allow_networks=("127.0.0.0/8", "::1/128"), ca_file=str(authority.path), dns_servers=("127.0.0.1#9",)
    )


@pytest.fixture
async def transport(settings: Settings) -> AsyncIterator[Transport]:
    opened = open_transport(settings)
    await opened.start()
    yield opened
    await opened.close()


@pytest.fixture
def send(transport: Transport) -> Send:
    def send(
        url: str, body: bytes = b'{"a":1}', limits: Limits = SHORT, identity: Identity | None = None, headers: dict[str, str] | None = None
    ) -> Awaitable[Outcome]:
        fields = tuple((headers or {"Content-Type": "application/json"}).items())
        return transport.send(Outgoing(transport.parse(url), fields, body, limits, identity))

    return send
