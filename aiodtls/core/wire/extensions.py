"""Hello extensions: one class each, with how it is read, written and where it may stand.

Those that only DTLS 1.3 has are in ``extensions13.py``, whole blocks in ``extension_blocks.py``.
"""

from __future__ import annotations

from dataclasses import field
from typing import ClassVar, Protocol, Self

from aiodtls.core.errors import DecodeError
from aiodtls.core.registry import AlertDescription, ExtensionType, HandshakeType
from aiodtls.core.values import value
from aiodtls.core.wire.codec import Reader, Writer

CLIENT_HELLO = HandshakeType.client_hello
SERVER_HELLO = HandshakeType.server_hello
# The type that HelloRetryRequest once had; on the wire it is a ServerHello now.
HELLO_RETRY_REQUEST = HandshakeType.hello_retry_request_RESERVED
ENCRYPTED_EXTENSIONS = HandshakeType.encrypted_extensions
CERTIFICATE = HandshakeType.certificate
CERTIFICATE_REQUEST = HandshakeType.certificate_request
NEW_SESSION_TICKET = HandshakeType.new_session_ticket


class Extension(Protocol):
    """``places`` names the messages that may carry it; ``place`` says which one this is."""

    @property
    def type(self) -> int: ...

    def encode(self, writer: Writer, place: HandshakeType) -> None: ...

    def __hash__(self) -> int: ...


class KnownExtension(Extension, Protocol):
    places: ClassVar[frozenset[HandshakeType]]

    @classmethod
    def parse(cls, reader: Reader, place: HandshakeType) -> KnownExtension: ...


HELLOS = frozenset({CLIENT_HELLO, SERVER_HELLO})
CLIENT_ONLY = frozenset({CLIENT_HELLO})
# In DTLS 1.3 a server's answers that need no secrecy stay in ServerHello, the others move.
NEGOTIATED = frozenset({CLIENT_HELLO, SERVER_HELLO, ENCRYPTED_EXTENSIONS})
VERSION_PLACES = frozenset({CLIENT_HELLO, SERVER_HELLO, HELLO_RETRY_REQUEST})
# What speaks of a server's certificate: beside it in DTLS 1.3.
STAPLES = frozenset({CLIENT_HELLO, SERVER_HELLO, CERTIFICATE})
# CertificateStatusType (RFC 6066 section 8).
OCSP = 1
REQUESTS = frozenset({CLIENT_HELLO, CERTIFICATE_REQUEST})


@value
class UnknownExtension:
    """One that is carried, not understood."""

    type: int
    data: bytes

    def encode(self, writer: Writer, place: HandshakeType) -> None:
        writer.raw(self.data)


@value
class ServerName:
    """RFC 6066 section 3: the host name a client asks for; a server acknowledges with None."""

    type: ClassVar[ExtensionType] = ExtensionType.server_name
    places: ClassVar[frozenset[HandshakeType]] = NEGOTIATED
    host_name: str | None

    @classmethod
    def parse(cls, reader: Reader, place: HandshakeType) -> ServerName:
        if place != CLIENT_HELLO:
            return cls(None)
        names = reader.sub(2, 1)
        host_name: str | None = None
        while names.remaining:
            name_type = names.u8()
            name = names.vector(2, 1)
            if name_type != 0:
                continue
            if host_name is not None:
                raise DecodeError("two names of the same type", AlertDescription.illegal_parameter)
            if not name.isascii() or b"\0" in name:
                raise DecodeError("a host name that is not ASCII")
            host_name = name.decode()
        return cls(host_name)

    def encode(self, writer: Writer, place: HandshakeType) -> None:
        if self.host_name is not None:
            with writer.sub(2):
                writer.u8(0).vector(self.host_name.encode("ascii"), 2)


@value
class SupportedGroups:
    """RFC 8422 section 5.1.1, RFC 8446 section 4.2.7. Some servers send it too; it says nothing."""

    type: ClassVar[ExtensionType] = ExtensionType.supported_groups
    places: ClassVar[frozenset[HandshakeType]] = NEGOTIATED
    groups: tuple[int, ...]

    @classmethod
    def parse(cls, reader: Reader, place: HandshakeType) -> SupportedGroups:
        return cls(reader.u16_list())

    def encode(self, writer: Writer, place: HandshakeType) -> None:
        writer.u16_list(self.groups)


