"""ClientHellos that wait until the owner of a listener accepts their addresses.

One for each address, the newest; all together within a bound, so that strangers displace strangers
and nothing else. Nothing is answered meanwhile.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from aiodtls.core.wire.fragments import encode_whole
from aiodtls.core.wire.records import (
    CLIENT_HELLO,
    HANDSHAKE,
    MAX_PLAINTEXT_LENGTH,
    encode_record,
)

# Bytes of an entry beside its datagram: an IPv6 address, the bytes object, its place in the table.
OVERHEAD = 400


class HeldHellos:
    """Datagrams by address, the oldest first."""

    __slots__ = ("_bytes", "_datagrams")

    def __init__(self) -> None:
        self._bytes = 0
        self._datagrams: OrderedDict[Hashable, bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._datagrams)

    def keep(
        self, address: Hashable, body: bytes, message_seq: int, record_number: int, limit: int
    ) -> bool:
        """Keeps a whole ClientHello, in the place of an older one of its address.

        ``limit`` is the bytes that all may have, overhead counted: the oldest give way. False for
        a hello that is longer than a record.
        """
        fragment = encode_whole(CLIENT_HELLO, message_seq, body)
        if len(fragment) > MAX_PLAINTEXT_LENGTH:
            return False
        self.take(address)
        datagram = encode_record((HANDSHAKE, record_number, fragment))
        self._datagrams[address] = datagram
        self._bytes += len(datagram) + OVERHEAD
        while self._bytes > limit:
            self.take(next(iter(self._datagrams)))
        return True

    def take(self, address: Hashable) -> bytes | None:
        """The datagram of the hello from there, which is no longer kept; None without one."""
        datagram = self._datagrams.pop(address, None)
        if datagram is not None:
            self._bytes -= len(datagram) + OVERHEAD
        return datagram
