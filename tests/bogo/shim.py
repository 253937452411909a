"""Lets BoringSSL's conformance runner drive a DTLSConnection.

The runner speaks over TCP in frames that carry datagrams and its commands about clock, MTU and
timers; the connection lives on the runner's clock. See deviations.md for where to find the rest.
"""

from __future__ import annotations

import dataclasses
import functools
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from struct import Struct

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from aiodtls.core.config import PSK, DTLSConfig
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.crypto.certificates import Role, load_pem, refusal
from aiodtls.core.crypto.credentials import Credentials
from aiodtls.core.crypto.trust import Trust
from aiodtls.core.errors import ConfigError, EndpointClosed
from aiodtls.core.events import CertificateReceived, FlightSent, SessionReceived, SignatureRequested
from aiodtls.core.registry import (
    AlertDescription,
    AlertLevel,
    CertificateType,
    KeyUpdateRequest,
    NamedGroup,
    ProtocolVersion,
    SignatureScheme,
)
from aiodtls.core.sessions import MemorySessionStore, Session, TicketKeys
from tests.bogo import policies
from tests.bogo.expectations import Failed, check_handshake, parse_timestamps
from tests.bogo.flags import CredentialFlags, Flags, Unimplemented, parse
from tests.bogo.names import name_of

policies.install()

U32 = Struct("!I")
U64 = Struct("!Q")
NO_TIMER = (1 << 64) - 1
NANOSECONDS = 10**9
# What DTLSConfig takes off the PMTU for an IPv6 and a UDP header.
HEADERS = 48
INITIAL_WRITE = b"hello"
DECOMPRESSION_FAILURE = 30
SRTP_NAMES = {
    "SRTP_AES128_CM_SHA1_80": "SRTP_AES128_CM_HMAC_SHA1_80",
    "SRTP_AES128_CM_SHA1_32": "SRTP_AES128_CM_HMAC_SHA1_32",
    "SRTP_AEAD_AES_128_GCM": "SRTP_AEAD_AES_128_GCM",
    "SRTP_AEAD_AES_256_GCM": "SRTP_AEAD_AES_256_GCM",
}


@dataclass(frozen=True, slots=True)
class ServerState:
    """What the connections of one server share."""

    ticket_keys: TicketKeys
    session_store: MemorySessionStore


def run_test(arguments: list[str]) -> None:
    """One invocation of the shim. Raises :class:`Failed` or :class:`Unimplemented`."""
    first = parse(arguments, "on-initial-")
    server = ServerState(TicketKeys(), MemorySessionStore())
    session = None
    for connection in range(1 + first.numbers.get("resume-count", 0)):
        flags = parse(arguments, "on-resume-") if connection else first
        flags.is_resumption = connection > 0
        with connect(flags) as stream:
            exchange = Exchange(stream, flags, server, session)
            exchange.run()
        session = exchange.session or session


def connect(flags: Flags) -> socket.socket:
    host = "::1" if "ipv6" in flags else "127.0.0.1"
    stream = socket.create_connection((host, flags.numbers["port"]))
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream.sendall(flags.numbers["shim-id"].to_bytes(8, "little"))
    return stream


# -- configuration ------------------------------------------------------------------------------


class ObservedCredentials(Credentials):
    """Credentials with a preference among their schemes, and that know when they were used."""

    __slots__ = ("index", "preferences", "used")

    def schemes(self, version: ProtocolVersion) -> tuple[SignatureScheme, ...]:
        own = Credentials.schemes(self, version)
        if not self.preferences:
            return own
        return tuple(scheme for scheme in self.preferences if scheme in own)

    def sign(self, scheme: SignatureScheme, data: bytes) -> bytes:
        self.used.append(self.index)
        return Credentials.sign(self, scheme, data)


class ApplicationTrust(Trust):
    """Refuses with the alert that the runner expects of BoringSSL's callbacks, or accepts."""

    __slots__ = ("_refusal",)

    def __init__(self, refusal: AlertDescription | None) -> None:
        self._refusal = refusal

    def check(self, chain: object, *, peer_role: Role, server_hostname: str | None) -> None:
        if self._refusal is not None:
            message = f"the application refuses: {self._refusal.name}"
            raise refusal(self._refusal, message)


@functools.cache
def load_credentials(cert_file: str, key_file: str) -> tuple[object, list[x509.Certificate]]:
    # Checking the runner's RSA key costs as much as a hundred tests.
    key = load_pem_private_key(
        Path(key_file).read_bytes(), None, unsafe_skip_rsa_key_validation=True
    )
    return key, load_pem(cert_file) if cert_file else []


