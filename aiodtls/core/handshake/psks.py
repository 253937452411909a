"""The keys in pre_shared_key of DTLS 1.3: external ones, imported ones, and those of sessions.

An external key is offered as it is, for the hash that it is bound to. An imported key (RFC 9258) is
never used itself: each hash of our cipher suites gets a derived key, whose identity contains
everything that it is derived from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import field
from typing import TypeAlias

from aiodtls.core.config import DTLSConfig
from aiodtls.core.crypto.key_schedule import (
    KeySchedule,
    hkdf_expand_label,
    hkdf_extract,
    verify_data,
)
from aiodtls.core.crypto.suites import SUITES
from aiodtls.core.crypto.transcript import Transcript
from aiodtls.core.errors import DecodeError
from aiodtls.core.frozen import frozen
from aiodtls.core.handshake.authenticate import find_psk
from aiodtls.core.handshake.script import Handshake, Step
from aiodtls.core.pre_shared_keys import PSK
from aiodtls.core.registry import ProtocolVersion
from aiodtls.core.sessions import Session
from aiodtls.core.wire.codec import Reader, Writer

SUITE_HASHES = {"SHA256": "sha256", "SHA384": "sha384"}
HASH_LENGTHS = {"sha256": 32, "sha384": 48}
# TLS KDF Identifiers registry (RFC 9258 section 10): HKDF_SHA256 and HKDF_SHA384.
KDF_IDENTIFIERS = {"sha256": 0x0001, "sha384": 0x0002}
EXTERNAL_BINDER = b"ext binder"
IMPORTED_BINDER = b"imp binder"
RESUMPTION_BINDER = b"res binder"
DERIVED_LABEL = b"derived psk"


# How many of a client's offers are looked at. Each may be a question to the application.
MAX_PSKS = 8


@frozen
class ImportedIdentity:
    """RFC 9258 section 5.1. Its encoding is the identity on the wire."""

    external_identity: bytes
    context: bytes
    target_kdf: int
    target_protocol: int = ProtocolVersion.DTLSv1_3

    @classmethod
    def parse(cls, identity: bytes) -> ImportedIdentity | None:
        """Parses an identity. Returns None if it is not such a structure."""
        reader = Reader(identity)
        try:
            external_identity, context = reader.vector(2, 1), reader.vector(2)
            target_protocol, target_kdf = reader.u16(), reader.u16()
            reader.finish()
        except DecodeError:
            return None
        return cls(external_identity, context, target_kdf, target_protocol)

    def encode(self) -> bytes:
        writer = Writer().vector(self.external_identity, 2).vector(self.context, 2)
        return writer.u16(self.target_protocol).u16(self.target_kdf).finish()


@frozen
class OfferedPsk:
    """A key that a ClientHello offers: one of our ``psk``, or of a session's ticket."""

    identity: bytes
    key: bytes = field(repr=False)
    hash_name: str
    binder_label: bytes
    psk: PSK | None = field(default=None, repr=False)
    session: Session | None = field(default=None, repr=False)

    @classmethod
    def external(cls, psk: PSK) -> OfferedPsk:
        return cls(psk.identity, psk.key, SUITE_HASHES[psk.hash], EXTERNAL_BINDER, psk)

    @classmethod
    def imported(cls, psk: PSK, hash_name: str) -> OfferedPsk:
        """Imports ``psk`` for the cipher suites with one hash (RFC 9258 section 5.1)."""
        assert psk.context is not None
        kdf = KDF_IDENTIFIERS[hash_name]
        identity = ImportedIdentity(psk.identity, psk.context, kdf).encode()
        own_hash = SUITE_HASHES[psk.hash]
        digest = hashlib.new(own_hash, identity).digest()
        extracted = hkdf_extract(own_hash, bytes(HASH_LENGTHS[own_hash]), psk.key)
        length = HASH_LENGTHS[hash_name]
        key = hkdf_expand_label(own_hash, extracted, DERIVED_LABEL, digest, length)
        return cls(identity, key, hash_name, IMPORTED_BINDER, psk)

    @classmethod
    def resumption(cls, session: Session, identity: bytes) -> OfferedPsk:
        hash_name = SUITES[session.suite].hash_name
        return cls(identity, session.secret, hash_name, RESUMPTION_BINDER, session=session)

    def obfuscated_age(self, wall_time: float) -> int:
        """The age of a ticket in milliseconds; 0 for other PSKs (RFC 8446 section 4.2.11)."""
        return self.session.ticket_age_at(wall_time) if self.session else 0

    def binder(self, transcript: Transcript, binders_length: int) -> bytes:
        """The binder: it proves possession of the key, and covers the hello that ends
        ``transcript``.
        """
        key = KeySchedule(self.hash_name, self.key).derive(self.binder_label)
        digest = transcript.hash_truncated(self.hash_name, binders_length)
        return verify_data(self.hash_name, key, digest)


