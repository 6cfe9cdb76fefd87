"""gridhook: AccessGrid's webhook sender. What was answered 202 is never lost."""

__version__ = "0.1.0"
