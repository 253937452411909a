"""Which of two first ClientHellos a server has answered.

A client gives a session up if the hello that offers it draws no answer. Then two hellos are on
their way, and neither a HelloRetryRequest nor a ServerHello names the one that it answers. They
have the same random and key shares, so they differ only in the transcript, and maybe in the chosen
PSK. In DTLS 1.3 the keys of the server's next messages depend on both: the right transcript is the
one whose keys open a record of the server.
"""

from __future__ import annotations

from aiodtls.core.crypto.suites import Suite
from aiodtls.core.crypto.transcript import Transcript
from aiodtls.core.frozen import frozen
from aiodtls.core.handshake import negotiate13
from aiodtls.core.handshake.extensions import key_share
from aiodtls.core.handshake.keys13 import server_reader
from aiodtls.core.handshake.offer13 import Offer
from aiodtls.core.handshake.resume12 import is_resumed
from aiodtls.core.handshake.script import Handshake, Step
from aiodtls.core.record.protection13 import RecordReader13
from aiodtls.core.sessions import Session
from aiodtls.core.wire.extensions13 import SelectedPsk
from aiodtls.core.wire.messages import ServerHello, encode_body


@frozen
class GivenUp:
    """A session that drew no answer in time, and the hello that offered it."""

    session: Session
    offer: Offer


@frozen
class Candidate:
    """A first hello that the server may have answered: the newest offer, and the transcript."""

    offer: Offer
    transcript: Transcript


def find_answered12(hs: Handshake, given_up: GivenUp, offer: Offer, reply: ServerHello) -> Offer:
    """DTLS 1.2: the offer with the session if the server resumes it.

    A full handshake does not tell in time. It continues with the newer hello.
    """
    if not is_resumed(given_up.offer.hello, reply):
        return offer
    hs.session = given_up.session
    hs.transcript = _with_first(hs, given_up.offer, "")
    return given_up.offer


def find_answered13(
    hs: Handshake, given_up: GivenUp, offer: Offer, reply: ServerHello, *, retried: bool
) -> Step[Offer]:
    """DTLS 1.3: waits for a protected record of the server, and returns the offer that it answers.

    ``retried`` tells whether ``offer`` is the second hello, after a HelloRetryRequest. Then only
    the hash of the first hello is in doubt.
    """
    hs.use_dtls13()
    earlier = offer if retried else given_up.offer
    suite = negotiate13.check_server_hello13(hs.config, earlier, reply)
    candidates = [
        candidate
        for candidate in (
            Candidate(earlier, _with_first(hs, given_up.offer, suite.hash_name)),
            Candidate(offer, hs.transcript),
        )
        if _has_selected(candidate.offer, reply)
    ]
    found = candidates[0] if len(candidates) == 1 else None
    if len(candidates) > 1:
        readers = [(_reader(hs, suite, each, reply), each) for each in candidates]
        while found is None:
            found = next((each for reader, each in readers if hs.keys.opens_early(reader)), None)
            if found is None:
                yield from hs.await_early()
    if found is None:
        return offer
    hs.transcript = found.transcript
    return found.offer


def _with_first(hs: Handshake, first: Offer, hash_name: str) -> Transcript:
    return hs.transcript.with_first_hello(encode_body(first.hello), hash_name)


def _has_selected(offer: Offer, reply: ServerHello) -> bool:
    """Whether the offer has the PSK that the server chose, if it chose one."""
    selected = reply.extensions.find(SelectedPsk)
    return selected is None or selected.index < len(offer.psks)


def _reader(
    hs: Handshake, suite: Suite, candidate: Candidate, reply: ServerHello
) -> RecordReader13:
    """The reader of the server's records, if it has answered this one."""
    offer = candidate.offer
    psk = negotiate13.selected_psk(offer, reply, suite)
    exchange = key_share.check_reply(offer.hello, offer.shares, reply, has_psk=psk is not None)
    shared = exchange[0].exchange(exchange[1]) if exchange is not None else None
    return server_reader(
        suite, psk.key if psk else None, shared, candidate.transcript, hs.config.replay_window
    )
