"""Settings that cannot work are refused at the start, by name."""

from __future__ import annotations

import pytest

from gridhook.config import Settings
from gridhook.errors import Misconfigured


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ATTEMPT_SECONDS", "inf"),
        ("POLL_SECONDS", "nan"),
        ("DRAIN_SECONDS", "nan"),
        ("DRAIN_SECONDS", "-1"),
        ("LISTEN", "127.0.0.1:99999"),
        ("LISTEN", "8080"),
        ("CLOCK_SKEW_SECONDS", "-5"),
        ("RETRY_DELAYS_SECONDS", "30,-5"),
        ("RETRY_DELAYS_SECONDS", "30,99999999"),
        ("RETRY_JITTER", "-1"),
        ("PUBLIC_URL", "foo"),
        ("PUBLIC_URL", "https://example.com/?a=b"),
        ("TRUSTED_HOSTS", "https://webhook.site"),
        ("SOURCE", "a b"),
        ("SLOTS", "0"),
        ("SLOTS", "many"),
        ("LOG_LEVEL", "loud"),
        ("CONNECT_SECONDS", "20"),
        ("TYPO", "1"),
        ("MAX_BATCH_BYTES", "-1"),
        ("MAX_API_BODY_BYTES", "0"),
        ("MAX_WEBHOOKS", "0"),
        ("WEBHOOK_SLOTS", "99999999999999999999"),
        ("PUBLIC_URL", "http://[::1"),
        ("PUBLIC_URL", "https://user:password@hooks.example.com"),
        ("SOURCE", "\udcff"),  # a byte that is not UTF-8, as Python hands it on
    ],
)
def test_a_setting_that_cannot_work_stops_the_start_and_is_named(name: str, value: str):
    with pytest.raises(Misconfigured, match=f"GRIDHOOK_{name}"):
        Settings.from_environment({f"GRIDHOOK_{name}": value})


def test_a_secret_setting_is_not_repeated_in_an_error_or_a_repr():
    settings = Settings.from_environment({"GRIDHOOK_MASTER_KEY": "k1:verysecret", "GRIDHOOK_DATABASE_URL": "postgresql://u:pw@h/d"})
    assert "verysecret" not in repr(settings)
    assert "pw" not in repr(settings)


def test_settings_survive_the_way_through_another_process_environment():
    settings = Settings(slots=7, allow_hosts=("a", "b"), retry_delays_seconds=(1, 2), legacy_sha256=True, public_url="https://x.example")
    assert Settings.from_environment(settings.environment()) == settings
