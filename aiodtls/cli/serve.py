"""``aiodtls serve HOST:PORT``: echoes what it receives."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import pickle
import signal
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from aiodtls import cluster
from aiodtls.cli.loss import drop_outgoing
from aiodtls.cli.options import config
from aiodtls.cli.output import Output, show_address
from aiodtls.core.config import DTLSConfig
from aiodtls.core.crypto.credentials import Credentials
from aiodtls.core.errors import DTLSError, EndpointClosed
from aiodtls.endpoint import DTLSEndpoint
from aiodtls.server import serve


def _show_how_to_connect(output: Output, sockname: Any, config: DTLSConfig) -> None:
    """The line to paste. A wildcard address is reached through the loopback interface."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(sockname[0], sockname[0])  # noqa: S104
    fingerprint = config.credential_list[0].fingerprint()
    address = show_address((host, sockname[1]))
    # The digits alone need no quotes in a shell.
    line = f"aiodtls connect {address} --fingerprint {fingerprint.split()[1]}"
    output.tell("certificate", line, fingerprint=fingerprint, connect=line)


async def run(options: argparse.Namespace, output: Output) -> int:
    """Serves until SIGINT or SIGTERM, in this process or in several."""
    host, port = options.address
    chosen = config(options)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError):
        # Some event loops cannot handle signals. There SIGTERM ends the process at once.
        loop.add_signal_handler(signal.SIGTERM, stop.set)
    if options.workers is not None:
        data = pickle.dumps((options, _credentials_as_pem(options, chosen)))
        async with cluster.run(
            f"{__name__}:work", workers=options.workers, host=host or None, port=port, data=data
        ) as group:
            _show(options, output, chosen, list(group.socknames))
            await _reload_until(stop, group, output)
        return 0
    async with serve(
        functools.partial(_echo, output),
        host or None,
        port,
        config=chosen,
        on_event=output.on_event,
    ) as server:
        _show(options, output, chosen, [sock.getsockname() for sock in server.sockets])
        await stop.wait()
    return 0


async def _reload_until(stop: asyncio.Event, group: cluster.WorkerGroup, output: Output) -> None:
    """Replaces the processes at SIGHUP."""
    loop = asyncio.get_running_loop()
    hung_up = asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, hung_up.set)
    stopping = asyncio.create_task(stop.wait())
    while not stop.is_set():
        reloading = asyncio.create_task(hung_up.wait())
        await asyncio.wait((stopping, reloading), return_when=asyncio.FIRST_COMPLETED)
        reloading.cancel()
        if hung_up.is_set() and not stop.is_set():
            hung_up.clear()
            try:
                await group.reload()
            except DTLSError as error:
                output.tell("error", f"the old processes go on: {error}", error=str(error))
            else:
                output.tell("reloaded", "reloaded", pids=group.pids)


async def work(worker: cluster.Worker) -> None:
    """One of several processes. All have the same certificate."""
    options, pem = pickle.loads(worker.data)  # noqa: S301 - from our own supervisor
    more = {"credentials": [_credentials_from_pem(*pem)]} if pem is not None else {}
    output = Output(as_json=options.json)
    if options.loss:
        drop_outgoing(options.loss)
    async with serve(
        functools.partial(_echo, output),
        config=config(options, **more),
        worker=worker,
        on_event=output.on_event,
    ) as server:
        await server.serve_forever()


async def _echo(output: Output, endpoint: DTLSEndpoint) -> None:
    output.connected(endpoint)
    try:
        while True:
            data = await endpoint.recv()
            if output.as_json:
                output.data(endpoint, data)
            await endpoint.send(data, split=False)
    except EndpointClosed as error:
        output.closed(endpoint.peername, error)


def _show(
    options: argparse.Namespace, output: Output, chosen: DTLSConfig, addresses: list[Any]
) -> None:
    shown = " and ".join(map(show_address, addresses))
    output.tell("serving", f"serving on {shown}", addresses=addresses)
    if options.self_signed:
        _show_how_to_connect(output, addresses[0], chosen)


def _credentials_as_pem(
    options: argparse.Namespace, chosen: DTLSConfig
) -> tuple[bytes, bytes] | None:
    """The key and the certificate that were made for this run; None if they are in files."""
    if not options.self_signed:
        return None
    [made] = chosen.credential_list
    assert isinstance(made.private_key, ec.EllipticCurvePrivateKey)
    forms = Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    certificate = x509.load_der_x509_certificate(made.chain[0])
    return made.private_key.private_bytes(*forms), certificate.public_bytes(Encoding.PEM)


def _credentials_from_pem(key: bytes, certificate: bytes) -> Credentials:
    private_key = load_pem_private_key(key, None)
    assert isinstance(private_key, ec.EllipticCurvePrivateKey)
    return Credentials.from_objects(private_key, [x509.load_pem_x509_certificate(certificate)])
