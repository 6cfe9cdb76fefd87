"""What every test may ask for: a log that goes nowhere."""

from __future__ import annotations

import io

import pytest

from gridhook.telemetry import Log


@pytest.fixture
def quiet_log() -> Log:
    return Log(io.BytesIO())