@value
class ECPointFormats:
    """RFC 8422 section 5.1.2; only uncompressed (0) is left of them."""

    type: ClassVar[ExtensionType] = ExtensionType.ec_point_formats
    places: ClassVar[frozenset[HandshakeType]] = HELLOS
    formats: bytes = b"\0"

    @classmethod
    def parse(cls, reader: Reader, place: HandshakeType) -> ECPointFormats:
        return cls(reader.vector(1, 1))

    def encode(self, writer: Writer, place: HandshakeType) -> None:
        writer.vector(self.formats, 1)


@value
class SignatureAlgorithms:
    """RFC 5246 section 7.4.1.4.1, RFC 8446 section 4.2.3."""

    type: ClassVar[ExtensionType] = ExtensionType.signature_algorithms
    places: ClassVar[frozenset[HandshakeType]] = REQUESTS
    schemes: tuple[int, ...]

    @classmethod
    def parse(cls, reader: Reader, place: HandshakeType) -> SignatureAlgorithms:
        return cls(reader.u16_list())

    def encode(self, writer: Writer, place: HandshakeType) -> None:
        writer.u16_list(self.schemes)


@value
class UseSRTP:
    """RFC 5764 section 4.1.1: profiles in order of preference, and the MKI."""

    type: ClassVar[ExtensionType] = ExtensionType.use_srtp
    places: ClassVar[frozenset[HandshakeType]] = NEGOTIATED
    profiles: tuple[int, ...]
    mki: bytes = b""

    @classmethod
    def parse(cls, reader: Reader, place: HandshakeType) -> UseSRTP:
        return cls(reader.u16_list(), reader.vector(1))

    def encode(self, writer: Writer, place: HandshakeType) -> None:
        writer.u16_list(self.profiles).vector(self.mki, 1)


@value
class ALPN:
    """RFC 7301 section 3.1."""

    type: ClassVar[ExtensionType] = ExtensionType.application_layer_protocol_negotiation
    places: ClassVar[frozenset[HandshakeType]] = NEGOTIATED
    protocols: tuple[bytes, ...]

    @classmethod
    def parse(cls, reader: Reader, place: HandshakeType) -> ALPN:
        names = reader.sub(2, 2)
        protocols = []
        while names.remaining:
            protocols.append(names.vector(1, 1))
        return cls(tuple(protocols))

    def encode(self, writer: Writer, place: HandshakeType) -> None:
        writer.vectors(self.protocols, 1, 2)


@value
class ExtendedMasterSecret:
    """RFC 7627 section 5.1; always empty."""

    type: ClassVar[ExtensionType] = ExtensionType.extended_master_secret
    places: ClassVar[frozenset[HandshakeType]] = HELLOS

    @classmethod
    def parse(cls, reader: Reader, place: HandshakeType) -> ExtendedMasterSecret:
        return cls()

    def encode(self, writer: Writer, place: HandshakeType) -> None:
        """Nothing to write."""


@value
class _CertificateTypes:
    """RFC 7250 section 3: a list from the client, preferred first, and the server's choice."""

    places: ClassVar[frozenset[HandshakeType]] = NEGOTIATED
    types: tuple[int, ...]

    @classmethod
    def parse(cls, reader: Reader, place: HandshakeType) -> Self:
        return cls(tuple(reader.vector(1, 1)) if place == CLIENT_HELLO else (reader.u8(),))

    def encode(self, writer: Writer, place: HandshakeType) -> None:
        if place == CLIENT_HELLO:
            writer.vector(bytes(self.types), 1)
        else:
            writer.u8(self.types[0])


@value
class ClientCertificateTypes(_CertificateTypes):
    """What the client can show of itself."""

    type: ClassVar[ExtensionType] = ExtensionType.client_certificate_type


@value
class ServerCertificateTypes(_CertificateTypes):
    """What the client takes from the server."""

    type: ClassVar[ExtensionType] = ExtensionType.server_certificate_type


