"""The options of the command line, and the DTLSConfig made from them."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from aiodtls._version import __version__
from aiodtls.core.config import VERSIONS, DTLSConfig
from aiodtls.core.crypto.credentials import Credentials
from aiodtls.core.crypto.trust import Trust
from aiodtls.core.errors import ConfigError
from aiodtls.core.pre_shared_keys import PSK


def parser() -> argparse.ArgumentParser:
    """``aiodtls demo``, ``serve HOST:PORT``, ``connect HOST:PORT``, ``proxy --listen ...``."""
    top = argparse.ArgumentParser(prog="aiodtls", description="DTLS from the command line.")
    top.add_argument("--version", action="version", version=f"aiodtls {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    demo = commands.add_parser("demo", help="a server and a client over UDP, with what happened")
    demo.add_argument("--messages", type=int, default=5, help="messages to echo (default 5)")
    demo.add_argument("--burst", type=int, default=2000, help="messages of the burst")
    serve = commands.add_parser("serve", help="a server that echoes what it receives")
    connect = commands.add_parser("connect", help="sends lines of standard input, shows replies")
    scan = commands.add_parser("scan", help="what a server takes, graded against the RFCs")
    scan.add_argument("--server-hostname", help="the name to ask for and to check (default: HOST)")
    scan.add_argument("--alpn", type=_names, metavar="LIST", help="ALPN protocol names to offer")
    scan.add_argument("--json", action="store_true", help="one JSON object, for machines")
    trace = commands.add_parser("trace", help="draws what --trace has written, as a ladder")
    trace.add_argument("files", nargs="+", metavar="FILE", help="of one side, or of both")
    trace.add_argument("--svg", metavar="FILE", help="draw into this file, as SVG")
    trace.add_argument("--timers", action="store_true", help="show when timers are set and stopped")
    trace.set_defaults(json=False)
    for command in (serve, connect, scan):
        command.add_argument("address", type=address, metavar="HOST:PORT")
    serve.add_argument(
        "--self-signed", action="store_true", help="make a certificate, and show how to connect"
    )
    serve.add_argument(
        "--workers", type=int, metavar="N", help="serve in so many processes (Linux)"
    )
    connect.add_argument(
        "--wait",
        type=float,
        default=1.0,
        metavar="SECONDS",
        help="how long to wait for replies after the end of input (default 1)",
    )
    proxy = commands.add_parser("proxy", help="a gateway between DTLS and plain UDP")
    _add_proxy(proxy)
    for command in (demo, serve, connect, proxy):
        _add_common(command)
    for command in (connect, proxy):
        _add_server_name(command)
    return top


def _add_server_name(command: argparse.ArgumentParser) -> None:
    command.add_argument("--server-hostname", help="the name to check (default: HOST)")
    command.add_argument(
        "--fingerprint",
        metavar="PRINT",
        action="append",
        help="that of the server's certificate, as serve or openssl show it",
    )


def _add_proxy(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add(
        "--listen",
        type=address,
        metavar="HOST:PORT",
        help="where peers come in; sockets that a service manager passes on go before it",
    )
    add("--upstream", type=address, metavar="HOST:PORT", required=True, help="where they go to")
    add(
        "--client",
        action="store_true",
        help="plain UDP comes in, and the upstream speaks DTLS (default: the other way round)",
    )
    add("--max-peers", type=_count, default=10_000, metavar="N", help="at a time (default 10000)")
    add(
        "--idle-timeout",
        type=_seconds,
        default=300.0,
        metavar="SECONDS",
        help="after which a peer without traffic is closed; 0 for never (default 300)",
    )
    add(
        "--drain-timeout",
        type=_seconds,
        default=10.0,
        metavar="SECONDS",
        help="how long peers may finish after SIGTERM (default 10)",
    )
    add(
        "--proxy-protocol",
        action="store_true",
        help="begin each datagram to the upstream with a PROXY protocol header, version 2",
    )
    add(
        "--prometheus",
        type=address,
        metavar="HOST:PORT",
        help="answer scrapes there; needs aiodtls[prometheus]",
    )


def _add_common(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--cert", metavar="FILE", help="our certificate chain, PEM, leaf first")
    add("--key", metavar="FILE", help="its private key, PEM (default: in the file of --cert)")
    add("--key-password-file", metavar="FILE", help="the first line is the password of the key")
    add("--key-password-env", metavar="NAME", help="an environment variable with that password")
    add("--raw-public-key", action="store_true", help="use --key as a raw public key (RFC 7250)")
    add("--public-key", metavar="FILE", action="append", help="raw public keys to trust, PEM")
    add("--cafile", metavar="FILE", action="append", help="certificates to trust, PEM")
    add("--insecure", action="store_true", help="accept any certificate of the peer")
    add("--psk", type=_psk, metavar="IDENTITY:HEXKEY", help="a pre-shared key")
    add("--psk-file", metavar="FILE", help="lines of IDENTITY:HEXKEY, for a server")
    add("--versions", type=_names, metavar="LIST", help=f"of {','.join(VERSIONS)}")
    add("--cipher-suites", type=_names, metavar="LIST", help="IANA names, by commas")
    add("--groups", type=_names, metavar="LIST", help="such as x25519,secp256r1")
    add("--alpn", type=_names, metavar="LIST", help="ALPN protocol names")
    add("--pmtu", type=int, default=1500, metavar="BYTES", help="the whole IP packet")
    add("--connection-id", type=int, metavar="BYTES", help="the length of our connection ids")
    add("--client-auth", choices=("none", "optional", "required"), default="none")
    add("--keylog", metavar="FILE", help="write secrets in the SSLKEYLOGFILE format")
    add("--trace", metavar="DIRECTORY", help="write what happens there, for aiodtls trace")
    add("--json", action="store_true", help="one JSON object a line, for programs")
    add("--loss", type=_percent, default=0.0, metavar="PERCENT", help="drop outgoing datagrams")
    add("--retransmit-initial", type=float, default=1.0, metavar="SECONDS")
    add("--handshake-timeout", type=float, default=64.0, metavar="SECONDS")


def address(text: str) -> tuple[str, int]:
    """``HOST:PORT``. An IPv6 address must be in brackets."""
    host, separator, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise argparse.ArgumentTypeError(f"write an IPv6 address in brackets: [{host}]:{port}")
    if not separator or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host, int(port)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _percent(text: str) -> float:
    value = float(text)
    if not 0 <= value < 100:
        raise argparse.ArgumentTypeError("a loss of 0 to below 100 percent")
    return value


def _count(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 1 or more")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, 0 or more")
    return value


def _psk(text: str) -> PSK:
    identity, separator, key = text.rpartition(":")
    try:
        if separator:
            return PSK(identity, bytes.fromhex(key))
    except ValueError:
        pass
    # The text contains a key, so the message does not repeat it.
    raise argparse.ArgumentTypeError("expected IDENTITY:HEXKEY")


def _psk_file(path: str) -> dict[bytes, bytes | PSK]:
    keys: dict[bytes, bytes | PSK] = {}
    for number, line in enumerate(Path(path).read_text().splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            psk = _psk(text)
        except argparse.ArgumentTypeError as error:
            raise ConfigError(f"{path}, line {number}: {error}") from None
        keys[psk.identity] = psk
    return keys


def _credentials(options: argparse.Namespace) -> list[Credentials]:
    if options.key and not (options.cert or options.raw_public_key):
        raise ConfigError("--key needs --cert, or --raw-public-key")
    if options.raw_public_key and not options.key:
        raise ConfigError("--raw-public-key needs --key")
    password = _password(options)
    if password is not None and not options.cert and not options.key:
        raise ConfigError("a password needs --key, or --cert")
    made = []
    if getattr(options, "self_signed", False):
        if options.cert:
            raise ConfigError("--self-signed or --cert, not both")
        names = dict.fromkeys(filter(None, ("localhost", "127.0.0.1", "::1", options.address[0])))
        made.append(Credentials.self_signed(*names))
    if options.cert:
        made.append(Credentials.from_files(options.cert, options.key, password))
    if options.raw_public_key:
        made.append(Credentials.raw_public_key(options.key, password))
    return made


def _password(options: argparse.Namespace) -> str | None:
    """The password of the key. It is no argument, because other users see those."""
    file, variable = options.key_password_file, options.key_password_env
    if file and variable:
        raise ConfigError("--key-password-file or --key-password-env, not both")
    if file:
        return next(iter(Path(file).read_text().splitlines()), "")
    if variable:
        if variable not in os.environ:
            raise ConfigError(f"--key-password-env: there is no environment variable {variable}")
        return os.environ[variable]
    return None


def config(options: argparse.Namespace, **more: Any) -> DTLSConfig:
    """The config for the options. Raises :class:`ConfigError` and OSError."""
    chosen: dict[str, Any] = {
        "versions": options.versions,
        "cipher_suites": options.cipher_suites,
        "groups": options.groups,
        "alpn_protocols": options.alpn or (),
        "pmtu": options.pmtu,
        "client_auth": options.client_auth,
        "connection_id": options.connection_id,
        "keylog": options.keylog,
        "trace": options.trace,
        "retransmit_initial": options.retransmit_initial,
        "handshake_timeout": options.handshake_timeout,
    }
    chosen["credentials"] = _credentials(options)
    if options.insecure:
        chosen["trust"] = Trust.insecure()
    else:
        trusts = [Trust.from_files(*options.cafile)] if options.cafile else []
        trusts += [Trust.public_keys(*options.public_key)] if options.public_key else []
        prints = getattr(options, "fingerprint", None)
        trusts += [Trust.fingerprints(*prints)] if prints else []
        chosen["trust"] = trusts or None
    if options.psk and options.psk_file:
        raise ConfigError("--psk or --psk-file, not both")
    if options.psk:
        chosen["psk"] = options.psk
    elif options.psk_file:
        chosen["psk"] = _psk_file(options.psk_file)
    return DTLSConfig(**{**chosen, **more})
