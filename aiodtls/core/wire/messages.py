"""Handshake messages: parsed from their bodies and encoded to them, without the handshake header.

A message that DTLS 1.2 and 1.3 share is defined once, here. Where they differ, the names end in 12
or 13. Messages of DTLS 1.3 alone are in ``messages13.py``. Where the layout of a body depends on
the negotiation, each layout has its own class, so the message that a script expects determines the
parser.
"""

from __future__ import annotations

from dataclasses import field
from struct import Struct
from typing import ClassVar, Protocol, Self

from aiodtls.core.errors import DecodeError
from aiodtls.core.frozen import frozen
from aiodtls.core.registry import AlertDescription, HandshakeType, ProtocolVersion
from aiodtls.core.wire.codec import Reader, Writer, parse_whole
from aiodtls.core.wire.extension_blocks import (
    Extensions,
    encode_extensions,
    parse_extensions,
    parse_server_hello_extensions,
    server_hello_place,
)
from aiodtls.core.wire.extensions import OCSP
from aiodtls.core.wire.places import Place

RANDOM_LENGTH = 32
# ECCurveType (RFC 8422 section 5.4).
NAMED_CURVE = 3
# Curve type, group, and the length of the public value.
_CURVE_POINT = Struct("!BHB")


class Message(Protocol):
    """A handshake message. ``msg_type`` is its HandshakeType."""

    msg_type: ClassVar[HandshakeType]

    @classmethod
    def parse(cls, reader: Reader) -> Self: ...

    def encode(self, writer: Writer) -> None: ...


def encode_body(message: Message) -> bytes:
    writer = Writer()
    message.encode(writer)
    return writer.finish()


def parse_body(kind: type[Message], body: bytes) -> Message:
    """Parses a body. Raises :class:`DecodeError` unless it is exactly one message of this kind."""
    return parse_whole(kind.parse, body)


@frozen
class HelloRequest:
    """RFC 5246 section 7.4.1.1."""

    msg_type: ClassVar[HandshakeType] = HandshakeType.hello_request

    @classmethod
    def parse(cls, reader: Reader) -> HelloRequest:
        return cls()

    def encode(self, writer: Writer) -> None:
        """The message has no body."""


@frozen
class ClientHello:
    """RFC 6347 section 4.2.1, RFC 9147 section 5.3."""

    msg_type: ClassVar[HandshakeType] = HandshakeType.client_hello
    random: bytes
    cipher_suites: tuple[int, ...]
    extensions: Extensions = field(default_factory=Extensions)
    session_id: bytes = b""
    cookie: bytes = b""
    compression_methods: bytes = b"\0"
    client_version: int = ProtocolVersion.DTLSv1_2

    @classmethod
    def parse(cls, reader: Reader) -> ClientHello:
        version = reader.u16()
        random = reader.take(RANDOM_LENGTH)
        session_id = reader.vector(1, 0, 32)
        cookie = reader.vector(1)
        suites = reader.u16_list()
        compression = reader.vector(1, 1)
        extensions = parse_extensions(reader, Place.CLIENT_HELLO)
        return cls(random, suites, extensions, session_id, cookie, compression, version)

    def encode(self, writer: Writer) -> None:
        writer.u16(self.client_version).raw(self.random)
        writer.vector(self.session_id, 1).vector(self.cookie, 1)
        writer.u16_list(self.cipher_suites).vector(self.compression_methods, 1)
        encode_extensions(writer, self.extensions, Place.CLIENT_HELLO)


@frozen
class HelloVerifyRequest:
    """RFC 6347 section 4.2.1. ``server_version`` does not tell which version the server will
    choose.
    """

    msg_type: ClassVar[HandshakeType] = HandshakeType.hello_verify_request
    cookie: bytes
    server_version: int = ProtocolVersion.DTLSv1_0

    @classmethod
    def parse(cls, reader: Reader) -> HelloVerifyRequest:
        version = reader.u16()
        return cls(reader.vector(1), version)

    def encode(self, writer: Writer) -> None:
        writer.u16(self.server_version).vector(self.cookie, 1)


