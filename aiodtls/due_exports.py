"""Which associations of a server need an export, for whoever stores their states."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable

from aiodtls.channel import Channel
from aiodtls.core.errors import DTLSError, LeaseExhausted
from aiodtls.endpoint import DTLSEndpoint

# Ended associations that are remembered until somebody asks for them.
MAX_ENDED = 100_000


class DueExports:
    """The associations that have no lease yet, or that wait for a newer export.

    The one that has waited longest comes first.
    """

    def __init__(self, channels: Iterable[Channel]) -> None:
        self._due: dict[Channel, None] = {}
        self._ended: deque[tuple[bytes, str]] = deque(maxlen=MAX_ENDED)
        for channel in channels:
            self.add(channel)

    def __len__(self) -> int:
        return len(self._due)

    def add(self, channel: Channel) -> None:
        if channel.connection.role == "server" and channel.connection.handshake_complete:
            self._due[channel] = None

    def end(self, channel: Channel) -> None:
        """The association has ended."""
        self._due.pop(channel, None)
        association, _ = channel.connection.export_id
        if association:
            self._ended.append((association, getattr(channel.connection.failure, "reason", "")))

    def take_ended(self) -> list[tuple[bytes, str]]:
        """Removes and returns the associations that have ended after an export, with the reason."""
        ended = list(self._ended)
        self._ended.clear()
        return ended

    def export(self, key: bytes, limit: int, lease: int) -> list[tuple[DTLSEndpoint, bytes]]:
        """Exports up to ``limit`` associations. Those that cannot be exported now stay due.

        Raises ValueError for a bad key or lease.
        """
        exported: list[tuple[DTLSEndpoint, bytes]] = []
        for channel in list(self._due):
            if len(exported) == limit:
                break
            self._due.pop(channel, None)
            if channel.connection.closed:
                continue
            try:
                state = channel.export_state(key, lease=lease)
            except LeaseExhausted:
                # The peer could not follow another adopter. New keys begin the count anew.
                with contextlib.suppress(DTLSError):
                    channel.update_keys()
                self._due[channel] = None
            except DTLSError:
                # The peer owes an acknowledgement.
                self._due[channel] = None
            except ValueError:
                self._due[channel] = None
                raise
            else:
                exported.append((DTLSEndpoint.of(channel), state))
        return exported