def usable_credentials(flags: Flags) -> list[CredentialFlags]:
    """Those of the types that a client is told to offer, or all."""
    shown = [item for item in flags.credentials if not item.psk]
    types = flags.lists.get("available-client-cert-types", list(CertificateType))
    kinds = {True: CertificateType.RawPublicKey, False: CertificateType.X509}
    return [item for item in shown if kinds[item.is_raw] in types]


def no_response() -> bytes:
    raise OSError("no response can be had")


def make_credentials(
    flags: CredentialFlags, used: list[int], *, slow: bool, fails: bool
) -> Credentials:
    """With ``slow`` the key is elsewhere, and the exchange is asked for signatures.

    With ``fails`` no OCSP response can be had.
    """
    key, chain = load_credentials(flags.cert_file, flags.key_file or flags.cert_file)
    try:
        if flags.is_raw:
            credentials = ObservedCredentials.raw_public_key(key)  # type: ignore[arg-type]
        else:
            credentials = ObservedCredentials.from_objects(key, chain)  # type: ignore[arg-type]
    except ConfigError as error:
        raise Unimplemented(str(error)) from None
    timestamps = parse_timestamps(flags.staples.get("signed-cert-timestamps", b""))
    if slow:
        fast = credentials
        known_names = {scheme.name: scheme for scheme in SignatureScheme}
        credentials = ObservedCredentials.from_signer(
            chain, lambda name, data: Credentials.sign(fast, known_names[name], data)
        )
    response = flags.staples.get("ocsp-response", b"")
    credentials = credentials.stapled(
        ocsp_response=no_response if fails else response, certificate_timestamps=timestamps
    )
    if flags.needs_named_issuer:
        credentials = credentials.for_named_issuers()
    known = {int(scheme) for scheme in SignatureScheme}
    wanted = [SignatureScheme(s) for s in flags.signing_prefs if s in known]
    if flags.signing_prefs and not wanted:
        raise Unimplemented("-signing-prefs")
    for name, value in (("index", flags.index), ("preferences", wanted), ("used", used)):
        object.__setattr__(credentials, name, value)
    return credentials


def imported_psks(flags: Flags) -> dict[bytes, PSK]:
    """By identity, in the order of the flags."""
    psks = {}
    for item in flags.credentials:
        if item.psk:
            identity, key, context = (item.psk[name] for name in ("identity", "key", "context"))
            psks[identity] = PSK.imported(identity, key, context=context, hash=item.psk_hash)
    return psks


def make_trust(flags: Flags) -> Trust:
    """A failed verification counts only where the shim was told to verify."""
    enforced = bool({"verify-peer", "require-any-client-certificate"} & flags.switches)
    if flags.is_resumption and "reverify-on-resume" not in flags:
        enforced = False
    fails = "verify-fail" in flags and enforced
    if "use-custom-verify-callback" in flags:
        return Trust.from_function(lambda chain: not fails)
    if "fail-ocsp-callback" in flags:
        return ApplicationTrust(AlertDescription.bad_certificate_status_response)
    return ApplicationTrust(AlertDescription.handshake_failure if fails else None)


def make_config(flags: Flags, server: ServerState, used: list[int]) -> DTLSConfig:
    """``used`` collects the index of the credential that signs."""
    config = DTLSConfig(
        versions=flags.versions,
        credentials=[
            make_credentials(
                item,
                used,
                slow="private-key-delay-ms" in flags.numbers,
                fails="fail-ocsp-callback" in flags and flags.is_server,
            )
            for item in usable_credentials(flags)
        ],
        request_ocsp_response="enable-ocsp-stapling" in flags,
        request_certificate_timestamps="enable-signed-cert-timestamps" in flags,
        trust=make_trust(flags),
        client_auth=client_auth(flags),
        anonymous_fallback=False,
        retransmit_initial=flags.numbers.get("initial-timeout-duration-ms", 400) / 1000,
        retransmit_max=60,
        max_retransmits=12,
        handshake_timeout=None,
        resend_after_partial_flight=True,
        require_extended_master_secret=False,
        pmtu=flags.numbers.get("mtu", 1472) + HEADERS,
        groups=names(NamedGroup, flags.lists.get("curves")),
        signature_schemes=names(SignatureScheme, flags.lists.get("verify-prefs")),
        alpn_protocols=alpn_protocols(flags),
        srtp_profiles=srtp_profiles(flags),
        replay_window=256,
        session_tickets=0 if {"no-ticket", "skip-ticket"} & flags.switches else 2,
        max_burst=policies.NEVER,
        ticket_keys=server.ticket_keys,
        session_store=server.session_store,
    )
    psks = imported_psks(flags)
    if psks:
        # A client that need not look at certificates speaks DTLS 1.2 to nobody.
        is_alone = not (flags.is_server or "verify-peer" in flags)
        versions = ["1.3"] if is_alone or len(psks) > 1 else flags.versions
        trust = None if is_alone else config.trust
        return dataclasses.replace(config, psk=psks, trust=trust, versions=versions)
    if "psk" not in flags.texts:
        return config
    identity = flags.texts.get("psk-identity", "")
    return dataclasses.replace(
        config,
        psk=PSK(identity, flags.texts["psk"].encode()),
        psk_identity_hint=identity,
    )


