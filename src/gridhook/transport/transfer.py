"""One libcurl easy handle: set up for a request, its callbacks, and what it knows of the exchange afterwards."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from ipaddress import ip_address

import pycurl

from gridhook.model import Answered, Exchange, Outcome, Phase, Reason, Timings, Unreachable
from gridhook.rules.addresses import Target
from gridhook.transport import faults
from gridhook.transport.sessions import Sessions
from gridhook.transport.tls import Heard
from gridhook.transport.wire import Address, Done, Identity, Limits, Outgoing

Permits = Callable[[Address, Target], bool]

FENCE_SECONDS = 1.0  # libcurl's own limits lie this far behind ours, which decide
EPOCH_MICROS = 1_000_000
TOLD = (b"  subject: ", b"  issuer: ", b"  start date: ", b"  expire date: ")  # libcurl's words for the receiver's certificate
AFTER_STATUS = (b" ", b"\r", b"\n", b"")  # what may stand behind the three digits
SEND_BUFFER_BYTES = 16 * 1024  # libcurl's 64 KiB would stay with every idle handle
CERTIFICATE_REQUEST = 13  # HandshakeType, RFC 8446 s4
APPLICATION_DATA = 23  # ContentType, RFC 8446 s5.1
ANSWERS: dict[str | None, int] = {"TLSv1.2": 5, "TLSv1.3": 1}  # how much libcurl shows of a record: its header, or what is inside


class Job:
    """One submitted request: what to send, to which vetted addresses, and since when. Instants are `time.monotonic`."""

    __slots__ = ("addresses", "dns_us", "done", "outgoing", "reconnects", "submitted", "tried")

    def __init__(self, outgoing: Outgoing, done: Done, submitted: float) -> None:
        self.outgoing = outgoing
        self.done = done
        self.submitted = submitted
        self.addresses: tuple[str, ...] = ()
        self.dns_us: int | None = None
        self.tried = 0
        self.reconnects = 0

    def total_us(self, now: float) -> int:
        return int((now - self.submitted) * EPOCH_MICROS)


class _Lent(socket.socket):
    """A socket that pycurl duplicates for libcurl: ours closes as soon as pycurl lets go of it."""

    def __del__(self) -> None:
        self.close()


class Serving:
    """What the loop and its transfers share: about the descriptor that is served at this moment, and how many there were."""

    __slots__ = ("opened", "spoke")

    def __init__(self) -> None:
        self.spoke = False  # bytes came on it since its request was begun
        self.opened = 0  # sockets, by all transfers


class Transfer:
    """An easy handle and the state of the request that it carries. Reused: `load` sets only the options that differ."""

    __slots__ = (
        "address",
        "alert",
        "asked",
        "began",
        "body",
        "body_bytes",
        "connection",
        "curl",
        "deadline",
        "fault",
        "final",
        "fresh",
        "getinfo",
        "handshake",
        "header_bytes",
        "headers",
        "hello",
        "identity",
        "idle_since",
        "in_section",
        "interims",
        "job",
        "kept_limit",
        "limits",
        "lines",
        "most_header_bytes",
        "on_deadline",
        "opened",
        "opened_before",
        "peer",
        "permits",
        "port",
        "prereqs",
        "read_limit",
        "refused",
        "serving",
        "sessions",
        "setopt",
        "share",
        "stale_again",
        "status",
        "taken_before",
        "told",
        "total_deadline",
        "url",
        "versions",
    )

    def __init__(
        self,
        ca_file: str,
        idle_seconds: int,
        life_seconds: int,
        permits: Permits,
        versions: dict[str, str],
        serving: Serving,
        sessions: Sessions,
        on_deadline: Callable[[float], None],
    ) -> None:
        """on_deadline: told when a request's deadline moves nearer."""
        self.permits = permits
        self.on_deadline = on_deadline
        self.serving = serving
        self.sessions = sessions
        self.versions = versions  # TLS version by connection, shared by all transfers of the loop
        self.url = ""
        self.address = ""  # that it is pinned to
        self.port = 0
        self.headers: tuple[tuple[str, str], ...] | None = None
        self.limits: Limits | None = None
        self.identity: Identity | None = None
        self.share: pycurl.CurlShare | None = None
        self.idle_since = 0.0  # on the monotonic clock
        self.fresh = False
        self.curl = pycurl.Curl()
        # Looked up once: pycurl searches its tables at each access to an attribute.
        self.setopt, self.getinfo = self.curl.setopt, self.curl.getinfo
        self.curl.transfer = self
        self._set_constants(ca_file, idle_seconds, life_seconds)
        self.release()

    def _set_constants(self, ca_file: str, idle_seconds: int, life_seconds: int) -> None:
        set_ = self.curl.setopt
        set_(pycurl.POST, 1)
        set_(pycurl.NOSIGNAL, 1)
        set_(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)  # no h2: no rapid reset, no HPACK bombs
        set_(pycurl.HTTP09_ALLOWED, 0)
        set_(pycurl.FOLLOWLOCATION, 0)
        set_(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        set_(pycurl.PATH_AS_IS, 1)  # the path was normalised once, by our parser
        set_(pycurl.PROXY, "")  # the environment must not route us round the guard
        set_(pycurl.NOPROXY, "*")
        set_(pycurl.NETRC, pycurl.NETRC_IGNORED)
        set_(pycurl.USERAGENT, "")
        set_(pycurl.HTTP_CONTENT_DECODING, 0)  # a gzip bomb stays the 400 kB that it is on the wire
        set_(pycurl.UPLOAD_BUFFERSIZE, SEND_BUFFER_BYTES)
        set_(pycurl.SSLVERSION, pycurl.SSLVERSION_TLSv1_2)
        set_(pycurl.SSL_VERIFYPEER, 1)
        set_(pycurl.SSL_VERIFYHOST, 2)
        set_(pycurl.CAINFO, ca_file)
        self.curl.unsetopt(pycurl.CAPATH)  # else the system's directory would widen an operator's own CA file
        set_(pycurl.MAXAGE_CONN, idle_seconds)
        set_(pycurl.MAXLIFETIME_CONN, life_seconds)
        set_(pycurl.HEADERFUNCTION, self._on_header)
        set_(pycurl.WRITEFUNCTION, self._on_body)
        set_(pycurl.OPENSOCKETFUNCTION, self._on_open_socket)
        set_(pycurl.PREREQFUNCTION, self._on_connected)

    def release(self) -> None:
        """Forget the request; the options stay for the next one to the same target."""
        self.job: Job | None = None
        self.fault: str | None = None
        self.refused: str | None = None
        self.peer: str | None = None
        self.connection = ""
        self.prereqs = 0
        self.opened = 0
        self.opened_before = 0
        self.taken_before: int | None = None  # what its connection had brought when a flood was first looked for
        self.stale_again = False
        self.lines: list[bytes] = []
        self.header_bytes = 0
        self.in_section = False
        self.interims = 0
        self.status = 0
        self.final = False
        self.body: list[bytes] = []
        self.body_bytes = 0
        self.hello = False  # the TLS handshake has begun, thus TCP stands
        self.handshake: str | None = None
        self.asked = False  # the handshake asked for a client certificate, and no byte of an answer came since
        self.alert: int | None = None
        self.told: tuple[tuple[str, str], ...] = ()  # of the receiver's certificate
        self.deadline = 0.0
        self.total_deadline = 0.0

    # ------------------------------------------------------------------ set up

    def load(self, job: Job, now: float) -> None:
        """Point the handle at the job's next address. Raises what a malformed header makes pycurl raise: a defect of the caller's."""
        outgoing = job.outgoing
        target = outgoing.target
        limits = outgoing.limits
        self.job = job
        self.began = now
        self.total_deadline = job.submitted + limits.total_seconds
        connect_deadline = min(job.submitted + limits.connect_seconds, self.total_deadline)
        left = len(job.addresses) - job.tried
        # Several addresses share what is left of the connect budget, so that one that swallows packets leaves time for the next.
        self.deadline = connect_deadline if left == 1 else now + (connect_deadline - now) / left
        identity = outgoing.identity
        stranger = identity is not None and self.identity != identity
        set_ = self.setopt
        if self.url != target.url or stranger:
            is_tls = target.scheme == "https"
            set_(pycurl.VERBOSE, is_tls)
            if is_tls:
                set_(pycurl.DEBUGFUNCTION, self._on_debug)
                self._use_sessions(self.sessions.of(None if identity is None else identity.id, target.authority))
            set_(pycurl.URL, target.url)
            self.url = target.url
        address = job.addresses[job.tried]
        if self.address != address or self.port != target.port:
            # An empty left side matches whatever libcurl parsed; the pinned address becomes part of the connection pool's key, while
            # SNI, Host and the certificate check stay with the name.
            set_(pycurl.CONNECT_TO, [f"::[{address}]:{target.port}" if ":" in address else f"::{address}:{target.port}"])
            self.address, self.port = address, target.port
        if self.headers != outgoing.headers:
            set_(pycurl.HTTPHEADER, _header_lines(outgoing.headers))
            self.headers = outgoing.headers
        if self.limits is not limits:
            set_(pycurl.CONNECTTIMEOUT_MS, int((limits.connect_seconds + FENCE_SECONDS) * 1000))
            set_(pycurl.TIMEOUT_MS, int((limits.total_seconds + FENCE_SECONDS) * 1000))
            self.limits = limits
            self.most_header_bytes = limits.header_bytes
            self.kept_limit = limits.body_kept_bytes
            self.read_limit = limits.body_read_bytes
        if identity is not None and stranger:
            # The name is no file's, the blob goes before it; but sessions of blobs without a name are stored and never found again.
            set_(pycurl.SSLCERT, identity.id)
            set_(pycurl.SSLCERT_BLOB, identity.certificate)
            set_(pycurl.SSLKEY_BLOB, identity.private_key)
            self.identity = identity
        if self.fresh != bool(job.reconnects):
            self.fresh = bool(job.reconnects)
            set_(pycurl.FRESH_CONNECT, self.fresh)
        set_(pycurl.POSTFIELDS, outgoing.body)

    def _use_sessions(self, sessions: pycurl.CurlShare) -> None:
        if self.share is not sessions:
            if self.share is not None:
                self.curl.unsetopt(pycurl.SHARE)  # else pycurl refuses another
            self.curl.setopt(pycurl.SHARE, sessions)
            self.share = sessions

    # --------------------------------------------------------------- callbacks

    def _on_open_socket(self, purpose: int, address: tuple[int, int, int, tuple[str, int]]) -> socket.socket | int:
        """The last code before a SYN: nothing but a vetted address gets a socket."""
        family, kind, protocol, (host, port, *_) = address
        if host != self.address or not self._permitted(host):
            self.refused = host
            return int(pycurl.SOCKET_BAD)
        if self.prereqs and self._was_answered():
            return int(pycurl.SOCKET_BAD)
        self.opened += 1
        self.serving.opened += 1
        self.peer = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return _Lent(family, kind, protocol)

    def _on_connected(self, peer_ip: str, local_ip: str, peer_port: int, local_port: int) -> int:
        """The last code before the first byte of a request. Counts how often it is about to be sent."""
        if peer_ip != self.address and not self._permitted(peer_ip):
            self.refused = peer_ip
            return int(pycurl.PREREQFUNC_ABORT)
        job = self.job
        assert job is not None
        self.prereqs += 1
        if self.prereqs > 1:
            # libcurl found the reused connection dead before an answer byte and tries again (RFC 9110 s9.2.2 allows it here: the event
            # id makes the POST idempotent). Once, and only over a new connection: another pooled one may be as dead.
            if self.prereqs > 2 or job.reconnects:
                return int(pycurl.PREREQFUNC_ABORT)
            if self._was_answered():
                return int(pycurl.PREREQFUNC_ABORT)
            job.reconnects = 1
            if self.opened == self.opened_before:
                self.stale_again = True
                return int(pycurl.PREREQFUNC_ABORT)
        self.opened_before = self.opened
        self.peer = f"[{peer_ip}]:{peer_port}" if ":" in peer_ip else f"{peer_ip}:{peer_port}"
        read_seconds = job.outgoing.limits.read_seconds
        self.deadline = self.total_deadline
        if read_seconds is not None:
            self.deadline = min(self.total_deadline, time.monotonic() + read_seconds)
            self.on_deadline(self.deadline)
        if job.outgoing.target.scheme == "https":
            self.connection = f"{local_ip}:{local_port}>{self.peer}"
            if self.handshake is not None:
                self.versions[self.connection] = self.handshake
        return int(pycurl.PREREQFUNC_OK)

    def _was_answered(self) -> bool:
        """Whether libcurl is about to repeat a request that the receiver had begun to answer.

        Over TLS the bytes may be a mere close_notify; there libcurl's own count has to do, which begins with the first whole line.
        """
        if not self.serving.spoke or self.url.startswith("https:"):
            return False
        self.fault = faults.BROKEN_OFF
        return True

    def _permitted(self, text: str) -> bool:
        job = self.job
        assert job is not None
        try:
            return self.permits(ip_address(text), job.outgoing.target)
        except ValueError:
            return False

    def _on_debug(self, kind: int, text: bytes) -> None:
        if kind == pycurl.INFOTYPE_SSL_DATA_OUT:
            self.hello = True
        elif kind == pycurl.INFOTYPE_SSL_DATA_IN:
            # Record headers (5 bytes), content types (1), whole handshake messages (4 and more) and alerts: level and description.
            if len(text) == 2:
                self.alert = text[1]
            elif text[0] == CERTIFICATE_REQUEST and len(text) > 5:
                self.asked = True
            elif self.asked and text[0] == APPLICATION_DATA and len(text) == ANSWERS.get(self.handshake):
                self.asked = False  # and it was content with what it got, for it answers
        elif kind == pycurl.INFOTYPE_TEXT:
            if text.startswith(b"SSL connection using "):
                self.handshake = text[21:].split(b" ", 1)[0].decode("ascii", "replace")[:16]
            elif text.startswith(TOLD):
                word, _, said = text.decode("utf-8", "replace").strip().partition(": ")
                self.told = (*self.told, (word, said))

    def _on_header(self, line: bytes) -> int | None:
        """One line of a header section, final or not, or of the trailers. A return of 0 makes libcurl close the connection."""
        self.header_bytes += len(line)
        if self.header_bytes > self.most_header_bytes:
            return self._stop(faults.TRAILERS_TOO_LARGE if self.final else faults.HEADERS_TOO_LARGE)
        if self.final:
            return None
        if not self.in_section:
            self.in_section = True
            # libcurl takes the first three of any number of digits.
            if not line[9:12].isdigit() or line[12:13] not in AFTER_STATUS:
                return self._stop(faults.BAD_STATUS_LINE)
            self.status = int(line[9:12])
            return None
        if line == b"\r\n" or line == b"\n":
            return self._end_section()
        self.lines.append(line)
        return None

    def _end_section(self) -> int | None:
        self.in_section = False
        assert self.job is not None
        limits = self.job.outgoing.limits
        if len(self.lines) > limits.header_fields:
            return self._stop(faults.TOO_MANY_FIELDS)
        if self.status < 100:
            return self._stop(faults.BAD_STATUS_LINE)
        if self.status < 200 and self.status != 101:
            # "A client MUST be able to parse one or more 1xx responses received prior to a final response" RFC 9110 s15.2; not a flood.
            self.interims += 1
            self.lines.clear()
            return self._stop(faults.TOO_MANY_INTERIM) if self.interims > limits.interim_answers else None
        self.final = True
        # Nobody asked for another protocol: the answer is recorded, the connection is of no further use.
        return self._stop(faults.SWITCHING) if self.status == 101 else None

    def _on_body(self, chunk: bytes) -> int | None:
        if self.body_bytes < self.kept_limit:
            self.body.append(chunk[: self.kept_limit - self.body_bytes])
        self.body_bytes += len(chunk)
        return self._stop(faults.BODY_CAP) if self.body_bytes > self.read_limit else None

    def _stop(self, fault: str) -> int:
        self.fault = fault
        return 0

    # ----------------------------------------------------------------- results

    def phase(self) -> Phase:
        """How far it came, from what libcurl counted."""
        job = self.job
        assert job is not None
        if self.final:
            return Phase.BODY
        if self.prereqs:
            sent = self.curl.getinfo(pycurl.SIZE_UPLOAD_T)
            return Phase.HEADERS if self.header_bytes or sent >= len(job.outgoing.body) else Phase.REQUEST
        return Phase.TLS if self.hello else Phase.CONNECT

    def may_try_next(self, code: int) -> bool:
        """The address could not be connected, nothing was sent, and another vetted one is left."""
        job = self.job
        assert job is not None
        return (
            code in (pycurl.E_COULDNT_CONNECT, faults.DEADLINE)
            and not self.prereqs
            and self.refused is None
            and job.tried + 1 < len(job.addresses)
            and self.phase() is Phase.CONNECT
        )

    def exchange(self, now: float) -> Exchange:
        job = self.job
        assert job is not None
        connect_us = tls_us = first_us = None
        getinfo = self.getinfo
        if self.opened:
            connected = getinfo(pycurl.CONNECT_TIME_T)
            if connected:
                connect_us = connected - getinfo(pycurl.NAMELOOKUP_TIME_T)
                secured = getinfo(pycurl.APPCONNECT_TIME_T)
                tls_us = secured - connected if secured else None
        if self.header_bytes:
            first_us = job.total_us(self.began) + getinfo(pycurl.STARTTRANSFER_TIME_T)
        version = (self.versions.get(self.connection) or self.handshake) if self.connection else self.handshake
        return Exchange(Timings(job.dns_us, connect_us, tls_us, first_us, job.total_us(now)), self.peer, version, job.reconnects)

    def outcome(self, code: int, text: str, now: float) -> Outcome:
        """What came of it. code: libcurl's (0: complete) or one of `faults`' own."""
        exchange = self.exchange(now)
        if self.final:
            body_error = None
            if code:
                body_error = faults.body_error(self.fault, code, text)
            body = b"".join(self.body)
            return Answered(self.status, b"".join(self.lines), body, self.body_bytes > len(body), body_error, exchange)
        job = self.job
        assert job is not None
        if self.refused is not None:
            detail = f"the connection would have gone to {self.refused}, which was not vetted; nothing was sent"
            return Unreachable(Reason.ADDRESS_REFUSED, detail, Phase.CONNECT, exchange)
        phase = self.phase()
        if self.fault is not None:
            reason, detail = faults.of_ours(self.fault, job.outgoing.limits)
        else:
            reason, detail = faults.of_libcurl(
                code,
                text,
                phase,
                host=job.outgoing.target.host,
                os_errno=self.curl.getinfo(pycurl.OS_ERRNO),
                verify=self.curl.getinfo(pycurl.SSL_VERIFYRESULT),
                heard=Heard(self.identity is not None, self.asked, self.alert, self.told),
                unsent=phase is Phase.REQUEST and not self.curl.getinfo(pycurl.SIZE_UPLOAD_T),
            )
        return Unreachable(reason, detail, phase, exchange)


def _header_lines(headers: tuple[tuple[str, str], ...]) -> list[str]:
    """libcurl's spelling: `Name;` sends an empty value; `Name:` alone removes libcurl's own."""
    lines = ["Accept-Encoding: identity", "Expect:", "Accept:"]
    if not any(name.lower() == "content-type" for name, _ in headers):
        lines.append("Content-Type:")  # else libcurl claims a form
    for name, value in headers:
        if "\r" in value or "\n" in value or "\0" in value or "\r" in name or "\n" in name:
            raise ValueError("a header holds a line break")
        lines.append(f"{name}: {value}" if value else f"{name};")
    return lines