@value
class StatusRequest:
    """RFC 6066 section 8: a client asks for OCSP, and in DTLS 1.3 a Certificate carries it.

    Its answer in a ServerHello is empty, and other kinds of status are not asked for.
    """

    type: ClassVar[ExtensionType] = ExtensionType.status_request
    places: ClassVar[frozenset[HandshakeType]] = STAPLES
    response: bytes = b""

    @classmethod
    def parse(cls, reader: Reader, place: HandshakeType) -> StatusRequest:
        if place == SERVER_HELLO:
            return cls()
        ocsp = reader.u8() == OCSP
        if place == CERTIFICATE:
            if not ocsp:
                raise DecodeError("a certificate status that is no OCSP response")
            return cls(reader.vector(3, 1))
        if ocsp:
            reader.vector(2)
            reader.vector(2)
        else:
            reader.rest()
        return cls()

    def encode(self, writer: Writer, place: HandshakeType) -> None:
        if place == CERTIFICATE:
            writer.u8(OCSP).vector(self.response, 3)
        elif place == CLIENT_HELLO:
            # No list of responders and no extensions: any response will do.
            writer.u8(OCSP).vector(b"", 2).vector(b"", 2)


@value
class SignedCertificateTimestamps:
    """RFC 6962 section 3.3: empty from a client; each is a SerializedSCT."""

    type: ClassVar[ExtensionType] = ExtensionType.signed_certificate_timestamp
    places: ClassVar[frozenset[HandshakeType]] = STAPLES
    timestamps: tuple[bytes, ...] = ()

    @classmethod
    def parse(cls, reader: Reader, place: HandshakeType) -> SignedCertificateTimestamps:
        if place == CLIENT_HELLO:
            return cls()
        entries, timestamps = reader.sub(2, 1), []
        while entries.remaining:
            timestamps.append(entries.vector(2, 1))
        return cls(tuple(timestamps))

    def encode(self, writer: Writer, place: HandshakeType) -> None:
        if place != CLIENT_HELLO:
            with writer.sub(2):
                for timestamp in self.timestamps:
                    writer.vector(timestamp, 2)


@value
class SessionTicket:
    """RFC 5077 section 3.2: the ticket to resume with; empty to ask for one, or announce it."""

    type: ClassVar[ExtensionType] = ExtensionType.session_ticket
    places: ClassVar[frozenset[HandshakeType]] = HELLOS
    ticket: bytes = field(default=b"", repr=False)

    @classmethod
    def parse(cls, reader: Reader, place: HandshakeType) -> SessionTicket:
        return cls(reader.rest())

    def encode(self, writer: Writer, place: HandshakeType) -> None:
        writer.raw(self.ticket)


@value
class ConnectionId:
    """RFC 9146 section 3: what the peer's records are to bear; empty for nothing."""

    type: ClassVar[ExtensionType] = ExtensionType.connection_id
    places: ClassVar[frozenset[HandshakeType]] = HELLOS
    cid: bytes

    @classmethod
    def parse(cls, reader: Reader, place: HandshakeType) -> ConnectionId:
        return cls(reader.vector(1))

    def encode(self, writer: Writer, place: HandshakeType) -> None:
        writer.vector(self.cid, 1)


@value
class ReturnRoutability:
    """RFC 9853 section 3, "rrc"; always empty."""

    type: ClassVar[ExtensionType] = ExtensionType.rrc
    places: ClassVar[frozenset[HandshakeType]] = HELLOS

    @classmethod
    def parse(cls, reader: Reader, place: HandshakeType) -> ReturnRoutability:
        return cls()

    def encode(self, writer: Writer, place: HandshakeType) -> None:
        """Nothing to write."""


@value
class SupportedVersions:
    """RFC 8446 section 4.2.1: a list from the client, the choice from the server."""

    type: ClassVar[ExtensionType] = ExtensionType.supported_versions
    places: ClassVar[frozenset[HandshakeType]] = VERSION_PLACES
    versions: tuple[int, ...]

    @classmethod
    def parse(cls, reader: Reader, place: HandshakeType) -> SupportedVersions:
        return cls(reader.u16_list(1) if place == CLIENT_HELLO else (reader.u16(),))

    def encode(self, writer: Writer, place: HandshakeType) -> None:
        if place == CLIENT_HELLO:
            writer.u16_list(self.versions, 1)
        else:
            writer.u16(self.versions[0])


@value
class RenegotiationInfo:
    """RFC 5746 section 3.2; empty in a first handshake, and there is no other here."""

    type: ClassVar[ExtensionType] = ExtensionType.renegotiation_info
    places: ClassVar[frozenset[HandshakeType]] = HELLOS
    renegotiated_connection: bytes = b""

    @classmethod
    def parse(cls, reader: Reader, place: HandshakeType) -> RenegotiationInfo:
        return cls(reader.vector(1))

    def encode(self, writer: Writer, place: HandshakeType) -> None:
        writer.vector(self.renegotiated_connection, 1)
