"""The peer's address changes: a return routability check before it is followed (RFC 9853).

An authenticated record that is newer than all before it, from another address than the peer's,
makes that address a candidate. A challenge goes there, and only the peer can answer it; until then
everything else goes to the old address as before, and the candidate gets at most three times the
bytes that came from it. The enhanced check asks at the old address first: who answers there has
not moved, and somebody else has sent a copy of its record.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

from aiodtls.core.association import Address, Association
from aiodtls.core.events import AddressChanged
from aiodtls.core.registry import ContentType, RRCMessageType
from aiodtls.core.reliability.timers import Timer

COOKIE_LENGTH = 8
MESSAGE_LENGTH = 1 + COOKIE_LENGTH
# Nobody else's address gets more than so many times what it has sent (RFC 9853 section 4).
AMPLIFICATION_LIMIT = 3
# The pauses after each challenge, in initial retransmission timeouts: at the old address, where
# silence is the usual answer, they come to one, and at the new one leave time for a longer path.
OLD_PATH_PAUSES = (0.25, 0.25, 0.5)
NEW_PATH_PAUSES = (0.25, 0.5, 1.0)


@dataclass(slots=True)
class PathCheck:
    """What is known of a candidate: bytes of datagrams both ways, and the challenges in the air."""

    address: Address
    asks_old_path: bool
    has_new_id: bool
    received: int = 0
    sent: int = 0
    cookies: list[bytes] = field(default_factory=list, repr=False)


def came_from_elsewhere(
    association: Association,
    addr: Address,
    size: int,
    now: float,
    *,
    is_newest: bool,
    has_new_id: bool,
) -> None:
    """A datagram with an authenticated record came from ``addr``, which is not the peer's.

    ``has_new_id``: it bears an id that no record before it has borne.
    """
    check = association.path_check
    if check is not None and check.address == addr:
        check.received += size
        return
    if not is_newest:
        return
    if association.negotiated.rrc:
        enhanced = association.config.return_routability_check == "enhanced"
        association.path_check = PathCheck(addr, enhanced, has_new_id, size)
        _challenge(association, now)
    elif association.config.follow_unchecked_address:
        use_spare_id(association)
        _follow(association, addr, now, has_new_id=has_new_id)


def receive(association: Association, payload: bytes, addr: Address, size: int, now: float) -> None:
    """A return_routability_check message, in a datagram of ``size`` bytes."""
    if len(payload) != MESSAGE_LENGTH:
        association.counters.records_discarded += 1
        return
    kind, cookie = payload[0], payload[1:]
    if kind == RRCMessageType.path_challenge:
        _answer(association, cookie, association.peer if addr is None else addr, size)
        return
    check = association.path_check
    if check is None or not any(hmac.compare_digest(cookie, sent) for sent in check.cookies):
        # Of a check that is over, or of a probe: that it came is all there was to know.
        return
    if kind == RRCMessageType.path_response and not check.asks_old_path:
        if addr == check.address:
            _follow(association, addr, now, has_new_id=check.has_new_id)
    elif kind == RRCMessageType.path_response:
        if addr == association.peer:
            _drop(association)
    elif kind == RRCMessageType.path_drop and check.asks_old_path:
        _ask_new_path(association, check, now)


def challenge_due(association: Association, now: float) -> None:
    """The last challenge has had no answer for a while."""
    check = association.path_check
    if check is None:
        return
    pauses = OLD_PATH_PAUSES if check.asks_old_path else NEW_PATH_PAUSES
    if len(check.cookies) < len(pauses):
        _challenge(association, now)
    elif check.asks_old_path:
        _ask_new_path(association, check, now)
    else:
        _drop(association)


def probe(association: Association) -> bool:
    """A challenge to the peer where it is, to hear from it; whether one could be sent.

    Any answer will do.
    """
    cookie = association._random(COOKIE_LENGTH)
    return _send(association, RRCMessageType.path_challenge, cookie, association.peer) > 0


def _challenge(association: Association, now: float) -> None:
    """Each has a cookie of its own, and none counts as sent that had to stay here."""
    check = association.path_check
    assert check is not None
    if not check.asks_old_path and not check.cookies:
        use_spare_id(association)
    cookie = association._random(COOKIE_LENGTH)
    pauses = OLD_PATH_PAUSES if check.asks_old_path else NEW_PATH_PAUSES
    pause = pauses[len(check.cookies)] * association._retransmission.backoff.initial
    check.cookies.append(cookie)
    association._timers.set(Timer.path, now + pause)
    association._touched.add(association)
    size = association._layer.writer.overhead + MESSAGE_LENGTH
    if check.asks_old_path:
        target = association.peer
    elif check.sent + size > AMPLIFICATION_LIMIT * check.received:
        return
    else:
        target = check.address
        check.sent += size
    _send(association, RRCMessageType.path_challenge, cookie, target)


def _answer(association: Association, cookie: bytes, addr: Address, size: int) -> None:
    """At once, and to where the challenge came from (RFC 9853 section 5)."""
    if association._layer.writer.overhead + MESSAGE_LENGTH > AMPLIFICATION_LIMIT * size:
        return
    size = _send(association, RRCMessageType.path_response, cookie, addr)
    check = association.path_check
    if check is not None and check.address == addr:
        check.sent += size


def _send(association: Association, kind: RRCMessageType, cookie: bytes, addr: Address) -> int:
    content_type = ContentType.return_routability_check
    epoch = association._layer.write_epoch
    return association._send_control(epoch, content_type, bytes((kind,)) + cookie, addr)


def _ask_new_path(association: Association, check: PathCheck, now: float) -> None:
    check.asks_old_path = False
    check.cookies.clear()
    _challenge(association, now)


def _follow(association: Association, addr: Address, now: float, *, has_new_id: bool) -> None:
    """The peer is there now; where it does not know that it has moved, it is given another id."""
    before, association.peer = association.peer, addr
    association.path_check = None
    association._timers.cancel(Timer.path)
    association.counters.addresses_changed += 1
    association._events.append(AddressChanged(before, addr))
    if association.negotiated.version == "1.3":
        post = association._post
        post.path_changed(now, peer_keeps_id=post.ids.is_known and not has_new_id)
        association._drain_driver()
    association._touched.add(association)


def use_spare_id(association: Association) -> None:
    """Who watches both paths should not see the same ids on them (RFC 9147 section 9).

    Not with a lease: the peer forgets the id before, and an adopter would still bear that.
    """
    if association._leases is None:
        association._post.ids.use_spare()
        association._update_max_payload()


def _drop(association: Association) -> None:
    """The peer is where it was."""
    association.path_check = None
    association._timers.cancel(Timer.path)
    association.counters.path_checks_failed += 1
