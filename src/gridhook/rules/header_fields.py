"""Reading a field out of a receiver's raw header section: tolerant, and never more than was asked for. Pure."""

from __future__ import annotations


def first(headers: bytes, name: str) -> bytes | None:
    """The value of the first field of this name, without surrounding white space; None when there is none.

    headers: lines `Name: value`, ended by CRLF or LF. Lines without a colon (a status line, garbage) and folded
    continuation lines are passed over. First wins: what a proxy appended later does not replace the receiver's own.
    """
    wanted = name.lower().encode()
    for line in headers.split(b"\n"):
        found, colon, value = line.partition(b":")
        if colon and found.lower() == wanted:
            return value.strip()
    return None


def printable(data: bytes, limit: int) -> str:
    """A receiver's bytes as text that is safe anywhere: printable ASCII stays, all else becomes `\\xNN`; cut after `limit` bytes."""
    text = "".join(chr(byte) if 0x20 <= byte < 0x7F and byte != 0x5C else f"\\x{byte:02x}" for byte in data[:limit])
    return text + "..." if len(data) > limit else text
