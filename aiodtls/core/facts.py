"""What a handshake came to, as the owner of a connection sees it: names, not code points."""

from __future__ import annotations

from aiodtls.core.crypto import key_schedule, prf
from aiodtls.core.crypto.srtp import (
    LABEL,
    SRTPKeys,
    keying_material_length,
    split_keying_material,
)
from aiodtls.core.errors import DTLSError, HandshakeError
from aiodtls.core.handshake.script import Negotiated
from aiodtls.core.record.connection_ids import ConnectionIds
from aiodtls.core.registry import CertificateType
from aiodtls.core.sessions import Session


class NegotiatedFacts:
    """The negotiated properties of a connection, and the keys exported from it."""

    __slots__ = ()

    negotiated: Negotiated
    handshake_complete: bool
    own_ids: ConnectionIds

    @property
    def version(self) -> str | None:
        """ "1.2" or "1.3"; None before it is chosen, like all of these."""
        return self.negotiated.version

    @property
    def cipher_suite(self) -> str | None:
        """The IANA name."""
        suite = self.negotiated.suite
        return suite.name if suite else None

    @property
    def group(self) -> str | None:
        """The IANA name; None for a suite without (EC)DHE."""
        group = self.negotiated.group
        return group.name if group is not None else None

    @property
    def peer_certificate_chain(self) -> tuple[bytes, ...]:
        """DER, the peer's own first; empty where it showed none, or a raw public key."""
        is_chain = self.negotiated.peer_certificate_type is CertificateType.X509
        return self.negotiated.peer_chain if is_chain else ()

    @property
    def peer_raw_public_key(self) -> bytes | None:
        """SubjectPublicKeyInfo, DER, where the peer showed that alone (RFC 7250)."""
        return None if self.peer_certificate_chain else next(iter(self.negotiated.peer_chain), None)

    @property
    def psk_identity(self) -> bytes | None:
        """The identity that the client named."""
        return self.negotiated.psk_identity

    @property
    def psk_identity_hint(self) -> bytes | None:
        """The server's hint (RFC 4279 section 5.2), as a client got it."""
        return self.negotiated.psk_identity_hint

    @property
    def server_hostname(self) -> str | None:
        """The name that the client asked for."""
        return self.negotiated.server_hostname

    @property
    def alpn_protocol(self) -> str | None:
        protocol = self.negotiated.alpn_protocol
        return protocol.decode("utf-8", "replace") if protocol is not None else None

    @property
    def srtp_profile(self) -> str | None:
        """The IANA name."""
        profile = self.negotiated.srtp_profile
        return profile.name if profile is not None else None

    @property
    def own_cid(self) -> bytes:
        """The connection id that the peer's records bear; empty for none."""
        return next(iter(self.own_ids), b"") if self.own_ids.expected else b""

    @property
    def peer_cid(self) -> bytes:
        """The connection id that our records bear; empty for none."""
        return self.negotiated.peer_cid

    @property
    def resumed(self) -> bool:
        """Whether an earlier session went on."""
        return self.negotiated.resumed

    @property
    def session(self) -> Session | None:
        """What a client may resume with: the newest."""
        return self.negotiated.session

    @property
    def client_random(self) -> bytes:
        """What tells one ClientHello from another; empty before it is known."""
        return self.negotiated.client_random

    def export_keying_material(
        self, label: str, length: int, context: bytes | None = None
    ) -> bytes:
        """Keying material for another protocol (RFC 5705, RFC 8446 section 7.5), ``length`` bytes.

        Raises :class:`HandshakeError` before the handshake is complete, :class:`DTLSError` without
        extended_master_secret, whose absence makes it unsafe (RFC 7627 section 5.4), and
        ValueError for a label that TLS itself uses, or a length that cannot be. In DTLS 1.3 no
        context is an empty one.
        """
        negotiated = self.negotiated
        if not self.handshake_complete or negotiated.suite is None:
            raise HandshakeError("the handshake is not complete")
        if negotiated.version == "1.3":
            return key_schedule.exporter(
                negotiated.suite.hash_name,
                negotiated.exporter_secret,
                label.encode(),
                length,
                context or b"",
            )
        if not negotiated.extended_master_secret:
            raise DTLSError("without extended_master_secret there is no exporter")
        return prf.exporter(
            negotiated.suite.hash_name,
            negotiated.master_secret,
            negotiated.client_random,
            negotiated.server_random,
            label.encode(),
            length,
            context,
        )

    def srtp_keys(self) -> SRTPKeys:
        """Master keys and salts of DTLS-SRTP (RFC 5764). Raises :class:`DTLSError` without it."""
        profile = self.negotiated.srtp_profile
        if profile is None:
            raise DTLSError("use_srtp was not negotiated")
        material = self.export_keying_material(LABEL, keying_material_length(profile))
        return split_keying_material(profile, material)