def client_auth(flags: Flags) -> str:
    if "require-any-client-certificate" in flags:
        return "required"
    return "optional" if "verify-peer" in flags else "none"


def names(kind: type, codes: list[int] | None) -> list[str] | None:
    if codes is None:
        return None
    try:
        return [kind(code).name for code in codes]
    except ValueError as error:
        raise Unimplemented(str(error)) from None


def alpn_protocols(flags: Flags) -> list[str] | Callable[[tuple[str, ...]], str | None]:
    if not flags.is_server:
        return unpacked(flags.texts.get("advertise-alpn", ""))

    def choose(offered: tuple[str, ...]) -> str | None:
        expected = flags.texts.get("expect-advertised-alpn")
        if expected is not None and list(offered) != unpacked(expected):
            raise Failed(f"the client offers {offered}")
        if "reject-alpn" in flags:
            raise LookupError(offered)
        if "select-empty-alpn" in flags:
            return ""
        return flags.texts.get("select-alpn")

    return choose


def unpacked(packed: str) -> list[str]:
    protocols = []
    while packed:
        length = ord(packed[0])
        protocols.append(packed[1 : 1 + length])
        packed = packed[1 + length :]
    return protocols


def srtp_profiles(flags: Flags) -> list[str]:
    listed = flags.texts.get("srtp-profiles", "")
    return [SRTP_NAMES[name] for name in listed.split(":")] if listed else []


# -- one connection -----------------------------------------------------------------------------


