"""The command line: one module per family of commands, loaded when it is asked for."""

from __future__ import annotations

import importlib
import io
import sys
from typing import Any, NoReturn

import click

from gridhook import __version__
from gridhook.cli.terminal import Failure, safe
from gridhook.errors import GridhookError

# In the order of a first day. The module is `gridhook.cli.<name>`, the command in it has the same name.
COMMANDS = (
    "demo",
    "serve",
    "accounts",
    "publishers",
    "users",
    "webhooks",
    "publish",
    "listen",
    "check",
    "attempts",
    "events",
    "ca",
    "doctor",
    "migrate",
    "reseal",
    "bench",
)


class Commands(click.Group):
    """Loads a command's module when it is needed; says what went wrong in one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        found = getattr(importlib.import_module(f"gridhook.cli.{name}"), name)
        assert isinstance(found, click.Command)
        return found

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                # A terminal that cannot show a character gets its escape, not a crash.
                stream.reconfigure(errors="backslashreplace")
        super().main(*args, **extra)
        raise AssertionError("click ends the process")

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except GridhookError as error:
            raise Failure(str(error)) from None
        except UnicodeDecodeError as error:
            raise Failure(f"the input is not UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}") from None
        except UnicodeEncodeError:
            # What it was is not repeated: it may be a key.
            raise Failure("an argument or a setting is not UTF-8") from None
        except BrokenPipeError:
            raise
        except OSError as error:
            what = f"{safe(str(error.filename))}: " if error.filename else ""
            raise Failure(f"{what}{error.strerror or error}") from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="gridhook", message="%(prog)s %(version)s")
def main() -> None:
    """gridhook sends webhooks: what it answered 202 reaches its receiver, or the log says why not.

    Settings come from the environment; `gridhook serve --help` lists them all. Start with `gridhook demo`.
    """
