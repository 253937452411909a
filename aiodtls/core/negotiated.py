"""What a handshake agreed on, by name; and the keys exported from it.

Scripts note what they agree on here as they go. After the handshake nobody changes it, but for the
connection ids, the traffic keys and the session, which go on with post-handshake messages.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from aiodtls.core.crypto import key_schedule, prf
from aiodtls.core.crypto.srtp import (
    LABEL,
    SRTPKeys,
    keying_material_length,
    split_keying_material,
)
from aiodtls.core.crypto.suites import Suite
from aiodtls.core.errors import DTLSError
from aiodtls.core.record.traffic import ApplicationTraffic, TrafficSecrets
from aiodtls.core.registry import CertificateType, NamedGroup, SRTPProtectionProfile
from aiodtls.core.sessions import Session


@dataclass(slots=True)
class Negotiated:
    """The negotiated facts of one association; None or empty until they are known."""

    client_random: bytes = b""
    server_random: bytes = b""
    version: str | None = None
    suite: Suite | None = None
    group: NamedGroup | None = None
    server_hostname: str | None = None
    # What of itself each side shows, where it shows anything (RFC 7250).
    own_certificate_type: CertificateType = CertificateType.X509
    peer_certificate_type: CertificateType = CertificateType.X509
    # A raw public key stands in it alone, as SubjectPublicKeyInfo.
    peer_chain: tuple[bytes, ...] = ()
    psk_identity: bytes | None = None
    psk_identity_hint: bytes | None = None
    alpn_protocol: bytes | None = None
    srtp_profile: SRTPProtectionProfile | None = None
    # What the server stapled to its certificate.
    ocsp_response: bytes = b""
    certificate_timestamps: tuple[bytes, ...] = ()
    extended_master_secret: bool = False
    # The connection ids that records of the peer's, and of ours, bear first (RFC 9146); and
    # whether return routability can be checked (RFC 9853).
    own_cid: bytes = b""
    peer_cid: bytes = b""
    rrc: bool = False
    # Whether the handshake resumed a session; of a full one the time is not known yet.
    resumed: bool = False
    authenticated_at: float = 0.0
    psk_check: bytes = field(default=b"", repr=False)
    # A client's, to resume with.
    session: Session | None = field(default=None, repr=False)
    # Whether the client of a DTLS 1.3 handshake can use tickets.
    wants_tickets: bool = False
    master_secret: bytes = field(default=b"", repr=False)
    # Of DTLS 1.3, where they stand for the master secret.
    exporter_secret: bytes = field(default=b"", repr=False)
    resumption_secret: bytes = field(default=b"", repr=False)
    traffic: ApplicationTraffic | None = field(default=None, repr=False)

    @property
    def is_dtls13(self) -> bool:
        return self.version == "1.3"

    @property
    def cipher_suite(self) -> str | None:
        """The IANA name."""
        return self.suite.name if self.suite else None

    @property
    def group_name(self) -> str | None:
        """The IANA name; None for a suite without (EC)DHE."""
        return self.group.name if self.group is not None else None

    @property
    def peer_certificate_chain(self) -> tuple[bytes, ...]:
        """DER, the peer's own first; empty where it showed none, or a raw public key."""
        return self.peer_chain if self.peer_certificate_type is CertificateType.X509 else ()

    @property
    def peer_raw_public_key(self) -> bytes | None:
        """SubjectPublicKeyInfo, DER, where the peer showed that alone (RFC 7250)."""
        return None if self.peer_certificate_chain else next(iter(self.peer_chain), None)

    @property
    def alpn_name(self) -> str | None:
        """The protocol as text."""
        protocol = self.alpn_protocol
        return protocol.decode("utf-8", "replace") if protocol is not None else None

    @property
    def srtp_profile_name(self) -> str | None:
        """The IANA name."""
        return self.srtp_profile.name if self.srtp_profile is not None else None

    def traffic_secrets(self, *, next_keys: bool) -> TrafficSecrets | None:
        """DTLS 1.3: what another process goes on with; with ``next_keys`` under our next ones."""
        return self.traffic.snapshot(next_keys=next_keys) if self.traffic is not None else None

    def restore_traffic(self, secrets: TrafficSecrets, replay_window: int) -> ApplicationTraffic:
        """DTLS 1.3: goes on from a snapshot."""
        assert self.suite is not None
        self.traffic = ApplicationTraffic(
            self.suite,
            secrets.own,
            secrets.peer,
            replay_window,
            secrets.read_epoch,
            secrets.write_epoch,
            self.own_cid,
            self.peer_cid,
        )
        return self.traffic

    def export_keying_material(self, label: str, length: int, context: bytes | None) -> bytes:
        """See ``DTLSConnection.export_keying_material``; the handshake is complete."""
        assert self.suite is not None
        hash_name = self.suite.hash_name
        if self.is_dtls13:
            return key_schedule.exporter(
                hash_name, self.exporter_secret, label.encode(), length, context or b""
            )
        if not self.extended_master_secret:
            raise DTLSError("without extended_master_secret there is no exporter")
        randoms = self.client_random, self.server_random
        return prf.exporter(
            hash_name, self.master_secret, *randoms, label.encode(), length, context
        )

    def srtp_keys(self) -> SRTPKeys:
        """Master keys and salts of DTLS-SRTP (RFC 5764); the handshake is complete."""
        profile = self.srtp_profile
        if profile is None:
            raise DTLSError("use_srtp was not negotiated")
        material = self.export_keying_material(LABEL, keying_material_length(profile), None)
        return split_keying_material(profile, material)
