"""The values that a handshake negotiated, by name, and the keys exported from them.

Scripts store values here as they agree on them. After the handshake they do not change, except for
the connection ids, the traffic keys and the session, which post-handshake messages change.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

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
from aiodtls.core.registry import (
    CertificateType,
    NamedGroup,
    SRTPProtectionProfile,
    Version,
)
from aiodtls.core.sessions import Session


@dataclass(slots=True)
class Negotiated:
    """The negotiated values of one association; None or empty until they are known."""

    client_random: bytes = b""
    server_random: bytes = b""
    version: Version | None = None
    suite: Suite | None = None
    group: NamedGroup | None = None
    server_hostname: str | None = None
    # The certificate type of each side (RFC 7250).
    own_certificate_type: CertificateType = CertificateType.X509
    peer_certificate_type: CertificateType = CertificateType.X509
    # A raw public key is the only element, as SubjectPublicKeyInfo.
    peer_chain: tuple[bytes, ...] = ()
    psk_identity: bytes | None = None
    # What the application has with the PSK.
    psk_user_data: Any = field(default=None, repr=False)
    psk_identity_hint: bytes | None = None
    alpn_protocol: bytes | None = None
    srtp_profile: SRTPProtectionProfile | None = None
    # The OCSP response that the server sent with its certificate.
    ocsp_response: bytes = b""
    certificate_timestamps: tuple[bytes, ...] = ()
    extended_master_secret: bool = False
    # The connection ids in the peer's records and in ours (RFC 9146), and whether return
    # routability checks were agreed on (RFC 9853).
    own_cid: bytes = b""
    peer_cid: bytes = b""
    rrc: bool = False
    # Whether the handshake resumed a session, and when that session's first handshake was, in
    # seconds since 1970; 0 in a full handshake.
    resumed: bool = False
    authenticated_at: float = 0.0
    psk_check: bytes = field(default=b"", repr=False)
    # Of a server: the id under which its store has this session, and the hash under which it has
    # the client's chain.
    stored_id: bytes = field(default=b"", repr=False)
    chain_hash: bytes = field(default=b"", repr=False)
    # A client's session, to resume with.
    session: Session | None = field(default=None, repr=False)
    # Whether the client of a DTLS 1.3 handshake can use tickets.
    wants_tickets: bool = False
    master_secret: bytes = field(default=b"", repr=False)
    # In DTLS 1.3 these replace the master secret.
    exporter_secret: bytes = field(default=b"", repr=False)
    resumption_secret: bytes = field(default=b"", repr=False)
    traffic: ApplicationTraffic | None = field(default=None, repr=False)

    @property
    def is_dtls13(self) -> bool:
        return self.version == "1.3"

    @property
    def cipher_suite(self) -> str | None:
        """The IANA name of the suite."""
        return self.suite.name if self.suite else None

    @property
    def group_name(self) -> str | None:
        """The IANA name of the group; None for a suite without (EC)DHE."""
        return self.group.name if self.group is not None else None

    @property
    def peer_certificate_chain(self) -> tuple[bytes, ...]:
        """DER, the peer's own certificate first. Empty without certificates or for a raw public
        key.
        """
        return self.peer_chain if self.peer_certificate_type is CertificateType.X509 else ()

    @property
    def peer_raw_public_key(self) -> bytes | None:
        """The peer's raw public key as SubjectPublicKeyInfo in DER (RFC 7250); None if it has
        none.
        """
        return None if self.peer_certificate_chain else next(iter(self.peer_chain), None)

    @property
    def alpn_name(self) -> str | None:
        """The protocol name as text."""
        protocol = self.alpn_protocol
        return protocol.decode("utf-8", "replace") if protocol is not None else None

    @property
    def srtp_profile_name(self) -> str | None:
        """The IANA name of the profile."""
        return self.srtp_profile.name if self.srtp_profile is not None else None

    def forget_session(self) -> None:
        """Of a client: the session is not to be resumed."""
        self.session = None

    def take_stored_id(self) -> bytes:
        """Of a server: returns the id of its stored session, and forgets it; empty for none."""
        stored_id, self.stored_id = self.stored_id, b""
        return stored_id

    def traffic_secrets(self, *, next_keys: bool) -> TrafficSecrets | None:
        """DTLS 1.3: the secrets for another process. With ``next_keys`` it continues under our next
        keys.
        """
        return self.traffic.snapshot(next_keys=next_keys) if self.traffic is not None else None

    def restore_traffic(self, secrets: TrafficSecrets, replay_window: int) -> ApplicationTraffic:
        """DTLS 1.3: continues from a snapshot."""
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
        """See ``DTLSConnection.export_keying_material``. The handshake must be complete."""
        assert self.suite is not None
        hash_name = self.suite.hash_name
        if self.is_dtls13:
            return key_schedule.exporter(
                hash_name, self.exporter_secret, label.encode(), length, context or b""
            )
        if not self.extended_master_secret:
            raise DTLSError("exporting keys needs extended_master_secret, which was not agreed on")
        randoms = self.client_random, self.server_random
        return prf.exporter(
            hash_name, self.master_secret, *randoms, label.encode(), length, context
        )

    def srtp_keys(self) -> SRTPKeys:
        """Master keys and salts of DTLS-SRTP (RFC 5764). The handshake must be complete."""
        profile = self.srtp_profile
        if profile is None:
            raise DTLSError("use_srtp was not negotiated")
        material = self.export_keying_material(LABEL, keying_material_length(profile), None)
        return split_keying_material(profile, material)