@frozen
class ServerHello:
    """RFC 5246 section 7.4.1.3, RFC 8446 section 4.1.3."""

    msg_type: ClassVar[HandshakeType] = HandshakeType.server_hello
    random: bytes
    cipher_suite: int
    extensions: Extensions = field(default_factory=Extensions)
    session_id: bytes = b""
    compression_method: int = 0
    server_version: int = ProtocolVersion.DTLSv1_2

    @classmethod
    def parse(cls, reader: Reader) -> ServerHello:
        version = reader.u16()
        random = reader.take(RANDOM_LENGTH)
        session_id = reader.vector(1, 0, 32)
        suite = reader.u16()
        compression = reader.u8()
        extensions = parse_server_hello_extensions(reader)
        return cls(random, suite, extensions, session_id, compression, version)

    def encode(self, writer: Writer) -> None:
        writer.u16(self.server_version).raw(self.random).vector(self.session_id, 1)
        writer.u16(self.cipher_suite).u8(self.compression_method)
        encode_extensions(writer, self.extensions, server_hello_place(self.extensions))


@frozen
class Certificate12:
    """RFC 5246 section 7.4.2: DER certificates, the sender's own first. An empty chain means
    none.
    """

    msg_type: ClassVar[HandshakeType] = HandshakeType.certificate
    chain: tuple[bytes, ...]

    @classmethod
    def parse(cls, reader: Reader) -> Certificate12:
        return cls(reader.vectors(3, 3, 1))

    def encode(self, writer: Writer) -> None:
        writer.vectors(self.chain, 3, 3)


@frozen
class RawCertificate12:
    """RFC 7250 section 3: one SubjectPublicKeyInfo instead of a chain. An empty one means none."""

    msg_type: ClassVar[HandshakeType] = HandshakeType.certificate
    chain: tuple[bytes, ...]

    @classmethod
    def parse(cls, reader: Reader) -> RawCertificate12:
        key = reader.vector(3)
        return cls((key,) if key else ())

    def encode(self, writer: Writer) -> None:
        writer.vector(b"".join(self.chain), 3)


def _parse_curve_point(reader: Reader) -> tuple[int, bytes]:
    if reader.u8() != NAMED_CURVE:
        raise DecodeError("only named curves are supported", AlertDescription.illegal_parameter)
    return reader.u16(), reader.vector(1, 1)


@frozen
class ServerKeyExchangeEcdhe12:
    """RFC 8422 section 5.4: the server's ephemeral key, signed with the key of its certificate."""

    msg_type: ClassVar[HandshakeType] = HandshakeType.server_key_exchange
    group: int
    public: bytes
    scheme: int
    signature: bytes

    @classmethod
    def parse(cls, reader: Reader) -> ServerKeyExchangeEcdhe12:
        group, public = _parse_curve_point(reader)
        return cls(group, public, reader.u16(), reader.vector(2))

    def encode(self, writer: Writer) -> None:
        writer.raw(self.params).u16(self.scheme).vector(self.signature, 2)

    @property
    def params(self) -> bytes:
        """ServerECDHParams, the part that the signature covers."""
        return ecdh_params(self.group, self.public)


def ecdh_params(group: int, public: bytes) -> bytes:
    """ServerECDHParams (RFC 8422 section 5.4)."""
    return _CURVE_POINT.pack(NAMED_CURVE, group, len(public)) + public


@frozen
class ServerKeyExchangePsk12:
    """RFC 4279 section 2."""

    msg_type: ClassVar[HandshakeType] = HandshakeType.server_key_exchange
    identity_hint: bytes

    @classmethod
    def parse(cls, reader: Reader) -> ServerKeyExchangePsk12:
        return cls(reader.vector(2))

    def encode(self, writer: Writer) -> None:
        writer.vector(self.identity_hint, 2)


@frozen
class ServerKeyExchangeEcdhePsk12:
    """RFC 5489 section 2."""

    msg_type: ClassVar[HandshakeType] = HandshakeType.server_key_exchange
    identity_hint: bytes
    group: int
    public: bytes

    @classmethod
    def parse(cls, reader: Reader) -> ServerKeyExchangeEcdhePsk12:
        return cls(reader.vector(2), *_parse_curve_point(reader))

    def encode(self, writer: Writer) -> None:
        writer.vector(self.identity_hint, 2).raw(ecdh_params(self.group, self.public))


