"""Finds the association of a datagram: by connection id, else by address.

An address has at most two associations: the live one, and a shadow, which is a newer handshake of
the same peer. An association with connection ids may lose its address to another one. Then only its
ids identify it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

from aiodtls.core.config import DTLSConfig
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.errors import ConfigError, DTLSError
from aiodtls.core.id_layout import IdLayout
from aiodtls.core.outbox import Address
from aiodtls.core.record.connection_ids import NO_IDS, ConnectionIds, IdTable

# The length of our connection ids, if the configuration does not say and a peer offers ids.
DEFAULT_CID_LENGTH = 8


class Routes:
    """All associations of one socket, in the order in which they were added."""

    def __init__(
        self,
        config: DTLSConfig | None,
        random: Callable[[int], bytes],
        layout: IdLayout | None = None,
    ) -> None:
        self._layout = layout
        self._make_id = functools.partial(layout.new, random=random) if layout else random
        # The length of ids, if the configuration of a server does not say.
        self.default_length: int = layout.length if layout is not None else DEFAULT_CID_LENGTH
        # The length of all our connection ids on this socket; 0 until there are any.
        self.cid_length: int = self._checked_length(config) if config is not None else 0
        self._all: dict[DTLSConnection, None] = {}
        self._live: dict[Address, DTLSConnection] = {}
        self._shadows: dict[Address, DTLSConnection] = {}
        # The owner of each id. An id is made before its association is known here, so there are two
        # tables.
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
        """The only association of an address; None if there are two or none."""
        return self._live.get(addr) if addr not in self._shadows else None

    def at(self, addr: Address) -> list[DTLSConnection]:
        """All associations of an address: none, one, or the live one and its shadow."""
        found = (self._live.get(addr), self._shadows.get(addr))
        return [connection for connection in found if connection is not None]

    def by_id(self, cid: bytes) -> DTLSConnection | None:
        ids = self._ids.get(cid)
        return self._with_ids.get(ids) if ids is not None else None

    @property
    def has_layout(self) -> bool:
        """Whether ids of ours can be told from junk."""
        return self._layout is not None

    def is_junk(self, cid: bytes) -> bool:
        """Whether an id was not made with a secret of the layout, neither here nor elsewhere."""
        return self._layout is not None and self._layout.owner_of(cid) is None

    def new_ids(self, config: DTLSConfig, addr: Address, default: int) -> ConnectionIds:
        """Connection ids of this socket's length. None are needed if only one peer can send
        here.
        """
        length = _own_length(config, default) if addr is not None else 0
        if not self.cid_length and self._layout is not None:
            self._layout.check_length(length)
        self.cid_length = self.cid_length or length
        return ConnectionIds(self.cid_length, self._make_id, self._ids) if length else NO_IDS

    def check_length(self, config: DTLSConfig, before: DTLSConfig) -> None:
        """Raises :class:`ConfigError` if the new configuration has another length of connection
        ids.
        """
        length, length_before = self._checked_length(config), self._checked_length(before)
        known = self.cid_length or length_before
        if length not in (known, length_before):
            raise ConfigError(
                f"connection_id={config.connection_id}: all connection ids of a socket have one "
                f"length, here {known} bytes; another length needs another socket"
            )

    def adopted_ids(self, length: int) -> ConnectionIds:
        """The ids of an adopted association. Raises :class:`DTLSError` for another length."""
        if length and self.cid_length not in (0, length):
            raise DTLSError(
                f"its connection ids have {length} bytes, and this socket's {self.cid_length}: "
                f"connection_id={length} would do"
            )
        self.cid_length = self.cid_length or length
        return ConnectionIds(length, self._make_id, self._ids) if length else NO_IDS

    def _checked_length(self, config: DTLSConfig) -> int:
        length = _own_length(config, self.default_length)
        if self._layout is not None:
            self._layout.check_length(length)
        return length

    def add(self, connection: DTLSConnection) -> DTLSConnection | None:
        """Adds a connection as the live one of its address, or as the shadow.

        Returns the earlier shadow, which it replaces, or None.
        """
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
        """Makes a shadow the live one. Returns the earlier live one if it is replaced, or None.

        If the earlier one has connection ids and another proved identity, it stays and only loses
        the address: a NAT has given that to another peer.
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
        """Registers a connection at its new address; ``before`` was the old one.

        An association that is at the new address already keeps it, unless it has connection ids.
        """
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
        """Removes a connection from an address. A shadow that remains becomes the live one."""
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
    """The peer's proved identity. All peers without one compare equal."""
    negotiated = connection.negotiated
    return negotiated.peer_chain, negotiated.psk_identity
