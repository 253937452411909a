"""python-mbedtls: Mbed TLS's DTLS 1.2 in memory, through its buffers."""

from __future__ import annotations

import contextlib
import datetime

from mbedtls import hashlib, pk, tls, x509

from benchmarks.common import MESSAGE, Cost, repeated

SUITE = "TLS-ECDHE-ECDSA-WITH-AES-128-GCM-SHA256"
CLIENT = b"client"


def contexts() -> tuple[tls.ClientContext, tls.ServerContext]:
    """Client's and server's, with a certificate that the client knows."""
    key = pk.ECC(pk.Curve.SECP256R1)
    key.generate()
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    request = x509.CSR.new(key, "CN=localhost", hashlib.sha256())
    certificate = x509.CRT.selfsign(
        request,
        key,
        not_before=now - datetime.timedelta(days=1),
        not_after=now + datetime.timedelta(days=30),
        serial_number=1,
        basic_constraints=x509.BasicConstraints(True, -1),
    )
    trust = tls.TrustStore()
    trust.add(certificate)
    client = tls.DTLSConfiguration(trust_store=trust, ciphers=(SUITE,))
    server = tls.DTLSConfiguration(
        certificate_chain=([certificate], key), ciphers=(SUITE,), validate_certificates=False
    )
    return tls.ClientContext(client), tls.ServerContext(server)


def move(source: tls.TLSWrappedBuffer, target: tls.TLSWrappedBuffer) -> None:
    data = source.peek_outgoing(65535)
    if data:
        source.consume_outgoing(len(data))
        target.receive_from_network(data)


def handshake(
    both: tuple[tls.ClientContext, tls.ServerContext],
) -> tuple[tls.TLSWrappedBuffer, tls.TLSWrappedBuffer]:
    """With its cookie, which cannot be had without."""
    client, server = both[0].wrap_buffers("localhost"), both[1].wrap_buffers()
    server.setcookieparam(CLIENT)
    over = tls.HandshakeStep.HANDSHAKE_OVER
    while client._handshake_state is not over or server._handshake_state is not over:
        for is_client in (True, False):
            near, far = (client, server) if is_client else (server, client)
            try:
                with contextlib.suppress(tls.WantReadError, tls.WantWriteError):
                    if near._handshake_state is not over:
                        near.do_handshake()
            except tls.HelloVerifyRequest:
                move(server, client)
                server.shutdown()
                server = both[1].wrap_buffers()
                server.setcookieparam(CLIENT)
                break
            move(near, far)
    return client, server


def memory_handshakes(count: int) -> Cost:
    both = contexts()
    return repeated(lambda: handshake(both), count)


def memory_one_way(count: int) -> Cost:
    client, server = handshake(contexts())

    def one() -> None:
        client.write(MESSAGE)
        move(client, server)
        server.read(65535)

    return repeated(one, count)