@frozen
class CertificateRequest12:
    """RFC 5246 section 7.4.4. ``authorities`` are DER names."""

    msg_type: ClassVar[HandshakeType] = HandshakeType.certificate_request
    certificate_types: bytes
    schemes: tuple[int, ...]
    authorities: tuple[bytes, ...] = ()

    @classmethod
    def parse(cls, reader: Reader) -> CertificateRequest12:
        types = reader.vector(1, 1)
        schemes = reader.u16_list()
        return cls(types, schemes, reader.vectors(2, 2, 1))

    def encode(self, writer: Writer) -> None:
        writer.vector(self.certificate_types, 1).u16_list(self.schemes)
        writer.vectors(self.authorities, 2, 2)


@frozen
class ServerHelloDone:
    """RFC 5246 section 7.4.5."""

    msg_type: ClassVar[HandshakeType] = HandshakeType.server_hello_done

    @classmethod
    def parse(cls, reader: Reader) -> ServerHelloDone:
        return cls()

    def encode(self, writer: Writer) -> None:
        """The message has no body."""


@frozen
class ClientKeyExchangeEcdhe12:
    """RFC 8422 section 5.7."""

    msg_type: ClassVar[HandshakeType] = HandshakeType.client_key_exchange
    public: bytes

    @classmethod
    def parse(cls, reader: Reader) -> ClientKeyExchangeEcdhe12:
        return cls(reader.vector(1, 1))

    def encode(self, writer: Writer) -> None:
        writer.vector(self.public, 1)


@frozen
class ClientKeyExchangePsk12:
    """RFC 4279 section 2."""

    msg_type: ClassVar[HandshakeType] = HandshakeType.client_key_exchange
    identity: bytes

    @classmethod
    def parse(cls, reader: Reader) -> ClientKeyExchangePsk12:
        return cls(reader.vector(2))

    def encode(self, writer: Writer) -> None:
        writer.vector(self.identity, 2)


@frozen
class ClientKeyExchangeEcdhePsk12:
    """RFC 5489 section 2."""

    msg_type: ClassVar[HandshakeType] = HandshakeType.client_key_exchange
    identity: bytes
    public: bytes

    @classmethod
    def parse(cls, reader: Reader) -> ClientKeyExchangeEcdhePsk12:
        return cls(reader.vector(2), reader.vector(1, 1))

    def encode(self, writer: Writer) -> None:
        writer.vector(self.identity, 2).vector(self.public, 1)


@frozen
class CertificateVerify:
    """RFC 5246 section 7.4.8, RFC 8446 section 4.4.3. The versions differ in what is signed."""

    msg_type: ClassVar[HandshakeType] = HandshakeType.certificate_verify
    scheme: int
    signature: bytes

    @classmethod
    def parse(cls, reader: Reader) -> CertificateVerify:
        return cls(reader.u16(), reader.vector(2))

    def encode(self, writer: Writer) -> None:
        writer.u16(self.scheme).vector(self.signature, 2)


@frozen
class CertificateStatus12:
    """RFC 6066 section 8: the OCSP response. An extension of the ServerHello announced it."""

    msg_type: ClassVar[HandshakeType] = HandshakeType.certificate_status
    response: bytes

    @classmethod
    def parse(cls, reader: Reader) -> CertificateStatus12:
        if reader.u8() != OCSP:
            raise DecodeError("the certificate status is not an OCSP response")
        return cls(reader.vector(3, 1))

    def encode(self, writer: Writer) -> None:
        writer.u8(OCSP).vector(self.response, 3)


@frozen
class NewSessionTicket12:
    """RFC 5077 section 3.3. ``lifetime_hint`` is in seconds, 0 if the server does not say."""

    msg_type: ClassVar[HandshakeType] = HandshakeType.new_session_ticket
    lifetime_hint: int
    ticket: bytes = field(repr=False)

    @classmethod
    def parse(cls, reader: Reader) -> NewSessionTicket12:
        return cls(reader.uint(4), reader.vector(2))

    def encode(self, writer: Writer) -> None:
        writer.uint(self.lifetime_hint, 4).vector(self.ticket, 2)


@frozen
class Finished:
    """RFC 5246 section 7.4.9, RFC 8446 section 4.4.4. The receiver checks the length."""

    msg_type: ClassVar[HandshakeType] = HandshakeType.finished
    verify_data: bytes = field(repr=False)

    @classmethod
    def parse(cls, reader: Reader) -> Finished:
        return cls(reader.rest())

    def encode(self, writer: Writer) -> None:
        writer.raw(self.verify_data)
