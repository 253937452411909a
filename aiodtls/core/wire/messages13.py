"""Handshake messages that only DTLS 1.3 has, or that differ from DTLS 1.2."""

from __future__ import annotations

import hashlib
from dataclasses import field
from typing import ClassVar

from aiodtls.core.errors import DecodeError
from aiodtls.core.frozen import frozen
from aiodtls.core.registry import (
    AlertDescription,
    ConnectionIdUsage,
    HandshakeType,
    ProtocolVersion,
)
from aiodtls.core.wire.codec import Reader, Writer
from aiodtls.core.wire.extension_blocks import Extensions, encode_extensions, parse_extensions
from aiodtls.core.wire.messages import RANDOM_LENGTH
from aiodtls.core.wire.places import Place

# RFC 8446 section 4.1.3: SHA-256 of "HelloRetryRequest", used as the server's random.
HELLO_RETRY_RANDOM = hashlib.sha256(b"HelloRetryRequest").digest()


@frozen
class HelloRetryRequest:
    """RFC 8446 section 4.1.4: a ServerHello with a special random."""

    msg_type: ClassVar[HandshakeType] = HandshakeType.server_hello
    cipher_suite: int
    extensions: Extensions
    session_id: bytes = b""

    @classmethod
    def matches(cls, body: bytes) -> bool:
        """Whether the body of a ServerHello is a HelloRetryRequest."""
        return body[2 : 2 + RANDOM_LENGTH] == HELLO_RETRY_RANDOM

    @classmethod
    def parse(cls, reader: Reader) -> HelloRetryRequest:
        version = reader.u16()
        if version != ProtocolVersion.DTLSv1_2:
            raise DecodeError(
                f"HelloRetryRequest of version {version:#06x}", AlertDescription.illegal_parameter
            )
        reader.take(RANDOM_LENGTH)
        session_id = reader.vector(1, 0, 32)
        suite = reader.u16()
        if reader.u8() != 0:
            raise DecodeError("a compression", AlertDescription.illegal_parameter)
        return cls(suite, parse_extensions(reader, Place.HELLO_RETRY_REQUEST), session_id)

    def encode(self, writer: Writer) -> None:
        writer.u16(ProtocolVersion.DTLSv1_2).raw(HELLO_RETRY_RANDOM)
        writer.vector(self.session_id, 1).u16(self.cipher_suite).u8(0)
        encode_extensions(writer, self.extensions, Place.HELLO_RETRY_REQUEST)


@frozen
class EncryptedExtensions:
    """RFC 8446 section 4.3.1."""

    msg_type: ClassVar[HandshakeType] = HandshakeType.encrypted_extensions
    extensions: Extensions

    @classmethod
    def parse(cls, reader: Reader) -> EncryptedExtensions:
        return cls(parse_extensions(reader, Place.ENCRYPTED_EXTENSIONS, required=True))

    def encode(self, writer: Writer) -> None:
        encode_extensions(writer, self.extensions, Place.ENCRYPTED_EXTENSIONS, required=True)


@frozen
class CertificateRequest13:
    """RFC 8446 section 4.3.2."""

    msg_type: ClassVar[HandshakeType] = HandshakeType.certificate_request
    extensions: Extensions
    context: bytes = b""

    @classmethod
    def parse(cls, reader: Reader) -> CertificateRequest13:
        context = reader.vector(1)
        return cls(parse_extensions(reader, Place.CERTIFICATE_REQUEST, required=True), context)

    def encode(self, writer: Writer) -> None:
        writer.vector(self.context, 1)
        encode_extensions(writer, self.extensions, Place.CERTIFICATE_REQUEST, required=True)


@frozen
class Certificate13:
    """RFC 8446 section 4.4.2: like Certificate12, with a context, and extensions for each
    certificate.
    """

    msg_type: ClassVar[HandshakeType] = HandshakeType.certificate
    chain: tuple[bytes, ...]
    context: bytes = b""
    extensions: tuple[Extensions, ...] = ()

    @classmethod
    def parse(cls, reader: Reader) -> Certificate13:
        context = reader.vector(1)
        entries = reader.sub(3)
        chain, extensions = [], []
        while entries.remaining:
            chain.append(entries.vector(3, 1))
            extensions.append(parse_extensions(entries, Place.CERTIFICATE, required=True))
        return cls(tuple(chain), context, tuple(extensions))

    def encode(self, writer: Writer) -> None:
        writer.vector(self.context, 1)
        with writer.sub(3):
            for index, certificate in enumerate(self.chain):
                writer.vector(certificate, 3)
                carried = self.extensions[index] if self.extensions else Extensions()
                encode_extensions(writer, carried, Place.CERTIFICATE, required=True)


@frozen
class NewSessionTicket13:
    """RFC 8446 section 4.6.1. ``lifetime`` is in seconds."""

    msg_type: ClassVar[HandshakeType] = HandshakeType.new_session_ticket
    lifetime: int
    age_add: int
    nonce: bytes = field(repr=False)
    ticket: bytes = field(repr=False)
    extensions: Extensions = field(default_factory=Extensions)

    @classmethod
    def parse(cls, reader: Reader) -> NewSessionTicket13:
        lifetime, age_add = reader.uint(4), reader.uint(4)
        nonce, ticket = reader.vector(1), reader.vector(2, 1)
        return cls(
            lifetime,
            age_add,
            nonce,
            ticket,
            parse_extensions(reader, Place.NEW_SESSION_TICKET, required=True),
        )

    def encode(self, writer: Writer) -> None:
        writer.uint(self.lifetime, 4).uint(self.age_add, 4)
        writer.vector(self.nonce, 1).vector(self.ticket, 2)
        encode_extensions(writer, self.extensions, Place.NEW_SESSION_TICKET, required=True)


@frozen
class KeyUpdate:
    """RFC 8446 section 4.6.3."""

    msg_type: ClassVar[HandshakeType] = HandshakeType.key_update
    request_update: int

    @classmethod
    def parse(cls, reader: Reader) -> KeyUpdate:
        request = reader.u8()
        if request > 1:
            raise DecodeError("an unknown KeyUpdateRequest", AlertDescription.illegal_parameter)
        return cls(request)

    def encode(self, writer: Writer) -> None:
        writer.u8(self.request_update)


@frozen
class RequestConnectionId:
    """RFC 9147 section 9."""

    msg_type: ClassVar[HandshakeType] = HandshakeType.request_connection_id
    num_cids: int

    @classmethod
    def parse(cls, reader: Reader) -> RequestConnectionId:
        return cls(reader.u8())

    def encode(self, writer: Writer) -> None:
        writer.u8(self.num_cids)


@frozen
class NewConnectionId:
    """RFC 9147 section 9. ``usage`` is a ConnectionIdUsage."""

    msg_type: ClassVar[HandshakeType] = HandshakeType.new_connection_id
    cids: tuple[bytes, ...]
    usage: int

    @classmethod
    def parse(cls, reader: Reader) -> NewConnectionId:
        cids = reader.vectors(1, 2)
        usage = reader.u8()
        immediate = usage == ConnectionIdUsage.cid_immediate
        if usage > ConnectionIdUsage.cid_spare or not all(cids) or (immediate and not cids):
            raise DecodeError(
                "connection ids of this usage cannot be used", AlertDescription.illegal_parameter
            )
        return cls(cids, usage)

    def encode(self, writer: Writer) -> None:
        writer.vectors(self.cids, 1, 2).u8(self.usage)
