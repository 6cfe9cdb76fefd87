"""What the process says about itself: `Log`, one wide JSON line per thing that happened, and `Metrics`, for Prometheus."""

from gridhook.telemetry.bridge import Bridge, bridge_stdlib
from gridhook.telemetry.log import Log
from gridhook.telemetry.metrics import Metrics
from gridhook.telemetry.redaction import redacted

__all__ = ["Bridge", "Log", "Metrics", "bridge_stdlib", "redacted"]
