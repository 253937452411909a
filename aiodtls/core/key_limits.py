"""What happens at an AEAD's usage limits (RFC 9147 section 4.5.3).

DTLS 1.3 takes new keys at half the limit and ends at the limit. DTLS 1.2 has no new keys: there
the owner is told, and decides by ``key_limit``.
"""

from __future__ import annotations

from aiodtls.core import renewal
from aiodtls.core.association import Association
from aiodtls.core.errors import EndpointClosed
from aiodtls.core.events import KeyLimitReached
from aiodtls.core.registry import AlertDescription, AlertLevel

SAFE_TAG_LENGTH = 16


def sealing_alarm(association: Association, now: float) -> None:
    """Half of what may be protected with these keys is, or all of it; or half of a lease."""
    writer = association._layer.writer
    renewal.review(association)
    if writer.next_number < writer.limit_alarm:
        return
    exhausted, overflows = writer.ring()
    _reached(association, "sent", exhausted, now, may_close=True, must_close=overflows)


def forgery_alarm(association: Association, now: float) -> None:
    """Half of the forgeries that these keys may meet have come, or all of them."""
    suite = association.negotiated.suite
    assert suite is not None
    # With a short tag the limit is so low that anybody could end the association.
    safe = suite.aead.tag_length >= SAFE_TAG_LENGTH
    exhausted = association._layer.take_alarm()
    _reached(association, "forged", exhausted, now, may_close=safe, must_close=False)


def _reached(
    association: Association,
    direction: str,
    exhausted: bool,
    now: float,
    *,
    may_close: bool,
    must_close: bool,
) -> None:
    association._events.append(KeyLimitReached(direction, exhausted))
    is_dtls13 = association.negotiated.version == "1.3"
    if is_dtls13 and association.handshake_complete and not association.closed:
        association._post.update_keys(now)
        association._drain_driver()
    strict = is_dtls13 or association.config.key_limit == "close"
    if ((exhausted and may_close and strict) or must_close) and not association.closed:
        association._send_alert(AlertLevel.warning, AlertDescription.close_notify)
        association._end(EndpointClosed("key_limit"))
