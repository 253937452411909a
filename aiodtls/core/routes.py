"""Which association a datagram is for: by connection id first, else by address.

An address has at most two, the live one and a shadow, a newer handshake of the same peer. An
association that bears ids may lose its address to another: then it is found by its ids alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from aiodtls.core.config import DTLSConfig
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.errors import ConfigError, DTLSError
from aiodtls.core.outbox import Address
from aiodtls.core.record.connection_ids import NO_IDS, ConnectionIds, IdTable

# Bytes of a connection id of ours, where nothing is said and a peer asks for one.
DEFAULT_CID_LENGTH = 8


class Routes:
    """All associations of one socket, in the order in which they came."""

    def __init__(self, config: DTLSConfig | None, random: Callable[[int], bytes]) -> None:
        self._random = random
        # Of all connection ids here; 0 until there are any.
        self.cid_length = _own_length(config, DEFAULT_CID_LENGTH) if config is not None else 0
        self._all: dict[DTLSConnection, None] = {}
        self._live: dict[Address, DTLSConnection] = {}
        self._shadows: dict[Address, DTLSConnection] = {}
        # Which association has an id, in two steps: ids are made where no association is known.
        self._ids: IdTable = {}
        self._with_ids: dict[ConnectionIds, DTLSConnection] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[DTLSConnection]:
        return iter(self._all)

    def __contains__(self, connection: DTLSConnection) -> bool:
        return connection in self._all

    def live(self, addr: Address) -> DTLSConnection | None:
        return self._live.get(addr)

    def shadow(self, addr: Address) -> DTLSConnection | None:
        return self._shadows.get(addr)

    def only(self, addr: Address) -> DTLSConnection | None:
        """The one association of an address; None where there are two, or none."""
        return self._live.get(addr) if addr not in self._shadows else None

    def at(self, addr: Address) -> list[DTLSConnection]:
        """All associations of an address: none, one, or the live one and its shadow."""
        found = (self._live.get(addr), self._shadows.get(addr))
        return [connection for connection in found if connection is not None]

    def by_id(self, cid: bytes) -> DTLSConnection | None:
        ids = self._ids.get(cid)
        return self._with_ids.get(ids) if ids is not None else None

    def new_ids(self, config: DTLSConfig, addr: Address, default: int) -> ConnectionIds:
        """Of the socket's one length, or none: where there is one path, nothing is to be told."""
        length = _own_length(config, default) if addr is not None else 0
        self.cid_length = self.cid_length or length
        return ConnectionIds(self.cid_length, self._random, self._ids) if length else NO_IDS

    def check_length(self, config: DTLSConfig, before: DTLSConfig) -> None:
        """Raises :class:`ConfigError` for another length of connection ids than so far."""
        length = _own_length(config, DEFAULT_CID_LENGTH)
        known = self.cid_length or _own_length(before, DEFAULT_CID_LENGTH)
        if length not in (known, _own_length(before, DEFAULT_CID_LENGTH)):
            raise ConfigError(
                f"connection_id={config.connection_id}: all connection ids of a socket have one "
                f"length, here {known} bytes; another length needs another socket"
            )

    def adopted_ids(self, length: int) -> ConnectionIds:
        """For an association from elsewhere. Raises :class:`DTLSError` for another length."""
        if length and self.cid_length not in (0, length):
            raise DTLSError(
                f"its connection ids have {length} bytes, and this socket's {self.cid_length}: "
                f"connection_id={length} would do"
            )
        self.cid_length = self.cid_length or length
        return ConnectionIds(length, self._random, self._ids) if length else NO_IDS

    def add(self, connection: DTLSConnection) -> DTLSConnection | None:
        """The live one of its address, or the shadow; the shadow before it, which gives way."""
        addr = connection.peer
        self._all[connection] = None
        if connection.own_ids.length:
            self._with_ids[connection.own_ids] = connection
        if addr not in self._live:
            self._live[addr] = connection
            return None
        stale = self._shadows.get(addr)
        self._shadows[addr] = connection
        return stale

    def promote(self, connection: DTLSConnection) -> DTLSConnection | None:
        """A shadow becomes the live one; the one before it, where that gives way.

        One that bears ids, and is another peer's by all that was proved, has only lost its address:
        a NAT gave it to somebody else.
        """
        addr = connection.peer
        if self._shadows.get(addr) is not connection:
            return None
        del self._shadows[addr]
        before = self._live[addr]
        self._live[addr] = connection
        if (
            before.own_ids.expected
            and not before.closed
            and _identity(before) != _identity(connection)
        ):
            return None
        return before

    def move(self, connection: DTLSConnection, before: Address) -> None:
        """Its peer's address was ``before``. Who has the new one keeps it, unless it bears ids."""
        self._leave(connection, before)
        there = self._live.get(connection.peer)
        if there is None or there.own_ids.expected or there.closed:
            self._live[connection.peer] = connection

    def remove(self, connection: DTLSConnection) -> None:
        del self._all[connection]
        connection.own_ids.release()
        self._with_ids.pop(connection.own_ids, None)
        self._leave(connection, connection.peer)

    def _leave(self, connection: DTLSConnection, addr: Address) -> None:
        """A shadow that is left alone at the address becomes the live one."""
        if self._shadows.get(addr) is connection:
            del self._shadows[addr]
        elif self._live.get(addr) is connection:
            shadow = self._shadows.pop(addr, None)
            if shadow is None:
                del self._live[addr]
            else:
                self._live[addr] = shadow


def _own_length(config: DTLSConfig, default: int) -> int:
    return default if config.connection_id is None else config.connection_id


def _identity(connection: DTLSConnection) -> object:
    """Who the peer has proved to be; the same for all that prove nothing."""
    negotiated = connection.negotiated
    return negotiated.peer_chain, negotiated.psk_identity
