"""DTLS 1.3 secrets of both roles, and the keys of epochs 2, 3 and up.

A handshake walks down the key schedule (``crypto/key_schedule.py``) once. This module knows which
messages each secret covers (RFC 8446 section 7.1), and which epoch it protects (RFC 9147
section 6.1).
"""

from __future__ import annotations

import hmac

from aiodtls.core.crypto.key_schedule import KeySchedule, TrafficKeys, verify_data
from aiodtls.core.crypto.suites import Suite
from aiodtls.core.crypto.transcript import Transcript
from aiodtls.core.errors import AlertError
from aiodtls.core.handshake.script import Handshake
from aiodtls.core.record.protection13 import RecordReader13, RecordWriter13
from aiodtls.core.record.traffic import APPLICATION_EPOCH, ApplicationTraffic
from aiodtls.core.registry import AlertDescription
from aiodtls.core.wire.messages import Finished

HANDSHAKE_EPOCH = 2
# RFC 8446 section 4.4.3. DTLS 1.3 has the same strings.
CLIENT_CONTEXT = b"TLS 1.3, client CertificateVerify"
SERVER_CONTEXT = b"TLS 1.3, server CertificateVerify"


def signed_content(context: bytes, transcript_hash: bytes) -> bytes:
    """The data that a CertificateVerify signs (RFC 8446 section 4.4.3)."""
    return b" " * 64 + context + b"\0" + transcript_hash


def server_reader(
    suite: Suite,
    psk: bytes | None,
    shared_secret: bytes | None,
    transcript: Transcript,
    replay_window: int,
) -> RecordReader13:
    """Opens a server's records of epoch 2, if its transcript up to ServerHello is this one."""
    schedule = KeySchedule(suite.hash_name, psk)
    schedule.advance(shared_secret)
    secret = schedule.derive(b"s hs traffic", transcript.hash(suite.hash_name))
    return RecordReader13(HANDSHAKE_EPOCH, TrafficKeys.derive(suite, secret), replay_window)


class Secrets13:
    """One handshake's secrets, from the top of the key schedule to its end."""

    __slots__ = ("_hs", "_is_client", "_own", "_peer", "_schedule", "_suite")

    def __init__(self, hs: Handshake, suite: Suite, psk: bytes | None, *, is_client: bool) -> None:
        self._hs = hs
        self._suite = suite
        self._is_client = is_client
        self._schedule = KeySchedule(suite.hash_name, psk)
        self._own = self._peer = b""

    def protect_handshake(self, shared_secret: bytes | None) -> None:
        """Called when the transcript ends with ServerHello. Installs the keys of epoch 2."""
        self._schedule.advance(shared_secret)
        self._own, self._peer = self._traffic_secrets(b"hs", "HANDSHAKE_TRAFFIC_SECRET")
        hs, suite = self._hs, self._suite
        own_cid, peer_cid = hs.negotiated.own_cid, hs.negotiated.peer_cid
        keys = TrafficKeys.derive(suite, self._peer)
        reader = RecordReader13(HANDSHAKE_EPOCH, keys, hs.config.replay_window, own_cid)
        hs.install_read(HANDSHAKE_EPOCH, reader)
        keys = TrafficKeys.derive(suite, self._own)
        hs.install_write(HANDSHAKE_EPOCH, RecordWriter13(HANDSHAKE_EPOCH, keys, peer_cid))

    def finished(self) -> Finished:
        """Our Finished, over all messages so far (RFC 8446 section 4.4.4)."""
        digest = self._hs.transcript.hash(self._suite.hash_name)
        return Finished(verify_data(self._suite.hash_name, self._own, digest))

    def check_finished(self, finished: Finished) -> None:
        """Checks the peer's Finished, the newest message of the transcript. Raises
        :class:`AlertError`.
        """
        digest = self._hs.transcript.hash_before_last(self._suite.hash_name)
        expected = verify_data(self._suite.hash_name, self._peer, digest)
        if not hmac.compare_digest(expected, finished.verify_data):
            message = "the peer's Finished does not verify"
            raise AlertError(AlertDescription.decrypt_error, message, reason="wrong_finished")

    def derive_application(self) -> ApplicationTraffic:
        """Derives the secrets of application data. The transcript ends with the server's Finished.

        From now on a server sends under them (RFC 8446 section 4.4.4). Until the handshake is
        complete that can only be an alert.
        """
        self._schedule.advance(None)
        own, peer = self._traffic_secrets(b"ap", "TRAFFIC_SECRET", "_0")
        hs = self._hs
        digest = hs.transcript.hash(self._suite.hash_name)
        exporter = self._schedule.derive(b"exp master", digest)
        hs.config.log_secret("EXPORTER_SECRET", hs.negotiated.client_random, exporter)
        hs.negotiated.exporter_secret = exporter
        traffic = ApplicationTraffic(
            self._suite,
            own,
            peer,
            hs.config.replay_window,
            own_cid=hs.negotiated.own_cid,
            peer_cid=hs.negotiated.peer_cid,
        )
        if not self._is_client:
            hs.install_write(APPLICATION_EPOCH, traffic.writer())
        return traffic

    def protect_application(self, traffic: ApplicationTraffic) -> None:
        """Called when the transcript ends with the client's Finished. Epoch 3 begins."""
        hs = self._hs
        digest = hs.transcript.hash(self._suite.hash_name)
        hs.negotiated.resumption_secret = self._schedule.derive(b"res master", digest)
        hs.negotiated.traffic = traffic
        if self._is_client:
            hs.install_write(APPLICATION_EPOCH, traffic.writer())
        hs.install_read(APPLICATION_EPOCH, traffic.reader())

    def _traffic_secrets(self, stage: bytes, label: str, suffix: str = "") -> tuple[bytes, bytes]:
        """Our secret and the peer's."""
        hs = self._hs
        digest = hs.transcript.hash(self._suite.hash_name)
        client = self._schedule.derive(b"c " + stage + b" traffic", digest)
        server = self._schedule.derive(b"s " + stage + b" traffic", digest)
        client_random = hs.negotiated.client_random
        hs.config.log_secret(f"CLIENT_{label}{suffix}", client_random, client)
        hs.config.log_secret(f"SERVER_{label}{suffix}", client_random, server)
        return (client, server) if self._is_client else (server, client)
