"""Receivers that misbehave, on real sockets of 127.0.0.1: each is a function that is given the accepted connection."""

from __future__ import annotations

import contextlib
import itertools
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PATIENCE = 20.0  # seconds after which a forgotten peer lets go


class Peer:
    """One accepted connection, as the receiver sees it."""

    def __init__(self, conn: socket.socket, number: int, server: Hostile) -> None:
        self.conn = conn
        self.number = number  # of this connection, from 1
        self.server = server

    def request(self) -> bytes:
        """The next whole request (head and body), or b"" when the sender hung up."""
        data = b""
        while b"\r\n\r\n" not in data:
            more = self.conn.recv(65536)
            if not more:
                return b""
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        while len(body) < length:
            more = self.conn.recv(65536)
            if not more:
                return b""
            body += more
        self.server.requests.append(head + b"\r\n\r\n" + body)
        self.server.heard.release()
        return self.server.requests[-1]

    def send(self, data: bytes) -> None:
        self.conn.sendall(data)
        self.server.sent += len(data)

    def flood(self, chunk: bytes) -> None:
        """For as long as the sender takes it."""
        while not self.server.stopped.is_set():
            self.send(chunk)

    def drip(self, data: bytes, every: float = 0.05) -> None:
        for byte in itertools.cycle(data):
            self.send(bytes([byte]))
            if self.server.stopped.wait(every):
                return

    def hang(self) -> None:
        """Until the sender hangs up or the test is over."""
        with contextlib.suppress(OSError):
            while not self.server.stopped.is_set() and self.conn.recv(65536):
                pass

    def reset(self) -> None:
        """RST instead of FIN."""
        self.conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.server.let_go(self.number, self.conn)


Behaviour = Callable[[Peer], None]


class Hostile:
    """A listening socket whose every connection is given to `behaviour` on a thread of its own."""

    def __init__(self, behaviour: Behaviour, address: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.behaviour = behaviour
        self.tls = tls
        self.requests: list[bytes] = []
        self.connections = 0
        self.sent = 0
        self.errors: list[str] = []
        self.stopped = threading.Event()
        self.hung_up = threading.Semaphore(0)  # released when the behaviour of one connection is over
        self.heard = threading.Semaphore(0)  # released for each whole request
        # Each connection belongs to its thread, which alone closes it. Closed from elsewhere, its descriptor could be another's by the
        # time the thread reads it. What the server may do meanwhile is to shut it down, and never while it changes hands.
        self._open: dict[int, socket.socket] = {}
        self._changing = threading.Lock()
        self._threads: list[threading.Thread] = []
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.create_server((address, port), family=family, backlog=256)
        self.address = address
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def url(self, path: str = "/hook", host: str = "") -> str:
        host = host or (f"[{self.address}]" if ":" in self.address else self.address)
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{path}"

    def _accept(self) -> None:
        while True:
            try:
                conn, _ = self._listener.accept()
            except OSError:
                return
            conn.settimeout(PATIENCE)
            self.connections += 1
            self._open[self.connections] = conn
            thread = threading.Thread(target=self._serve, args=(conn, self.connections), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, conn: socket.socket, number: int) -> None:
        try:
            if self.tls is not None:
                conn = self._shake_hands(self.tls, conn, number)
            self.behaviour(Peer(conn, number, self))
        except (OSError, ssl.SSLError) as error:
            self.errors.append(str(error))  # the sender hung up, which is what most of these tests want
        finally:
            self.let_go(number, conn)
            self.hung_up.release()

    def _shake_hands(self, context: ssl.SSLContext, conn: socket.socket, number: int) -> socket.socket:
        with self._changing:
            secured = context.wrap_socket(conn, server_side=True, do_handshake_on_connect=False)
            self._open[number] = secured
        try:
            secured.do_handshake()
        except ssl.SSLError:
            # The alert is out. To close now, with the request unread, would send a reset after it that may overtake it.
            with self._changing:
                plain = self._open[number] = socket.socket(fileno=secured.detach())
            try:
                plain.settimeout(PATIENCE)
                while plain.recv(65536):
                    pass
            finally:
                self.let_go(number, plain)
            raise
        except OSError:
            self.let_go(number, secured)
            raise
        return secured

    def let_go(self, number: int, conn: socket.socket) -> None:
        """Close a connection, on its own thread."""
        with self._changing:
            self._open.pop(number, None)
            conn.close()

    def close(self) -> None:
        self.stopped.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(PATIENCE)
        with self._changing:
            for conn in self._open.values():
                with contextlib.suppress(OSError):
                    # Below TLS: SSLSocket.shutdown would take the TLS object out of the hands of the thread that uses it.
                    socket.socket.shutdown(conn, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)


@contextlib.contextmanager
def hostile(behaviour: Behaviour, **options: object) -> Iterator[Hostile]:
    server = Hostile(behaviour, **options)  # type: ignore[arg-type]  # passed on as they are
    try:
        yield server
    finally:
        server.close()


def answers(*parts: bytes, read: bool = True) -> Behaviour:
    """Reads a request, sends the parts, closes."""

    def behave(peer: Peer) -> None:
        if read:
            peer.request()
        for part in parts:
            peer.send(part)
        # Close only after the sender did, or took everything: a close with unread input would reset what we sent.
        peer.conn.shutdown(socket.SHUT_WR)
        peer.hang()

    return behave


def keeps_alive(answer: bytes = OK) -> Behaviour:
    """Answers every request of a connection."""

    def behave(peer: Peer) -> None:
        while peer.request():
            peer.send(answer)

    return behave


def sends_then(*parts: bytes, then: Callable[[Peer], None]) -> Behaviour:
    """Reads a request, sends the parts, then does `then`."""

    def behave(peer: Peer) -> None:
        peer.request()
        for part in parts:
            peer.send(part)
        then(peer)

    return behave
