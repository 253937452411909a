"""Hello extensions that TLS 1.3 and DTLS 1.3 introduced, one class each."""

from __future__ import annotations

from dataclasses import field
from typing import ClassVar

from aiodtls.core.errors import DecodeError
from aiodtls.core.frozen import frozen
from aiodtls.core.registry import AlertDescription, ExtensionType
from aiodtls.core.wire.codec import Reader, Writer
from aiodtls.core.wire.places import Place


@frozen
class SignatureAlgorithmsCert:
    """RFC 8446 section 4.2.3: the schemes for certificates, if they differ from those for
    handshakes.
    """

    type: ClassVar[ExtensionType] = ExtensionType.signature_algorithms_cert
    schemes: tuple[int, ...]

    @classmethod
    def parse(cls, reader: Reader, place: Place) -> SignatureAlgorithmsCert:
        return cls(reader.u16_list())

    def encode(self, writer: Writer, place: Place) -> None:
        writer.u16_list(self.schemes)


@frozen
class CertificateAuthorities:
    """RFC 8446 section 4.2.4: the DER names of the authorities that the sender trusts."""

    type: ClassVar[ExtensionType] = ExtensionType.certificate_authorities
    names: tuple[bytes, ...]

    @classmethod
    def parse(cls, reader: Reader, place: Place) -> CertificateAuthorities:
        return cls(reader.vectors(2, 2, 1, 3))

    def encode(self, writer: Writer, place: Place) -> None:
        writer.vectors(self.names, 2, 2)


# More than there are groups. It bounds the work on a hello of a stranger.
MAX_SHARES = 32


@frozen
class KeyShares:
    """RFC 8446 section 4.2.8: groups and public values. A client may send several.

    A HelloRetryRequest names only the group, and the public value is empty here.
    """

    type: ClassVar[ExtensionType] = ExtensionType.key_share
    shares: tuple[tuple[int, bytes], ...]

    @classmethod
    def parse(cls, reader: Reader, place: Place) -> KeyShares:
        if place == Place.HELLO_RETRY_REQUEST:
            return cls(((reader.u16(), b""),))
        if place == Place.SERVER_HELLO_13:
            return cls(((reader.u16(), reader.vector(2, 1)),))
        block = reader.sub(2)
        shares: list[tuple[int, bytes]] = []
        while block.remaining:
            if len(shares) == MAX_SHARES:
                raise DecodeError(f"there are more than {MAX_SHARES} key shares")
            shares.append((block.u16(), block.vector(2, 1)))
        if len({group for group, _ in shares}) != len(shares):
            raise DecodeError("two shares of one group", AlertDescription.illegal_parameter)
        return cls(tuple(shares))

    def encode(self, writer: Writer, place: Place) -> None:
        if place == Place.HELLO_RETRY_REQUEST:
            writer.u16(self.shares[0][0])
        elif place == Place.SERVER_HELLO_13:
            writer.u16(self.shares[0][0]).vector(self.shares[0][1], 2)
        else:
            with writer.sub(2):
                for group, public in self.shares:
                    writer.u16(group).vector(public, 2)


@frozen
class Cookie:
    """RFC 8446 section 4.2.2: sent in HelloRetryRequest, returned in the second ClientHello."""

    type: ClassVar[ExtensionType] = ExtensionType.cookie
    cookie: bytes

    @classmethod
    def parse(cls, reader: Reader, place: Place) -> Cookie:
        return cls(reader.vector(2, 1))

    def encode(self, writer: Writer, place: Place) -> None:
        writer.vector(self.cookie, 2)


@frozen
class PskKeyExchangeModes:
    """RFC 8446 section 4.2.9."""

    type: ClassVar[ExtensionType] = ExtensionType.psk_key_exchange_modes
    modes: bytes

    @classmethod
    def parse(cls, reader: Reader, place: Place) -> PskKeyExchangeModes:
        return cls(reader.vector(1, 1))

    def encode(self, writer: Writer, place: Place) -> None:
        writer.vector(self.modes, 1)


@frozen
class PreSharedKey:
    """RFC 8446 section 4.2.11: the client's identities with ticket ages, and a binder for each.

    It is always the last extension of a ClientHello. The binders cover the hello up to themselves.
    """

    type: ClassVar[ExtensionType] = ExtensionType.pre_shared_key
    identities: tuple[tuple[bytes, int], ...]
    binders: tuple[bytes, ...] = field(repr=False)

    @classmethod
    def parse(cls, reader: Reader, place: Place) -> PreSharedKey:
        block = reader.sub(2, 7)
        identities = []
        while block.remaining:
            identities.append((block.vector(2, 1), block.uint(4)))
        # A binder that is too short does not verify, if the server checks it at all.
        binders = reader.vectors(1, 2, 0, 1)
        if len(binders) != len(identities):
            raise DecodeError(
                "the numbers of binders and PSKs differ", AlertDescription.illegal_parameter
            )
        return cls(tuple(identities), tuple(binders))

    def encode(self, writer: Writer, place: Place) -> None:
        with writer.sub(2):
            for identity, age in self.identities:
                writer.vector(identity, 2).uint(age, 4)
        with writer.sub(2):
            for binder in self.binders:
                writer.vector(binder, 1)

    @property
    def binders_length(self) -> int:
        """How many bytes at the end of the ClientHello are not covered by the binders."""
        return 2 + sum(1 + len(binder) for binder in self.binders)


@frozen
class SelectedPsk:
    """RFC 8446 section 4.2.11: the server's choice among the client's identities."""

    type: ClassVar[ExtensionType] = ExtensionType.pre_shared_key
    index: int

    @classmethod
    def parse(cls, reader: Reader, place: Place) -> SelectedPsk:
        return cls(reader.u16())

    def encode(self, writer: Writer, place: Place) -> None:
        writer.u16(self.index)


@frozen
class RecordSizeLimit:
    """RFC 8449 section 4: the largest plaintext that the sender accepts. In DTLS 1.3 the content
    type counts too.
    """

    type: ClassVar[ExtensionType] = ExtensionType.record_size_limit
    limit: int

    @classmethod
    def parse(cls, reader: Reader, place: Place) -> RecordSizeLimit:
        limit = reader.u16()
        if limit < 64:
            raise DecodeError("record_size_limit below 64", AlertDescription.illegal_parameter)
        return cls(limit)

    def encode(self, writer: Writer, place: Place) -> None:
        writer.u16(self.limit)
