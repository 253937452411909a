"""The keys of application data in DTLS 1.3, which a KeyUpdate replaces (RFC 8446 section 7.2)."""

from __future__ import annotations

from dataclasses import field

from aiodtls.core.crypto.key_schedule import TrafficKeys, next_traffic_secret
from aiodtls.core.crypto.suites import Suite
from aiodtls.core.frozen import frozen
from aiodtls.core.record.protection13 import OldKeys, RecordReader13, RecordWriter13

# The first epoch of application data (RFC 9147 section 6.1).
APPLICATION_EPOCH = 3


@frozen
class TrafficSecrets:
    """What another process needs to continue: the secrets and epochs of both directions."""

    own: bytes = field(repr=False)
    peer: bytes = field(repr=False)
    read_epoch: int
    write_epoch: int


class ApplicationTraffic:
    """The traffic secrets of both directions of an association."""

    __slots__ = (
        "_own",
        "_peer",
        "_replay_window",
        "_suite",
        "own_cid",
        "peer_cid",
        "read_epoch",
        "write_epoch",
    )

    def __init__(
        self,
        suite: Suite,
        own: bytes,
        peer: bytes,
        replay_window: int,
        read_epoch: int = APPLICATION_EPOCH,
        write_epoch: int = APPLICATION_EPOCH,
        own_cid: bytes = b"",
        peer_cid: bytes = b"",
    ) -> None:
        self._suite = suite
        self._own = own
        self._peer = peer
        self._replay_window = replay_window
        # The connection ids that the peer's records and our records carry.
        self.own_cid: bytes = own_cid
        self.peer_cid: bytes = peer_cid
        self.read_epoch: int = read_epoch
        self.write_epoch: int = write_epoch

    def snapshot(self, *, next_keys: bool) -> TrafficSecrets:
        """What another process needs to continue. With ``next_keys`` it continues under our next
        keys.
        """
        own = self.next_own_secret if next_keys else self._own
        return TrafficSecrets(own, self._peer, self.read_epoch, self.write_epoch + next_keys)

    def old_reader(self, old: OldKeys) -> RecordReader13:
        """A reader with keys that the peer uses until our ACK of its KeyUpdate arrives."""
        keys = TrafficKeys(self._suite.aead, old.key, old.iv, old.sn_key)
        reader = RecordReader13(old.epoch, keys, self._replay_window, self.own_cid)
        reader.window.restore(old.window)
        return reader

    def use_peer_cid(self, cid: bytes) -> None:
        """Sets the connection id that our records of later epochs carry."""
        self.peer_cid = cid

    @property
    def next_own_secret(self) -> bytes:
        """Our secret of the next epoch. The epoch itself does not begin yet."""
        return next_traffic_secret(self._suite.hash_name, self._own)

    def writer(self) -> RecordWriter13:
        keys = TrafficKeys.derive(self._suite, self._own)
        return RecordWriter13(self.write_epoch, keys, self.peer_cid)

    def reader(self) -> RecordReader13:
        keys = TrafficKeys.derive(self._suite, self._peer)
        return RecordReader13(self.read_epoch, keys, self._replay_window, self.own_cid)

    def next_writer(self) -> RecordWriter13:
        """Our writer of the next epoch. The previous secret is dropped."""
        self.write_epoch += 1
        self._own = self.next_own_secret
        return self.writer()

    def next_reader(self) -> RecordReader13:
        """Our reader for the peer's next epoch. The previous secret is dropped."""
        self.read_epoch += 1
        self._peer = next_traffic_secret(self._suite.hash_name, self._peer)
        return self.reader()
