"""Says at the end of a run which sample receivers were not started in it, and why."""

from __future__ import annotations

import pytest

from tests.receivers import runners


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for label, why in runners.here()[1].items():
        terminalreporter.write_line(f"sample receiver not tried: {label}: {why}")
