"""Usage limits of the keys of an AEAD (RFC 9147 section 4.5.3): what follows when one is reached.

DTLS 1.3 updates keys at half of a limit, and the association ends at the limit. DTLS 1.2 cannot
update keys: there the owner is told, and ``DTLSConfig.key_limit`` decides.
"""

from __future__ import annotations

from aiodtls.core.config import DTLSConfig
from aiodtls.core.events import KeyLimitReached
from aiodtls.core.frozen import frozen
from aiodtls.core.negotiated import Negotiated
from aiodtls.core.record.epochs import RecordWriter
from aiodtls.core.record.layer import RecordLayer

# With a shorter tag the forgery limit is so low that anybody could end the association by forging.
SAFE_TAG_LENGTH = 16


@frozen
class LimitReached:
    """``event`` tells the owner. ``ends`` tells whether the association has to end."""

    event: KeyLimitReached
    ends: bool


def sent(writer: RecordWriter, config: DTLSConfig, negotiated: Negotiated) -> LimitReached | None:
    """After a record was sent: whether half of the limit of our keys is used, or all of it.

    Also in DTLS 1.2 no record number is used twice, whatever the configuration.
    """
    if writer.next_number < writer.limit_alarm:
        return None
    exhausted, overflows = writer.check_limit()
    ends = exhausted and _is_strict(config, negotiated)
    return LimitReached(KeyLimitReached("sent", exhausted), ends or overflows)


def forged(layer: RecordLayer, config: DTLSConfig, negotiated: Negotiated) -> LimitReached:
    """The record layer is alarmed: half of the integrity limit of the peer's keys is reached, or
    all of it.
    """
    assert negotiated.suite is not None
    safe = negotiated.suite.aead.tag_length >= SAFE_TAG_LENGTH
    exhausted = layer.take_alarm()
    ends = exhausted and safe and _is_strict(config, negotiated)
    return LimitReached(KeyLimitReached("forged", exhausted), ends)


def _is_strict(config: DTLSConfig, negotiated: Negotiated) -> bool:
    return negotiated.is_dtls13 or config.key_limit == "close"
