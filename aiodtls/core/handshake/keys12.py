"""DTLS 1.2 secrets of both roles: master secret, record keys, verify_data."""

from __future__ import annotations

import hmac

from aiodtls.core.crypto import hmacs, prf
from aiodtls.core.crypto.suites import Suite
from aiodtls.core.errors import AlertError
from aiodtls.core.handshake.script import Handshake
from aiodtls.core.negotiated import Negotiated
from aiodtls.core.record.epochs import RecordReader, RecordWriter
from aiodtls.core.record.protection12 import RecordReader12, RecordWriter12
from aiodtls.core.registry import AlertDescription
from aiodtls.core.wire.messages import Finished

EPOCH = 1
CLIENT_LABEL = b"client finished"
SERVER_LABEL = b"server finished"


def derive_master_secret(hs: Handshake, suite: Suite, premaster: bytes) -> hmacs.Secret:
    """The master secret. With the extension it covers the messages up to ClientKeyExchange
    (RFC 7627 section 4).
    """
    negotiated = hs.negotiated
    if negotiated.extended_master_secret:
        session_hash = hs.transcript.hash(suite.hash_name)
        secret = prf.extended_master_secret(suite.hash_name, premaster, session_hash)
    else:
        secret = prf.master_secret(
            suite.hash_name, premaster, negotiated.client_random, negotiated.server_random
        )
    return use_master_secret(hs, suite, secret)


def use_master_secret(hs: Handshake, suite: Suite, secret: bytes) -> hmacs.Secret:
    """Stores a master secret, new or of a session, and logs it. Returns the keyed HMAC to derive
    other values with.
    """
    hs.negotiated.master_secret = secret
    hs.config.log_secret("CLIENT_RANDOM", hs.negotiated.client_random, secret)
    return hmacs.keyed(suite.hash_name, secret)


def derive_record_keys(
    negotiated: Negotiated,
    suite: Suite,
    master: hmacs.Secret,
    replay_window: int,
    *,
    is_client: bool,
) -> tuple[RecordWriter, RecordReader]:
    """Derives the record keys from the key block (RFC 5246 section 6.3). AEAD suites have no MAC
    keys.
    """
    aead = suite.aead
    key_length, iv_length = aead.key_length, aead.fixed_iv_length
    block = prf.key_block(
        suite.hash_name,
        master,
        negotiated.client_random,
        negotiated.server_random,
        2 * (key_length + iv_length),
    )
    keys = block[:key_length], block[key_length : 2 * key_length]
    ivs = block[2 * key_length : -iv_length], block[-iv_length:]
    ours, theirs = (0, 1) if is_client else (1, 0)
    own_cid, peer_cid = negotiated.own_cid, negotiated.peer_cid
    writer = RecordWriter12(EPOCH, aead, keys[ours], ivs[ours], peer_cid)
    return writer, RecordReader12(aead, keys[theirs], ivs[theirs], replay_window, own_cid)


def verify_data(hs: Handshake, suite: Suite, master: hmacs.Secret, label: bytes) -> bytes:
    """The verify_data of our Finished (RFC 5246 section 7.4.9)."""
    digest = hs.transcript.hash(suite.hash_name)
    return prf.verify_data(suite.hash_name, master, label, digest)


def check_finished(
    hs: Handshake, suite: Suite, master: hmacs.Secret, label: bytes, finished: Finished
) -> None:
    """Checks the peer's Finished, the newest message of the transcript. Raises
    :class:`AlertError`.
    """
    digest = hs.transcript.hash_before_last(suite.hash_name)
    expected = prf.verify_data(suite.hash_name, master, label, digest)
    if not hmac.compare_digest(expected, finished.verify_data):
        message = "the peer's Finished does not verify"
        raise AlertError(AlertDescription.decrypt_error, message, reason="wrong_finished")
