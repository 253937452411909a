"""ClientHellos that wait until the owner of a listener accepts their addresses.

There is one for each address, the newest. All together are bounded, so unvalidated peers displace
only each other. They get no answer meanwhile.
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

# The memory of an entry besides its datagram: an IPv6 address, the bytes object, its place in the
# table.
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
        """Keeps a complete ClientHello, which replaces an older one of its address.

        ``limit`` is how many bytes all may have, overhead included; the oldest are dropped. Returns
        False for a hello that is longer than a record.
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
        """Removes and returns the datagram of the hello from an address; None without one."""
        datagram = self._datagrams.pop(address, None)
        if datagram is not None:
            self._bytes -= len(datagram) + OVERHEAD
        return datagram
