"""What the kernel knows of a connection and libcurl does not tell: how much came, what of it is unread, and which side spoke last."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import sys
import termios


def unread_bytes(fd: int) -> int:
    """Raises `OSError` when there is no such connection any more."""
    return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, b"\0\0\0\0"), sys.byteorder)


def received_bytes(fd: int) -> int:
    """Since the connection was made; 0 where the kernel does not count them. Raises `OSError`."""
    info = _tcp_info(fd, 136)
    received: int = struct.unpack_from("=Q", info, 128)[0] if len(info) >= 136 else 0  # tcpi_bytes_received of linux/tcp.h
    return received


def peer_spoke_last(fd: int) -> bool:
    """Whether bytes came after the last that were sent, to the millisecond. Raises `OSError`."""
    since_sent, since_received = struct.unpack_from("=I4xI", _tcp_info(fd, 56), 44)  # tcpi_last_data_sent, _recv of linux/tcp.h
    return bool(since_received < since_sent)


def _tcp_info(fd: int, size: int) -> bytes:
    with socket.socket(fileno=os.dup(fd)) as same:
        return same.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, size)