class Exchange:
    """One connection with the runner, on the runner's clock."""

    def __init__(
        self, stream: socket.socket, flags: Flags, server: ServerState, session: Session | None
    ) -> None:
        self.stream = stream
        self.input = stream.makefile("rb")
        self.flags = flags
        self.clock = 0
        self.used: list[int] = []
        self.greeted = False
        # The newest that the server gave us.
        self.session: Session | None = None
        # Flights sent for the first time, as the names of their messages.
        self.flights: list[tuple[str, ...]] = []
        try:
            config = make_config(flags, server, self.used)
        except ConfigError as error:
            raise Failed(name_of(error)) from None
        if flags.is_server:
            self.connection = DTLSConnection.server(config, None, self.now)
        else:
            # Trust in this shim looks at no name; the flag decides what is asked for.
            hostname = flags.texts.get("host-name")
            self.connection = DTLSConnection.client(
                config, None, self.now, server_hostname=hostname, session=session
            )

    @property
    def now(self) -> float:
        return self.clock / NANOSECONDS

    def run(self) -> None:
        """Until the runner's close_notify. Raises :class:`Failed`."""
        try:
            self.drain()
            while not self.connection.closed and self.take_frame():
                self.drain()
        except ConnectionError:
            # The runner has seen enough; what it thinks of it, it says itself.
            raise Failed("the runner hung up") from None
        finally:
            self.finish()
        self.check_end()

    def take_frame(self) -> bool:
        """Does what the next frame says; False at the end of the stream."""
        opcode = self.input.read(1)
        if opcode == b"P":
            (length,) = U32.unpack(self.input.read(4))
            self.connection.receive_datagram(self.input.read(length), None, self.now)
        elif opcode == b"T":
            (nanoseconds,) = U64.unpack(self.input.read(8))
            self.stream.sendall(b"t")
            self.clock += nanoseconds
            self.fire_timers()
        elif opcode == b"M":
            (self.connection.max_datagram_size,) = U32.unpack(self.input.read(4))
        elif opcode == b"U":
            (milliseconds,) = U32.unpack(self.input.read(4))
            self.connection.retransmit_initial = milliseconds / 1000
        elif opcode == b"E":
            (nanoseconds,) = U64.unpack(self.input.read(8))
            self.check_timer(nanoseconds)
        elif opcode:
            raise Failed(f"unknown frame {opcode!r}")
        return bool(opcode)

    def fire_timers(self) -> None:
        due = self.connection.next_timeout()
        if due is not None and due <= self.now + 0.015:
            self.connection.handle_timeout(self.now)

    def check_timer(self, nanoseconds: int) -> None:
        due = self.connection.next_timeout()
        wanted = None if nanoseconds == NO_TIMER else nanoseconds // 1000
        found = None if due is None else round(max(0, due - self.now) * 1_000_000)
        if found != wanted:
            raise Failed(f"the next timer is due in {found} us, the runner expects {wanted}")

    def check_retry(self) -> None:
        """A HelloRetryRequest is a flight of its own, and makes a ClientHello one more."""
        hello = "server_hello" if self.flags.is_server else "client_hello"
        retried = self.flights.count((hello,)) > (not self.flags.is_server)
        retried = retried and self.connection.version == "1.3"
        for flag, wanted in (("expect-hrr", True), ("expect-no-hrr", False)):
            if flag in self.flags and retried != wanted:
                raise Failed(f"{hello} went out alone: {self.flights}")

    def drain(self) -> None:
        """Answers, sends and reads until there is nothing left to do."""
        connection = self.connection
        while (event := connection.next_event()) is not None:
            if isinstance(event, CertificateReceived):
                (trust,) = connection.config.trusts
                assert trust.function is not None
                connection.answer(event, trust.function(event.chain), self.now)
            elif isinstance(event, SignatureRequested):
                self.clock += self.flags.numbers["private-key-delay-ms"] * 10**6
                self.fire_timers()
                self.flush()
                signature = event.function(event.scheme, event.data)
                connection.answer(event, signature, self.now)
            elif isinstance(event, SessionReceived):
                self.session = event.session
            elif isinstance(event, FlightSent) and not event.resend:
                self.flights.append(event.messages)
        self.flush()
        if connection.handshake_complete and not self.greeted:
            self.greeted = True
            check_handshake(connection, self.flags, self.used)
            self.check_retry()
            self.greet()
        while (data := connection.read()) is not None:
            if not connection.closed:
                self.send(bytes(byte ^ 0xFF for byte in data))
                self.update_keys()
        self.flush()

    def greet(self) -> None:
        """What the shim sends before it has read anything."""
        flags, connection = self.flags, self.connection
        length = flags.numbers.get("export-keying-material")
        if length:
            context = flags.texts.get("export-context", "").encode()
            material = connection.export_keying_material(
                flags.texts.get("export-label", ""),
                length,
                context if "use-export-context" in flags else None,
            )
            self.send(material)
        if "shim-writes-first" in flags:
            self.send(INITIAL_WRITE)
        if "send-alert" in flags:
            # No owner of a connection has a use for an alert of their choice: hence the back door.
            connection._send_alert(AlertLevel.fatal, DECOMPRESSION_FAILURE)  # type: ignore[arg-type]
            connection.fail(EndpointClosed("close_notify"))
        self.update_keys()

    def update_keys(self) -> None:
        """Before each read, where the test wants it; the peer need not do the same."""
        post = self.connection._post
        if "key-update-before-read" in self.flags:
            wish = KeyUpdateRequest.update_not_requested
            self.connection._guarded(self.now, post._want, wish, self.now)

    def send(self, data: bytes) -> None:
        """The runner's MTU binds handshake messages alone."""
        connection = self.connection
        size, connection.max_datagram_size = connection.max_datagram_size, 65535
        connection.send(data, self.now)
        connection.max_datagram_size = size

    def flush(self) -> None:
        for datagram, _ in self.connection.datagrams_to_send():
            self.stream.sendall(b"P" + U32.pack(len(datagram)) + datagram)

    def check_end(self) -> None:
        failure = self.connection.failure
        if failure is None:
            if self.connection.handshake_complete:
                # The test may have made its own close_notify unreadable.
                return
            raise Failed("the runner hung up")
        if not (isinstance(failure, EndpointClosed) and failure.reason == "close_notify"):
            raise Failed(name_of(failure))

    def finish(self) -> None:
        """Sends what is left, and lets the runner end first."""
        try:
            self.flush()
            self.stream.shutdown(socket.SHUT_WR)
            while self.input.read(65536):
                pass
        except OSError:
            # The runner was faster.
            return
