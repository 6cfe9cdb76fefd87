"""Lines of the standard `logging` module, from uvicorn, asyncio and others, as JSON lines in our log, redacted."""

from __future__ import annotations

import logging

from gridhook.telemetry.log import Log


class Bridge(logging.Handler):
    """Puts each record into the log as one plain line with the logger's name and, after an exception, its traceback."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log
        self._formatter = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except Exception:  # wrong arguments in a library's call must not raise in ours
            text = str(record.msg)
        fields = {"logger": record.name}
        if record.exc_info and record.exc_info[0] is not None:
            fields["traceback"] = self._formatter.formatException(record.exc_info)
        self._log.line(_level(record.levelno), text, fields)


def bridge_stdlib(log: Log, level: str = "info") -> Bridge:
    """Make the log the only place where the standard module's records go; uvicorn's access lines, which carry queries, go nowhere."""
    bridge = Bridge(log)
    root = logging.getLogger()
    root.handlers[:] = [bridge]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    access = logging.getLogger("uvicorn.access")
    access.handlers.clear()
    access.propagate = False
    logging.captureWarnings(True)
    return bridge


def _level(number: int) -> str:
    if number >= logging.ERROR:
        return "error"
    if number >= logging.WARNING:
        return "warning"
    return "info" if number >= logging.INFO else "debug"
