"""Receivers that send without end where libcurl tells us nothing: inside the header of a chunk. Found by what the kernel counted.

Without it, a few of them keep the event loop busy until their deadline: nothing that they send is header or body, so no cap is met.
"""

from __future__ import annotations

from gridhook.transport.kernel import received_bytes, unread_bytes
from gridhook.transport.transfer import Transfer

LONG_TURN = 0.02  # seconds after which a turn leaves the rest for the next, and looks for who took them
LOOK_SECONDS = 0.05  # between two looks while turns are short, and the age from which a request is looked at
FLOOD_BYTES = 1024 * 1024  # more than any answer within the caps takes on the wire, even in chunks of one byte


def is_flood(transfer: Transfer, fd: int) -> bool:
    """Whether libcurl has read more for this request than an answer may have. On a connection that served others before, the
    first look only remembers where the counter stood."""
    taken = _taken(fd)
    if transfer.taken_before is None:
        transfer.taken_before = 0 if transfer.opened else taken
    return taken - transfer.taken_before > FLOOD_BYTES


def _taken(fd: int) -> int:
    """Bytes that came on a connection, less those that nobody has read yet: an answer in the kernel's buffer is still to be heard."""
    try:
        return max(0, received_bytes(fd) - unread_bytes(fd))
    except OSError:
        return 0
