"""An account may ask what the guard thinks of a URL, and not without end."""

from __future__ import annotations

from pathlib import Path

import pytest

from gridhook.app import open_gridhook
from gridhook.config import Settings
from gridhook.errors import Invalid, TooMany
from tests.transport.nameserver import NameServer, records


async def test_an_account_that_checks_without_end_is_told_to_wait_and_keeps_nobody_else_waiting(tmp_path: Path, quiet_log):
    settings = Settings(data_dir=str(tmp_path), checks_per_minute=3)
    async with open_gridhook(settings, log=quiet_log) as gridhook:
        check = gridhook.service.webhooks.check
        for url in ("http://10.0.0.5/", "no url at all", "https://93.184.216.34/"):
            assert (await check("acc_one", url)).is_allowed == url.startswith("https")
        with pytest.raises(TooMany, match="3 checks and refusals") as caught:
            await check("acc_one", "http://10.0.0.6/")
        assert 1 <= caught.value.retry_after <= 21
        assert not (await check("acc_two", "http://10.0.0.6/")).is_allowed


async def test_a_refused_registration_tells_as_much_as_a_check_and_costs_as_much(tmp_path: Path, quiet_log):
    async with NameServer() as names:
        names.zone = {f"inside{n}.example.net": records("10.0.0.5") for n in (1, 2, 3)}
        names.zone["good.example.net"] = records("93.184.216.34")
        settings = Settings(data_dir=str(tmp_path), checks_per_minute=2, dns_servers=(f"127.0.0.1#{names.server.port}",))
        async with open_gridhook(settings, log=quiet_log) as gridhook:
            account, _ = await gridhook.service.create_account("Curious")

            async def register(host: str) -> None:
                events = ["ag.hid_org.created"]
                await gridhook.service.webhooks.create(account.id, name="x", url=f"https://{host}/", subscribed_events=events)

            for n in (1, 2):
                with pytest.raises(Invalid, match="address_refused"):
                    await register(f"inside{n}.example.net")
            with pytest.raises(TooMany, match="2 checks and refusals"):
                await register("inside3.example.net")
            await register("good.example.net")  # what is good can be registered all the same
