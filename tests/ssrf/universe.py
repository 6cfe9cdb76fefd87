"""A universe of our own: a network namespace in which every address is local, so that a packet to any of them arrives, here.

Nothing leaves it and nothing outlives the process. Needs no installed tool: the kernel is asked directly. Works as root, and without
root where the kernel lets users make namespaces.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

NAMESERVER = "127.0.0.53"

_NEW_USER, _NEW_NET, _NEW_MOUNTS = 0x1000_0000, 0x4000_0000, 0x0002_0000
_BIND, _RECURSIVE, _PRIVATE = 0x1000, 0x4000, 0x4_0000
_ETH_P_ALL = 0x0003
_LOOPBACK_INDEX = 1


class Impossible(Exception):
    """This machine's kernel or container does not let us make a namespace."""


def enter() -> None:
    """Move this process (still single-threaded) into a new universe. Raises `Impossible` saying why."""
    user, group = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_NET | _NEW_MOUNTS) != 0:
        denied = ctypes.get_errno()
        if libc.unshare(_NEW_USER | _NEW_NET | _NEW_MOUNTS) != 0:
            own = ctypes.get_errno()
            raise Impossible(f"unshare(network): {os.strerror(denied)}; unshare(user + network): {os.strerror(own)}")
        try:
            _write("/proc/self/setgroups", "deny")
            _write("/proc/self/uid_map", f"0 {user} 1")
            _write("/proc/self/gid_map", f"0 {group} 1")
        except OSError as error:
            raise Impossible(f"mapping the user into the namespace: {error}") from None
    _raise_loopback()
    for family in (socket.AF_INET, socket.AF_INET6):
        _make_everything_local(family)


def use_nameserver(resolv_conf: str) -> None:
    """Put the file in the place of /etc/resolv.conf, for this process alone."""
    libc = ctypes.CDLL(None, use_errno=True)
    for source, target, flags in ((b"none", b"/", _RECURSIVE | _PRIVATE), (resolv_conf.encode(), b"/etc/resolv.conf", _BIND)):
        if libc.mount(source, target, None, flags, None) != 0:
            raise OSError(ctypes.get_errno(), f"mount {target.decode()}: {os.strerror(ctypes.get_errno())}")


@dataclass(frozen=True, slots=True, order=True)
class Packet:
    """The start of something: a TCP SYN, or a UDP datagram."""

    kind: str
    address: IPv4Address | IPv6Address
    port: int


class Watch:
    """Sees every packet in the universe, whether anyone listens there or not. The kernel hands it over before `send` returns."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        self._socket.bind(("lo", _ETH_P_ALL))
        self._socket.setblocking(False)

    def since_last_look(self) -> set[Packet]:
        """New connections and datagrams since the last call, talk with the name server left out."""
        seen = set()
        while True:
            try:
                raw = self._socket.recv(65535)
            except BlockingIOError:
                break
            packet = _start(raw)
            if packet is not None:
                seen.add(packet)
        drops = struct.unpack("II", self._socket.getsockopt(263, 6, 8))[1]  # SOL_PACKET, PACKET_STATISTICS: packets, drops
        if drops:  # a lost packet could be a lost violation
            raise RuntimeError(f"the watch missed {drops} packets; look more often")
        return seen


def _start(raw: bytes) -> Packet | None:
    if raw[0] >> 4 == 4:
        protocol, address, body = raw[9], ip_address(raw[16:20]), raw[(raw[0] & 15) * 4 :]
    elif raw[0] >> 4 == 6:
        protocol, address, body = raw[6], ip_address(raw[24:40]), raw[40:]
    else:
        return None
    source, port = struct.unpack_from("!HH", body) if len(body) >= 4 else (0, 0)
    if str(address) == NAMESERVER and port == 53:
        return None
    if protocol == socket.IPPROTO_TCP and body[13] & 0x12 == 0x02:  # SYN without ACK
        return Packet("tcp", address, port)
    if protocol == socket.IPPROTO_UDP and source != 53:
        return Packet("udp", address, port)
    return None


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        # SIOCSIFFLAGS with IFF_UP | IFF_RUNNING on "lo"
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 0x1 | 0x40))


def _make_everything_local(family: int) -> None:
    """`ip route add local default dev lo`, in the kernel's words (rtnetlink(7))."""
    # rtmsg: family, destination length 0, source length, tos, table local, protocol boot, scope host, type local, flags
    route = struct.pack("BBBBBBBBI", family, 0, 0, 0, 255, 3, 254, 2, 0)
    interface = struct.pack("HHI", 8, 4, _LOOPBACK_INDEX)  # RTA_OIF
    body = route + interface
    # RTM_NEWROUTE with REQUEST | ACK | EXCL | CREATE
    message = struct.pack("IHHII", 16 + len(body), 24, 0x1 | 0x4 | 0x200 | 0x400, 1, 0) + body
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as kernel:
        kernel.send(message)
        answer = kernel.recv(4096)
    failed = -struct.unpack_from("i", answer, 16)[0]
    if failed and failed != errno.EEXIST:
        raise OSError(failed, f"route: {os.strerror(failed)}")
