"""An account may ask what the guard thinks of a URL, and not without end."""

from __future__ import annotations

from pathlib import Path

import pytest

from gridhook.app import open_gridhook
from gridhook.config import Settings
from gridhook.errors import TooMany


async def test_an_account_that_checks_without_end_is_told_to_wait_and_keeps_nobody_else_waiting(tmp_path: Path, quiet_log):
    settings = Settings(data_dir=str(tmp_path), checks_per_minute=3)
    async with open_gridhook(settings, log=quiet_log) as gridhook:
        check = gridhook.service.check_url
        for url in ("http://10.0.0.5/", "no url at all", "https://93.184.216.34/"):
            assert (await check("acc_one", url)).is_allowed == url.startswith("https")
        with pytest.raises(TooMany, match="3 checks a minute") as caught:
            await check("acc_one", "http://10.0.0.6/")
        assert 1 <= caught.value.retry_after <= 21
        assert not (await check("acc_two", "http://10.0.0.6/")).is_allowed
