"""A request as a shell command that repeats it, for people to run. Secrets are not in it; nothing in it can leave its quotes."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from gridhook.rules.requests import CLOUDEVENT, USER_AGENT

SECONDS = 15
OURS_ALONE = (
    "# The key of the certificate that was presented never leaves the sender: client.pem and client.key stand for a pair of your own,\n"
    "# which the receiver must trust for this test.\n"
)


def command(url: str, payload: bytes, *, with_key: bool, with_certificate: bool = False, headers: Sequence[str] = ()) -> str:
    """For a POSIX shell, several lines. It sends the payload byte for byte.

    The Private Key is read from the environment's PRIVATE_KEY, and the URL's query, which may hold a customer's token, from QUERY.
    headers: names only; each is sent with the value `***`.
    The payload goes through a pipe: one argument may have at most 128 KiB on Linux, and a here-document would add a line's end.
    """
    bare, question, _ = url.partition("?")
    target = shlex.quote(bare + question) + ('"$QUERY"' if question else "")
    lines = [
        f"printf %s {shlex.quote(payload.decode('utf-8', 'replace'))} |",
        "curl --include --globoff --path-as-is --http1.1",
        f"--max-time {SECONDS} --request POST --url {target}",
        f"--header {shlex.quote(f'Content-Type: {CLOUDEVENT}')}",
        f"--header {shlex.quote(f'User-Agent: {USER_AGENT}')}",
    ]
    if with_certificate:
        lines.append("--cert client.pem --key client.key")
    if with_key:
        lines.append('--header "Authorization: Bearer $PRIVATE_KEY"')
    lines += [f"--header {shlex.quote(f'{name}: ***')}" for name in headers]
    lines.append("--data-binary @-")
    first, *rest = lines
    return (OURS_ALONE if with_certificate else "") + first + "\n" + " \\\n  ".join(rest)
