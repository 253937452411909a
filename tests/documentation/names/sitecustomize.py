"""Names under .example lead to the server of the tests, whatever port is asked for."""

import os
import socket

_getaddrinfo = socket.getaddrinfo


def _lookup(host, port, *arguments, **options):
    if isinstance(host, str) and host.endswith(".example"):
        if options.get("family") == socket.AF_INET6 or (
            arguments and arguments[0] == socket.AF_INET6
        ):
            raise socket.gaierror(socket.EAI_NONAME, "no IPv6 address")
        host, port = "127.0.0.1", int(os.environ["AIODTLS_EXAMPLE_PORT"])
    return _getaddrinfo(host, port, *arguments, **options)


socket.getaddrinfo = _lookup
