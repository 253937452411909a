"""Hello extensions: one class each, with its parser and encoder.

Extensions of DTLS 1.3 alone are in ``extensions13.py``, whole blocks in ``extension_blocks.py``,
and the messages that may carry each extension in ``places.py``.
"""

from __future__ import annotations

from dataclasses import field
from typing import ClassVar, Protocol, Self

from aiodtls.core.errors import DecodeError
from aiodtls.core.frozen import frozen
from aiodtls.core.registry import AlertDescription, ExtensionType
from aiodtls.core.wire.codec import Reader, Writer
from aiodtls.core.wire.places import Place

# CertificateStatusType (RFC 6066 section 8).
OCSP = 1
# In these messages an extension is a request. In the others it is an answer.
_REQUESTS = (Place.CLIENT_HELLO, Place.CERTIFICATE_REQUEST)


class Extension(Protocol):
    """An extension. ``place`` is the message that carries it; ``places.py`` lists which ones
    may.
    """

    @property
    def type(self) -> int: ...

    def encode(self, writer: Writer, place: Place) -> None: ...

    def __hash__(self) -> int: ...


class KnownExtension(Extension, Protocol):
    @classmethod
    def parse(cls, reader: Reader, place: Place) -> KnownExtension: ...


@frozen
class UnknownExtension:
    """An extension that we do not know. It is kept as bytes."""

    type: int
    data: bytes

    def encode(self, writer: Writer, place: Place) -> None:
        writer.raw(self.data)


@frozen
class ServerName:
    """RFC 6066 section 3: the host name that a client asks for. A server acknowledges with None."""

    type: ClassVar[ExtensionType] = ExtensionType.server_name
    host_name: str | None

    @classmethod
    def parse(cls, reader: Reader, place: Place) -> ServerName:
        if place != Place.CLIENT_HELLO:
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
            if not name.isascii() or not (host_name := name.decode()).isprintable():
                # Owners display the name and write it into logs.
                raise DecodeError("a host name has characters other than printable ASCII")
        return cls(host_name)

    def encode(self, writer: Writer, place: Place) -> None:
        if self.host_name is not None:
            with writer.sub(2):
                writer.u8(0).vector(self.host_name.encode("ascii"), 2)


@frozen
class SupportedGroups:
    """RFC 8422 section 5.1.1, RFC 8446 section 4.2.7. A server's list has no effect."""

    type: ClassVar[ExtensionType] = ExtensionType.supported_groups
    groups: tuple[int, ...]

    @classmethod
    def parse(cls, reader: Reader, place: Place) -> SupportedGroups:
        return cls(reader.u16_list())

    def encode(self, writer: Writer, place: Place) -> None:
        writer.u16_list(self.groups)


@frozen
class ECPointFormats:
    """RFC 8422 section 5.1.2. Only uncompressed (0) is still defined."""

    type: ClassVar[ExtensionType] = ExtensionType.ec_point_formats
    formats: bytes = b"\0"

    @classmethod
    def parse(cls, reader: Reader, place: Place) -> ECPointFormats:
        return cls(reader.vector(1, 1))

    def encode(self, writer: Writer, place: Place) -> None:
        writer.vector(self.formats, 1)


@frozen
class SignatureAlgorithms:
    """RFC 5246 section 7.4.1.4.1, RFC 8446 section 4.2.3."""

    type: ClassVar[ExtensionType] = ExtensionType.signature_algorithms
    schemes: tuple[int, ...]

    @classmethod
    def parse(cls, reader: Reader, place: Place) -> SignatureAlgorithms:
        return cls(reader.u16_list())

    def encode(self, writer: Writer, place: Place) -> None:
        writer.u16_list(self.schemes)


@frozen
class UseSRTP:
    """RFC 5764 section 4.1.1: the profiles in order of preference, and the MKI."""

    type: ClassVar[ExtensionType] = ExtensionType.use_srtp
    profiles: tuple[int, ...]
    mki: bytes = b""

    @classmethod
    def parse(cls, reader: Reader, place: Place) -> UseSRTP:
        return cls(reader.u16_list(), reader.vector(1))

    def encode(self, writer: Writer, place: Place) -> None:
        writer.u16_list(self.profiles).vector(self.mki, 1)


@frozen
class ALPN:
    """RFC 7301 section 3.1."""

    type: ClassVar[ExtensionType] = ExtensionType.application_layer_protocol_negotiation
    protocols: tuple[bytes, ...]

    @classmethod
    def parse(cls, reader: Reader, place: Place) -> ALPN:
        return cls(reader.vectors(1, 2, 1, 2))

    def encode(self, writer: Writer, place: Place) -> None:
        writer.vectors(self.protocols, 1, 2)


@frozen
class ExtendedMasterSecret:
    """RFC 7627 section 5.1. It is always empty."""

    type: ClassVar[ExtensionType] = ExtensionType.extended_master_secret

    @classmethod
    def parse(cls, reader: Reader, place: Place) -> ExtendedMasterSecret:
        return cls()

    def encode(self, writer: Writer, place: Place) -> None:
        """The extension has no body."""


