"""DTLS without asyncio: the sans-IO core over plain blocking sockets.

A server in a thread echoes what a client sends. ``aiodtls.core`` touches no socket and no clock:
this program passes datagrams and times in, and sends what waits to be sent.
"""

import socket
import threading
from time import monotonic
from typing import Any

from aiodtls import Credentials, DTLSConfig, Trust
from aiodtls.core import DTLSConnection, Listener, VerificationRequested

CREDENTIALS = Credentials.self_signed("localhost")


def send(sock: socket.socket, core: DTLSConnection | Listener) -> None:
    waiting: list[tuple[bytes, Any]] = core.datagrams_to_send()
    for datagram, addr in waiting:
        sock.sendto(datagram, addr)


def exchange(sock: socket.socket, core: DTLSConnection | Listener) -> None:
    """Sends what waits, then takes one datagram in, or lets the next timer pass."""
    send(sock, core)
    due = core.next_timeout()
    sock.settimeout(None if due is None else max(0.001, due - monotonic()))
    try:
        core.receive_datagram(*sock.recvfrom(65535), monotonic())
    except TimeoutError:
        core.handle_timeout(monotonic())


def take_events(connection: DTLSConnection) -> None:
    """A certificate chain is verified here and now; other events need nothing done."""
    while (event := connection.next_event()) is not None:
        if isinstance(event, VerificationRequested):
            connection.answer(event, event.verify(), monotonic())


def serve(sock: socket.socket) -> None:
    """Echoes until the first peer has closed its association."""
    listener, closed = Listener(DTLSConfig(credentials=CREDENTIALS)), False
    while not closed:
        exchange(sock, listener)
        for connection in listener.ready():
            take_events(connection)
            while (message := connection.read()) is not None:
                connection.send(message, monotonic())
            send(sock, connection)
            closed = closed or connection.closed


def ask(sock: socket.socket, server: tuple[str, int], message: bytes) -> bytes | None:
    """Sends a message once the handshake is complete, and returns the answer."""
    config = DTLSConfig(trust=Trust.fingerprints(CREDENTIALS.fingerprint()))
    connection = DTLSConnection.client(config, server, monotonic())
    while (answer := connection.read()) is None and not connection.closed:
        take_events(connection)
        if connection.handshake_complete and not connection.statistics.records_sent:
            connection.send(message, monotonic())
        exchange(sock, connection)
    print(f"DTLS {connection.version}, {connection.cipher_suite}")
    connection.close(monotonic())
    send(sock, connection)
    return answer


if __name__ == "__main__":
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server_socket,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client_socket,
    ):
        server_socket.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=serve, args=(server_socket,))
        thread.start()
        print(ask(client_socket, server_socket.getsockname(), b"hello"))
        thread.join()
