"""pyOpenSSL's memory BIO: OpenSSL's DTLS without sockets and without a loop."""

from __future__ import annotations

import contextlib
import time
from functools import cache

from aiodtls_side import MESSAGE, configs
from cryptography import x509
from OpenSSL import SSL


def new_server_context() -> SSL.Context:
    context = SSL.Context(SSL.DTLS_METHOD)
    [credentials] = configs()[1].credential_list
    context.use_certificate(x509.load_der_x509_certificate(credentials.chain[0]))
    context.use_privatekey(credentials.private_key)
    return context


server_context = cache(new_server_context)


def connection(context: SSL.Context, *, is_client: bool) -> SSL.Connection:
    made = SSL.Connection(context)
    made.set_ciphertext_mtu(1472)
    if is_client:
        made.set_connect_state()
    else:
        made.set_accept_state()
    return made


def move(source: SSL.Connection, target: SSL.Connection) -> None:
    with contextlib.suppress(SSL.WantReadError):
        while True:
            target.bio_write(source.bio_read(65535))


def handshake() -> tuple[SSL.Connection, SSL.Connection]:
    client = connection(SSL.Context(SSL.DTLS_METHOD), is_client=True)
    server = connection(server_context(), is_client=False)
    for _ in range(4):
        for near, far in ((client, server), (server, client)):
            with contextlib.suppress(SSL.WantReadError):
                near.do_handshake()
            move(near, far)
    return client, server


def openssl_memory_handshakes(count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        handshake()
    return 1e6 * (time.perf_counter() - start) / count


def openssl_memory_one_way(count: int) -> float:
    client, server = handshake()
    start = time.perf_counter()
    for _ in range(count):
        client.send(MESSAGE)
        server.bio_write(client.bio_read(65535))
        server.recv(65535)
    return 1e6 * (time.perf_counter() - start) / count