@frozen
class _CertificateTypes:
    """RFC 7250 section 3: the client's list, most preferred first, or the server's choice."""

    types: tuple[int, ...]

    @classmethod
    def parse(cls, reader: Reader, place: Place) -> Self:
        return cls(tuple(reader.vector(1, 1)) if place == Place.CLIENT_HELLO else (reader.u8(),))

    def encode(self, writer: Writer, place: Place) -> None:
        if place == Place.CLIENT_HELLO:
            writer.vector(bytes(self.types), 1)
        else:
            writer.u8(self.types[0])


@frozen
class ClientCertificateTypes(_CertificateTypes):
    """The certificate types that the client can send."""

    type: ClassVar[ExtensionType] = ExtensionType.client_certificate_type


@frozen
class ServerCertificateTypes(_CertificateTypes):
    """The certificate types that the client accepts from the server."""

    type: ClassVar[ExtensionType] = ExtensionType.server_certificate_type


@frozen
class StatusRequest:
    """RFC 6066 section 8: a client requests OCSP. In DTLS 1.3 a Certificate carries the answer.

    The answer in a ServerHello is empty. We request no other kinds of status.
    """

    type: ClassVar[ExtensionType] = ExtensionType.status_request
    response: bytes = b""

    @classmethod
    def parse(cls, reader: Reader, place: Place) -> StatusRequest:
        if place == Place.SERVER_HELLO_12:
            return cls()
        ocsp = reader.u8() == OCSP
        if place == Place.CERTIFICATE:
            if not ocsp:
                raise DecodeError("the certificate status is not an OCSP response")
            return cls(reader.vector(3, 1))
        if ocsp:
            reader.vector(2)
            reader.vector(2)
        else:
            reader.rest()
        return cls()

    def encode(self, writer: Writer, place: Place) -> None:
        if place == Place.CERTIFICATE:
            writer.u8(OCSP).vector(self.response, 3)
        elif place in _REQUESTS:
            # No responder list and no request extensions: any OCSP response is accepted.
            writer.u8(OCSP).vector(b"", 2).vector(b"", 2)


@frozen
class SignedCertificateTimestamps:
    """RFC 6962 section 3.3: empty in a request; otherwise a list of SerializedSCT."""

    type: ClassVar[ExtensionType] = ExtensionType.signed_certificate_timestamp
    timestamps: tuple[bytes, ...] = ()

    @classmethod
    def parse(cls, reader: Reader, place: Place) -> SignedCertificateTimestamps:
        if place in _REQUESTS:
            return cls()
        return cls(reader.vectors(2, 2, 1, 1))

    def encode(self, writer: Writer, place: Place) -> None:
        if place not in _REQUESTS:
            with writer.sub(2):
                for timestamp in self.timestamps:
                    writer.vector(timestamp, 2)


@frozen
class SessionTicket:
    """RFC 5077 section 3.2: the ticket to resume with; empty to request or announce one."""

    type: ClassVar[ExtensionType] = ExtensionType.session_ticket
    ticket: bytes = field(default=b"", repr=False)

    @classmethod
    def parse(cls, reader: Reader, place: Place) -> SessionTicket:
        return cls(reader.rest())

    def encode(self, writer: Writer, place: Place) -> None:
        writer.raw(self.ticket)


@frozen
class ConnectionId:
    """RFC 9146 section 3: the id that the peer's records must carry; empty for none."""

    type: ClassVar[ExtensionType] = ExtensionType.connection_id
    cid: bytes

    @classmethod
    def parse(cls, reader: Reader, place: Place) -> ConnectionId:
        return cls(reader.vector(1))

    def encode(self, writer: Writer, place: Place) -> None:
        writer.vector(self.cid, 1)


@frozen
class ReturnRoutability:
    """RFC 9853 section 3, "rrc". It is always empty."""

    type: ClassVar[ExtensionType] = ExtensionType.rrc

    @classmethod
    def parse(cls, reader: Reader, place: Place) -> ReturnRoutability:
        return cls()

    def encode(self, writer: Writer, place: Place) -> None:
        """The extension has no body."""


@frozen
class SupportedVersions:
    """RFC 8446 section 4.2.1: the client's list, or the server's choice."""

    type: ClassVar[ExtensionType] = ExtensionType.supported_versions
    versions: tuple[int, ...]

    @classmethod
    def parse(cls, reader: Reader, place: Place) -> SupportedVersions:
        return cls(reader.u16_list(1) if place == Place.CLIENT_HELLO else (reader.u16(),))

    def encode(self, writer: Writer, place: Place) -> None:
        if place == Place.CLIENT_HELLO:
            writer.u16_list(self.versions, 1)
        else:
            writer.u16(self.versions[0])


@frozen
class RenegotiationInfo:
    """RFC 5746 section 3.2. It is empty in a first handshake; we do not renegotiate."""

    type: ClassVar[ExtensionType] = ExtensionType.renegotiation_info
    renegotiated_connection: bytes = b""

    @classmethod
    def parse(cls, reader: Reader, place: Place) -> RenegotiationInfo:
        return cls(reader.vector(1))

    def encode(self, writer: Writer, place: Place) -> None:
        writer.vector(self.renegotiated_connection, 1)
