"""What a live association may still do while its exported state lies in a store.

Whoever adopts the state begins behind the lease: behind its record numbers, and with the handshake
messages that it names. So nothing of one key is used twice, whichever of the two goes on
(RFC 5116 section 3.1).
"""

from __future__ import annotations

from dataclasses import dataclass

from aiodtls.core.wire.records import EPOCH_SHIFT

# Numbers of each lease that data leaves to alerts, acknowledgements and path checks.
CONTROL_RESERVE = 16
MIN_RECORDS = 64
# DTLS 1.3 sends 16 bits of the number: a few leases may be skipped in a row, and the peer still
# guesses the rest rightly (RFC 9147 section 4.2.2).
MAX_RECORDS = 8192


def check_size(records: int) -> None:
    """Raises ValueError for a lease that is too short to be used, or too long to be skipped."""
    if not MIN_RECORDS <= records <= MAX_RECORDS:
        raise ValueError(f"a lease has {MIN_RECORDS} to {MAX_RECORDS} records, not {records}")


@dataclass(frozen=True, slots=True)
class Lease:
    """What one export leaves to the exporter.

    ``end`` is the record number that ours must stay below, ``received_end`` the one from which on
    the peer's data is not taken. Of handshake messages the state knows the next numbers,
    ``send_seq`` and ``receive_seq``, and so many ``messages`` to be sent from ``send_seq`` on.
    """

    records: int
    end: int
    received_end: int
    send_seq: int
    receive_seq: int
    messages: int

    @property
    def epoch(self) -> int:
        """Ours, whose records are leased."""
        return self.end >> EPOCH_SHIFT

    @property
    def data_end(self) -> int:
        return self.end - CONTROL_RESERVE

    @property
    def half(self) -> int:
        """The record number of ours from which on a newer export is wanted."""
        return self.end - self.records // 2

    @property
    def received_half(self) -> int:
        """The peer's, likewise."""
        return self.received_end - self.records // 2
