"""Sockets that share a port, and the packet filter that chooses among them.

The kernel keeps the sockets of a port in the order in which they were bound, and moves the last one
into the place of one that closes. So the supervisor binds all of them and holds them while the
group lives.

The filter is classic BPF, which needs no privilege. It reads the steering byte of a connection id,
in a record of type tls12_cid (RFC 9146 section 4) or with the unified header (RFC 9147 section 4).
For anything else it names a socket that does not exist, and the kernel takes its hash of the
addresses.
"""

from __future__ import annotations

import ctypes
import os
import socket
import sys
from collections.abc import Sequence
from struct import Struct

from aiodtls.core.errors import DTLSError
from aiodtls.core.id_layout import IdLayout
from aiodtls.net import sockets as udp
from aiodtls.net.transports import ENVIRONMENT

# From asm-generic/socket.h; the socket module lacks it.
SO_ATTACH_REUSEPORT_CBPF = 51
# From linux/bpf_common.h: what is loaded, compared, computed and returned.
_LOAD_LENGTH, _LOAD_BYTE = 0x80, 0x30
_JUMP, _IF_EQUAL, _IF_AT_LEAST = 0x05, 0x15, 0x35
_AND, _MODULO = 0x54, 0x94
_RETURN, _RETURN_RESULT = 0x06, 0x16
_INSTRUCTION = Struct("=HBBI")
_PROGRAM = Struct("@HP")
NO_SOCKET = 0xFFFF_FFFF
# The first bytes of the two kinds of records, and where their connection id begins.
TLS12_CID, CID_AT = 25, 11
UNIFIED_MASK, UNIFIED_WITH_ID, UNIFIED_ID_AT = 0xF0, 0x30, 1

Instruction = tuple[int, int, int, int]


def steering_program(slots: int) -> list[Instruction]:
    """The instructions: operation, jump if true, jump if false, operand."""
    at = IdLayout.steering_offset
    return [
        (_LOAD_LENGTH, 0, 0, 0),
        # A load beyond the end would choose socket 0.
        (_IF_AT_LEAST, 0, 9, CID_AT + at + 1),
        (_LOAD_BYTE, 0, 0, 0),
        (_IF_EQUAL, 0, 2, TLS12_CID),
        (_LOAD_BYTE, 0, 0, CID_AT + at),
        (_JUMP, 0, 0, 3),
        (_AND, 0, 0, UNIFIED_MASK),
        (_IF_EQUAL, 0, 3, UNIFIED_WITH_ID),
        (_LOAD_BYTE, 0, 0, UNIFIED_ID_AT + at),
        (_MODULO, 0, 0, slots),
        (_RETURN_RESULT, 0, 0, 0),
        (_RETURN, 0, 0, NO_SOCKET),
    ]


def attach(sock: socket.socket, slots: int) -> None:
    """Steers the datagrams of the port of ``sock``. Raises OSError."""
    instructions = [_INSTRUCTION.pack(*each) for each in steering_program(slots)]
    code = ctypes.create_string_buffer(b"".join(instructions))
    program = _PROGRAM.pack(len(instructions), ctypes.addressof(code))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, program)


async def bind(host: str | None, port: int, slots: int) -> list[list[socket.socket]]:
    """The sockets of each slot, one for each address of ``host``. The filter is attached.

    Raises:
        DTLSError: The system cannot steer datagrams.
        OSError: The name cannot be resolved, or an address cannot be bound.
    """
    if sys.platform != "linux" or os.environ.get(ENVIRONMENT) == "plain":
        raise DTLSError(
            f"a group of workers needs Linux and the batching transport, not {sys.platform} with "
            f"{ENVIRONMENT}={os.environ.get(ENVIRONMENT, '')}"
        )
    bound: list[list[socket.socket]] = []
    try:
        first = udp.bind_all(await udp.resolve(host or None, port, passive=True), reuse_port=True)
        bound.append(first)
        addresses = [(int(sock.family), sock.getsockname()) for sock in first]
        for _ in range(1, slots):
            bound.append(udp.bind_all(addresses, reuse_port=True))
        for sock in first:
            attach(sock, slots)
    except BaseException:
        close(bound)
        raise
    return bound


def close(bound: Sequence[Sequence[socket.socket]]) -> None:
    for sockets in bound:
        for sock in sockets:
            sock.close()
