"""aiortc's DTLS transport, with our DTLS in the place of OpenSSL's."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any, ClassVar, cast

import pylibsrtp
from aiortc import clock
from aiortc.rtcdtlstransport import (
    DataReceiver,
    RTCCertificate,
    RTCDtlsParameters,
    RTCDtlsTransport,
    State,
)
from aiortc.rtcicetransport import RTCIceTransport
from aiortc.rtp import is_rtcp
from aiortc.stats import RTCStatsReport

from aiodtls import (
    ConfigError,
    Credentials,
    DTLSConfig,
    DTLSEndpoint,
    DTLSError,
    DTLSProtocol,
    EndpointClosed,
    Trust,
    profiles,
)
from aiodtls.contrib.aiortc.ice import PEER, ICEDatagramTransport
from aiodtls.events import Closed
from aiodtls.profiles import FieldsWithoutTrust

logger: logging.Logger = logging.getLogger("aiodtls.aiortc")

# First bytes of datagrams (RFC 7983).
DTLS, SRTP = range(20, 64), range(128, 192)
# How many messages are kept for a data channel that is not set up yet. A peer may send its first
# ones right after its side of the handshake.
MAX_EARLY_MESSAGES = 64
NORMAL_ENDS = ("close_notify", "local")


class DTLSTransport(RTCDtlsTransport):
    """An ``RTCDtlsTransport`` that uses aiodtls. ``install`` lets aiortc make these.

    A program that uses aiortc's ORTC classes may also make it itself, with the arguments of
    ``RTCDtlsTransport``.
    """

    # Fields of the config that differ from ``profiles.webrtc``. ``install`` makes a subclass.
    config_fields: ClassVar[FieldsWithoutTrust] = {}

    def __init__(self, transport: RTCIceTransport, certificates: list[RTCCertificate]) -> None:
        super().__init__(transport, certificates)
        self._certificate = certificates[0]
        self._carrier = ICEDatagramTransport(transport)
        self._protocol: DTLSProtocol | None = None
        self._endpoint: DTLSEndpoint | None = None
        self._messages: deque[bytes] = deque()
        self._is_delivering = False
        self._deliverer: asyncio.Task[None] | None = None
        self._packets_received = 0
        self._bytes_received = 0

    @property
    def endpoint(self) -> DTLSEndpoint | None:
        """The association, once its handshake is complete."""
        return self._endpoint

    # -- called by aiortc ---------------------------------------------------------------------

    async def start(self, remoteParameters: RTCDtlsParameters) -> None:  # noqa: N803
        """Performs the handshake. Afterwards ``state`` is "connected" or "failed"."""
        assert self.state == "new"
        if self._role == "auto":
            self._set_role("server" if self.transport.role == "controlling" else "client")
        self._set_state(State.CONNECTING)
        protocol = self._protocol = DTLSProtocol(self._config(remoteParameters))
        protocol.connection_made(self._carrier)
        self._task = asyncio.ensure_future(self._receive_all(protocol))
        handshake = protocol.accept if self._role == "server" else protocol.connect
        try:
            endpoint = await handshake(PEER, on_event=self._on_event, on_data=self._on_data)
        except (DTLSError, OSError) as error:
            logger.info("the handshake as %s failed: %s", self._role, error)
            if self.state == "connecting":
                self._set_state(State.FAILED)
            return
        if self.state != "connecting":
            return
        self._endpoint = endpoint
        self.encrypted = True
        self._ssl = cast(Any, _Exporter(endpoint))
        self._setup_srtp()
        if self.state == "failed":
            endpoint.close()
            return
        self._set_state(State.CONNECTED)
        await self._deliver()

    async def stop(self) -> None:
        """Sends a close_notify, and uses the ICE transport no more."""
        protocol, self._protocol = self._protocol, None
        if protocol is None:
            return
        # The state comes first, because it tells the event of this end from one of the peer's.
        if self.state != "failed":
            self._set_state(State.CLOSED)
        protocol.close()
        await self._carrier.flush()
        self._stop_tasks()

    def _register_data_receiver(self, receiver: DataReceiver) -> None:
        super()._register_data_receiver(receiver)
        if self._messages:
            self._deliverer = asyncio.ensure_future(self._deliver())

    async def _send_data(self, data: bytes) -> None:
        if self.state != "connected" or self._endpoint is None:
            raise ConnectionError("the DTLS transport is not connected: nothing can be sent")
        await self._endpoint.send(data, split=False)
        await self._carrier.flush()

    def _get_stats(self) -> RTCStatsReport:
        report = super()._get_stats()
        # What aiortc itself has counted is the SRTP that was sent.
        stats = report[self._stats_id]
        stats.packetsSent += self._carrier.packets_sent
        stats.bytesSent += self._carrier.bytes_sent
        stats.packetsReceived += self._packets_received
        stats.bytesReceived += self._bytes_received
        return report

    # -- the handshake ------------------------------------------------------------------------

    def _config(self, remote: RTCDtlsParameters) -> DTLSConfig:
        certificate = self._certificate
        fields: FieldsWithoutTrust = {
            "credentials": Credentials.from_objects(certificate._key, [certificate._cert]),
            "srtp_profiles": [_iana_name(p.openssl_profile) for p in self._srtp_profiles],
        }
        return profiles.webrtc(trust=_trust_in(remote), **(fields | self.config_fields))

    # -- receiving ----------------------------------------------------------------------------

    async def _receive_all(self, protocol: DTLSProtocol) -> None:
        """Reads from ICE until it is closed. A failed handshake is read on too, because the alert
        is repeated for a peer that has missed it.
        """
        try:
            while True:
                data = await self.transport._recv()
                self._packets_received += 1
                self._bytes_received += len(data)
                if data and data[0] in DTLS:
                    protocol.datagram_received(data, PEER)
                    await self._deliver()
                elif data and data[0] in SRTP and self._rx_srtp:
                    await self._receive_srtp(data)
        except ConnectionError:
            logger.debug("ICE is closed")
        except Exception:
            logger.exception("data of the peer could not be processed")
        protocol.abort()

    async def _receive_srtp(self, data: bytes) -> None:
        arrival_time_ms = clock.current_ms()
        try:
            if is_rtcp(data):
                await self._handle_rtcp_data(self._rx_srtp.unprotect_rtcp(data))
            else:
                packet = self._rx_srtp.unprotect(data)
                await self._handle_rtp_data(packet, arrival_time_ms=arrival_time_ms)
        except pylibsrtp.Error as error:
            logger.debug("an SRTP packet was dropped: %s", error)

    def _on_data(self, endpoint: DTLSEndpoint, data: bytes) -> None:
        if self._data_receiver is None and len(self._messages) >= MAX_EARLY_MESSAGES:
            logger.debug("a message was dropped: no data channel is set up yet")
            return
        self._messages.append(data)

    async def _deliver(self) -> None:
        """Gives the messages to the data channels, if they are set up. Their function is async."""
        if self._is_delivering:
            return
        self._is_delivering = True
        try:
            while self._messages and self._data_receiver is not None:
                await self._data_receiver._handle_data(self._messages.popleft())
        except ConnectionError:
            logger.debug("an answer could not be sent: the association has ended")
        except Exception:
            logger.exception("a message of the peer could not be processed")
            if self._endpoint is not None:
                self._endpoint.close()
        finally:
            self._is_delivering = False

    # -- the end ------------------------------------------------------------------------------

    def _on_event(self, endpoint: DTLSEndpoint, event: object) -> None:
        if isinstance(event, Closed) and self.state == "connected":
            error = event.error
            is_normal = isinstance(error, EndpointClosed) and error.reason in NORMAL_ENDS
            logger.info("the association has ended: %s", error)
            for receiver in self._rtp_router.receivers:
                receiver._handle_disconnect()
            self._set_state(State.CLOSED if is_normal else State.FAILED)

    def _stop_tasks(self) -> None:
        for task in (self._task, self._deliverer):
            if task is not None and task is not asyncio.current_task():
                task.cancel()
        self._task = None


class _Exporter:
    """What aiortc asks of pyOpenSSL to set up SRTP."""

    def __init__(self, endpoint: DTLSEndpoint) -> None:
        self._endpoint = endpoint

    def get_selected_srtp_profile(self) -> bytes:
        profile = self._endpoint.srtp_profile
        return b"" if profile is None else profile.replace("_HMAC_", "_").encode()

    def export_keying_material(self, label: bytes, length: int) -> bytes:
        return self._endpoint.export_keying_material(label.decode(), length)


def _iana_name(openssl_name: bytes) -> str:
    return openssl_name.decode().replace("_CM_SHA1", "_CM_HMAC_SHA1")


def _trust_in(remote: RTCDtlsParameters) -> Trust:
    """The peer's certificate must have the fingerprint in its SDP (RFC 8122 section 5).

    A malformed fingerprint matches no certificate. So the handshake is refused, and the peer is
    told.
    """
    texts = [f"{print_.algorithm} {print_.value}" for print_ in remote.fingerprints]
    try:
        return Trust.fingerprints(*texts, match="sdp")
    except ConfigError as error:
        logger.info("no certificate can match the peer's fingerprints: %s", error)
        return Trust.from_function(_refuse, check_name=False)


def _refuse(*_: Any) -> bool:
    return False