def offered_by(config: DTLSConfig) -> tuple[OfferedPsk, ...]:
    """The PSKs that a client offers, in order of preference."""
    psks = config.client_psks()
    if not psks:
        return ()
    hashes = dict.fromkeys(s.hash_name for s in config.suites if s.key_exchange is None)
    offered: list[OfferedPsk] = []
    for psk in psks:
        if psk.context is None:
            if any(map(psk.serves_dtls13, hashes)):
                offered.append(OfferedPsk.external(psk))
        else:
            offered += [OfferedPsk.imported(psk, hash_name) for hash_name in hashes]
    return tuple(offered)


def preference(config: DTLSConfig, identities: Sequence[tuple[bytes, int]]) -> list[int]:
    """The client's offers in the order of the server's ``psk``; a function has the client's order.

    Anybody can make us do this. So no more offers are looked at than later, and a large ``psk`` is
    searched only for a client that knows two of its identities. Tickets come first, because ``psk``
    contains none.
    """
    indexes = range(min(len(identities), MAX_PSKS))
    psks = config.psks or {}
    names = [_wanted(identities[index][0])[0] for index in indexes]
    known = set(names) & psks.keys()
    if len(known) < 2:
        return list(indexes)
    ranks = {identity: rank for rank, identity in enumerate(psks) if identity in known}
    return sorted(indexes, key=lambda index: ranks.get(names[index], -1))


def known_psk(config: DTLSConfig, identity: bytes) -> OfferedPsk | None:
    """A server's key for an identity, if it is known without asking a function."""
    name, _, target = _wanted(identity)
    return _usable((config.psks or {}).get(name), target)


class PskFinder:
    """Finds a server's keys for the identities of one hello. ``psk`` may be a function.

    Each key is asked for once, so an imported one that is offered for two hashes costs one
    question. The number of questions depends on the hello alone.
    """

    def __init__(self, hs: Handshake) -> None:
        self._hs = hs
        self._found: dict[tuple[bytes, bytes | None], PSK | None] = {}

    def find(self, identity: bytes) -> Step[OfferedPsk | None]:
        """The key for an identity; None if it is unknown."""
        name, context, target = _wanted(identity)
        if (name, context) not in self._found:
            self._found[name, context] = yield from find_psk(self._hs, name, context)
        return _usable(self._found[name, context], target)


_Target: TypeAlias = "tuple[ImportedIdentity, str] | None"


def _wanted(identity: bytes) -> tuple[bytes, bytes | None, _Target]:
    """The identity and the context of the PSK behind it, and what it would import."""
    target = _target_of(identity)
    if target is None:
        return identity, None, None
    return target[0].external_identity, target[0].context, target


def _target_of(identity: bytes) -> tuple[ImportedIdentity, str] | None:
    """The imported identity and the hash that it is for; None if it is not imported, or not for
    us.
    """
    imported = ImportedIdentity.parse(identity)
    if imported is None or imported.target_protocol != ProtocolVersion.DTLSv1_3:
        return None
    hashes = (name for name, kdf in KDF_IDENTIFIERS.items() if kdf == imported.target_kdf)
    hash_name = next(hashes, None)
    return (imported, hash_name) if hash_name is not None else None


def _usable(psk: PSK | None, target: _Target) -> OfferedPsk | None:
    """A key imported where the peer would import it, and only there (RFC 9258 section 3)."""
    if psk is None or (psk.context is None) is not (target is None):
        return None
    if target is None:
        return OfferedPsk.external(psk)
    imported, hash_name = target
    derived = OfferedPsk.imported(psk, hash_name)
    return derived if derived.identity == imported.encode() else None
