"""When a live association asks for a newer export, and what one that is stored sets free.

An export with a lease (``lease.py``) lets the association go on; whatever an adopter of the stored
state could not know waits until a state that says it is stored: our handshake messages, our new
keys, and the ACK of a message of the peer's. The adopter, on its side, takes no data that the
exporter may have taken before it was gone.
"""

from __future__ import annotations

from aiodtls.core.association import Association
from aiodtls.core.events import ExportNeeded
from aiodtls.core.lease import Lease, Leases
from aiodtls.core.wire.records import EPOCH_SHIFT

# Of a state: its nonce, by which it is known again, stands behind the lineage in the clear.
TOKEN = slice(24, 36)


def lease_of(association: Association, records: int) -> Lease:
    """What an export of now leaves to the association: so many records, or more.

    Until it is known to be stored the association goes on under earlier ones, so whoever adopts it
    begins behind what those leave, too.
    """
    layer, post, driver = association._layer, association._post, association._driver
    next_number = layer.writer.next_number
    if post.new_keys_wait:
        next_number = layer.write_epoch + 1 << EPOCH_SHIFT
    end, received_end = next_number + records, layer.newest_number + 1 + records
    if association._leases is not None:
        earlier = association._leases.newest
        end, received_end = max(end, earlier.end), max(received_end, earlier.received_end)
    return Lease(
        records,
        end,
        received_end,
        driver.next_seq,
        driver.next_receive_seq,
        len(post.waiting),
    )


def exported(association: Association, state: bytes, lease: Lease, now: float) -> None:
    """``state`` is in the owner's hands; who has it may adopt it from now on."""
    leases = association._leases
    if leases is None:
        # Nothing of ours waited before there was a lease.
        leases = association._leases = Leases(lease)
        _put_in_force(association, now)
    leases.unstored[state[TOKEN]] = lease
    leases.asked = False


def stored(association: Association, state: bytes, now: float) -> None:
    """No older state will be adopted any more. Raises ValueError for what was not exported here."""
    leases = association._leases
    if leases is None or state[TOKEN] not in leases.unstored:
        raise ValueError("this is no export of this association, or an older one")
    while state[TOKEN] in leases.unstored:
        token = next(iter(leases.unstored))
        leases.granted = leases.unstored.pop(token)
    if not association.closed:
        _put_in_force(association, now)


def _put_in_force(association: Association, now: float) -> None:
    leases = association._leases
    assert leases is not None
    lease = leases.granted
    post, driver = association._post, association._driver
    post.lease = lease
    driver.stored_seq = lease.receive_seq
    association._data_end = lease.received_end
    post.use_new_keys()
    _set_alarm(association, lease)
    post.proceed(now)
    if driver.owes_ack:
        driver.acknowledge(now)
    association._drain_driver()


def _set_alarm(association: Association, lease: Lease) -> None:
    """At half of the lease, or, where that is past, at its end."""
    writer = association._layer.writer
    if lease.epoch == association._layer.write_epoch:
        rings_at = lease.half if writer.next_number < lease.half else lease.data_end
        writer.lease(lease.end, rings_at)


def review(association: Association) -> None:
    """Asks for an export where something waits for one, once."""
    leases = association._leases
    if leases is None or association.closed:
        return
    _set_alarm(association, leases.granted)
    reason = _need(association, leases.newest)
    if reason is not None and not leases.asked:
        leases.asked = True
        association._events.append(ExportNeeded(reason))


def _need(association: Association, lease: Lease) -> str | None:
    """What waits for more than ``lease`` allows."""
    layer, post, driver = association._layer, association._post, association._driver
    if driver.next_receive_seq != lease.receive_seq:
        return "received_message"
    if post.new_keys_wait:
        return "new_keys" if lease.epoch == layer.write_epoch else None
    known = lease.messages if lease.send_seq == driver.next_seq else 0
    if len(post.waiting) > known:
        return "message"
    if layer.writer.next_number >= lease.half or layer.newest_number >= lease.received_half - 1:
        return "records"
    return None


def doubt(association: Association, lease_records: int) -> None:
    """Adopted from a lease: data of so many numbers may have been taken already."""
    if lease_records:
        association._least_data_number = association._layer.newest_number + 1 + lease_records
        association._layer.data_reader = None
        association._in_doubt = association._may_ask = True


def doubtful_data(association: Association, now: float) -> None:
    """It is dropped, and the peer is asked for new keys, under which all is fresh (DTLS 1.3)."""
    association.counters.records_replayed += 1
    if association._may_ask and association._is_dtls13:
        association._may_ask = False
        association._post.update_keys(now)


def end_doubt(association: Association) -> None:
    """Once the peer's numbers are past those that a lease covered, data may take the short way."""
    layer, least = association._layer, association._least_data_number
    if layer.newest_number >= least:
        association._in_doubt = False
        layer.refuse_below(least)
        layer.open_short_way()
