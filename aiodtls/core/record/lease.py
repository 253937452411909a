"""What a live association may still send and receive while its exported state is stored elsewhere.

An adopter of the state starts after the lease: after its record numbers, and with the handshake
messages that the state names. So no record number of a key is used twice, whichever of the two
continues (RFC 5116 section 3.1).
"""

from __future__ import annotations

from dataclasses import dataclass

from aiodtls.core.wire.records import EPOCH_SHIFT

# Record numbers of each lease that data leaves for alerts, ACKs and path checks.
CONTROL_RESERVE = 16
MIN_RECORDS = 64
# DTLS 1.2 sends whole record numbers.
MAX_RECORDS = 1 << 20
# DTLS 1.3 sends 16 bits of the number, and the peer takes the closest number that ends in them
# (RFC 9147 section 4.2.2). So all numbers that adopters skip before the peer is known to have
# followed stay below half of that range together.
MAX_RECORDS_13 = 1 << 13
MAX_SKIPPED_13 = 1 << 15


def check_size(records: int, *, is_dtls13: bool) -> None:
    """Raises ValueError for a lease that is too short to be useful or too long to be skipped."""
    most = MAX_RECORDS_13 if is_dtls13 else MAX_RECORDS
    if not MIN_RECORDS <= records <= most:
        raise ValueError(f"a lease has {MIN_RECORDS} to {most} records, not {records}")


@dataclass(frozen=True, slots=True)
class Lease:
    """What one export leaves to the exporter.

    Attributes:
        end: our record numbers must stay below this one.
        received_end: data of the peer with this record number or a higher one is dropped.
        send_seq: the message_seq of our next handshake message, as the state knows it.
        receive_seq: the message_seq of the peer's next handshake message, as the state knows it.
        messages: how many handshake messages the state still has to send from ``send_seq`` on.
    """

    records: int
    end: int
    received_end: int
    send_seq: int
    receive_seq: int
    messages: int

    @property
    def epoch(self) -> int:
        """The epoch of our records that are leased."""
        return self.end >> EPOCH_SHIFT

    @property
    def data_end(self) -> int:
        return self.end - CONTROL_RESERVE

    @property
    def half(self) -> int:
        """Once our next record number reaches this one, a newer export is due."""
        return self.end - self.records // 2

    @property
    def received_half(self) -> int:
        """Once the peer's newest record number reaches this one, a newer export is due."""
        return self.received_end - self.records // 2
