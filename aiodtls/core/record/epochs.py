"""What the record protection of every epoch has in common, and the plaintext epoch 0."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from cryptography.exceptions import InvalidTag

from aiodtls.core.crypto.suites import AEADObject
from aiodtls.core.record.batch_buffers import CARRY, MAX_BATCH, OpeningBuffer
from aiodtls.core.record.replay import ReplayWindow
from aiodtls.core.registry import ContentType, HandshakeType, ProtocolVersion
from aiodtls.core.wire.records import EPOCH_SHIFT, HEADER, HEADER_LENGTH, SEQUENCE_NUMBER_MASK

NEVER = 1 << 64
# Fewer records than this are processed one by one, because to fill a batch buffer takes longer.
MIN_BATCH = 8
VERSION = int(ProtocolVersion.DTLSv1_2)
OLDEST_VERSION = int(ProtocolVersion.DTLSv1_0)
CLIENT_HELLO = bytes((HandshakeType.client_hello,))
# Plain integers: an attribute lookup on an enum would double the cost of a comparison.
HANDSHAKE = int(ContentType.handshake)
APPLICATION_DATA = int(ContentType.application_data)
DATA = bytes((APPLICATION_DATA,))
BYTES = tuple(bytes((value,)) for value in range(256))


class RecordWriter(ABC):
    """Numbers and protects the records that we send in one epoch.

    Attributes, all of them record numbers:
        limit: the first one that the AEAD's usage limit forbids.
        limit_alarm: when this is reached, the owner must call ``check_limit``. At first it is half
            of the limit.
        lease_end: the first one that the lease forbids (``lease.py``, RFC 5116 section 3.1).
        alarm: the lowest of the numbers at which the owner has something to do.
    """

    __slots__ = ("alarm", "lease_end", "limit", "limit_alarm", "next_number", "overhead")

    alarm: int
    limit_alarm: int

    def __init__(self, epoch: int, overhead: int, limit: int = SEQUENCE_NUMBER_MASK) -> None:
        self.next_number: int = epoch << EPOCH_SHIFT
        self.limit: int = self.next_number + limit
        self.alarm = self.limit_alarm = self.next_number + limit // 2
        self.lease_end: int = NEVER
        # Bytes of a record beyond its plaintext.
        self.overhead: int = HEADER_LENGTH + overhead

    @property
    def is_protected(self) -> bool:
        return self.next_number > SEQUENCE_NUMBER_MASK

    def check_limit(self) -> tuple[bool, bool]:
        """Moves ``limit_alarm``, which has been reached, to the next number to look at.

        Returns:
            Whether the usage limit is reached, and whether only one record number is left. That
            one is for the alert that ends the association.
        """
        last = (self.limit | SEQUENCE_NUMBER_MASK) - 1
        exhausted = self.next_number >= self.limit
        self.alarm = self.limit_alarm = last if exhausted else self.limit
        return exhausted, self.next_number >= last

    def continue_at(self, number: int) -> None:
        """The next record gets this number, because the records before were sent elsewhere."""
        self.next_number = number

    def lease(self, end: int, alarm: int) -> None:
        """Sets the lease's end, and the number at which the owner must renew the lease."""
        self.lease_end = end
        self.alarm = min(self.limit_alarm, alarm)

    @abstractmethod
    def free_memory(self) -> None:
        """Drops the cipher object. The next record makes a new one."""

    @abstractmethod
    def protect(self, content_type: int, plaintext: bytes) -> bytes:
        """Returns one whole record and uses one record number."""

    def record_size(self, length: int) -> int:
        """Bytes of a record whose plaintext has ``length`` bytes."""
        return length + self.overhead

    def protect_batch(self, messages: Sequence[bytes]) -> bytes:
        """Returns one record of application data for each message, concatenated.

        All messages have the same length, except that the last one may differ.
        """
        if len(messages[-1]) == len(messages[0]):
            return self._protect_equal_lengths(messages)
        return self._protect_equal_lengths(messages[:-1]) + self._protect_equal_lengths(
            messages[-1:]
        )

    def _protect_equal_lengths(self, messages: Sequence[bytes]) -> bytes:
        """As ``protect_batch``, for messages of equal length."""
        batch = b""
        while len(messages) >= MIN_BATCH:
            count = min(len(messages), MAX_BATCH, CARRY - self.next_number % CARRY)
            batch += self._protect_at_once(messages[:count])
            messages = messages[count:]
        return batch + b"".join([self.protect(APPLICATION_DATA, message) for message in messages])

    @abstractmethod
    def _protect_at_once(self, messages: Sequence[bytes]) -> bytes:
        """As above, for ``MAX_BATCH`` messages at most, whose numbers do not cross a ``CARRY``."""


class PlaintextWriter(RecordWriter):
    """Writes the records of epoch 0.

    The record of a ClientHello says DTLS 1.0 at first, for servers that know no newer version
    (RFC 5246 appendix E.1, RFC 9147 section 4). It says DTLS 1.2 once the server has answered or
    the hello is repeated: Botan's server ends a handshake when a later hello says DTLS 1.0.
    """

    __slots__ = ("hello_version",)

    def __init__(self, first_number: int = 0) -> None:
        super().__init__(0, 0)
        self.next_number: int = first_number
        self.hello_version: int = OLDEST_VERSION

    def say_dtls12(self) -> None:
        """From now on every record says DTLS 1.2."""
        self.hello_version = VERSION

    def free_memory(self) -> None:
        """Plaintext records need no cipher object."""

    def _protect_at_once(self, messages: Sequence[bytes]) -> bytes:
        return b"".join([self.protect(APPLICATION_DATA, message) for message in messages])

    def protect(self, content_type: int, plaintext: bytes) -> bytes:
        number = self.next_number
        self.next_number = number + 1
        is_hello = content_type == HANDSHAKE and plaintext[:1] == CLIENT_HELLO
        version = self.hello_version if is_hello else VERSION
        return HEADER.pack(content_type, version, number, len(plaintext)) + plaintext


class RecordReader(ABC):
    """Opens the records of one epoch.

    Attributes:
        window: the replay window; it holds the numbers of the records that opened.
        forged: how many records failed authentication.
        forgery_limit: the AEAD's integrity limit for ``forged``.
        forgery_alarm: when ``forged`` reaches this, the owner must act. At first it is half of the
            limit.
    """

    __slots__ = ("_cipher", "forged", "forgery_alarm", "forgery_limit", "window")

    is_dtls13: ClassVar[bool] = False

    def __init__(self, forgery_limit: int, replay_window: int) -> None:
        self._cipher: AEADObject | None = None
        self.window: ReplayWindow = ReplayWindow(replay_window)
        self.forged: int = 0
        self.forgery_limit: int = forgery_limit
        self.forgery_alarm: int = forgery_limit // 2

    def count_forged(self) -> bool:
        """Counts a record that failed authentication. Returns whether the alarm is reached."""
        self.forged += 1
        return self.forged >= self.forgery_alarm

    def set_forgery_alarm(self, forged: int) -> None:
        """Sets the count of forged records at which the owner must act next."""
        self.forgery_alarm = forged

    @property
    @abstractmethod
    def hides_type(self) -> bool:
        """Whether the true content type is encrypted, behind the data."""

    @abstractmethod
    def free_memory(self) -> None:
        """Drops the cipher object. The next record makes a new one."""

    @abstractmethod
    def open_one(self, datagram: bytes, longest: int) -> bytes | None:
        """Opens a datagram that is one fresh record of application data.

        Returns:
            The data, or None if the datagram is anything else.

        Raises:
            InvalidTag: the record is not authentic.
        """

    def open_batch(self, batch: bytes, size: int, longest: int, messages: list[bytes]) -> int:
        """Opens the first datagrams that are one fresh record of application data each.

        Args:
            batch: datagrams of ``size`` bytes, concatenated. The last one may be shorter.
            size: the length of each datagram in bytes.
            longest: the longest plaintext that is accepted.
            messages: the data is appended here.

        Returns:
            How many datagrams were opened. The next one is something else, forged, or too long.
            It was not counted and did not move the replay window, so the caller can process it on
            the slow path.
        """
        taken, count = 0, len(batch) // size
        while count - taken >= MIN_BATCH:
            rows = batch[taken * size : count * size]
            more = self._open_at_once(rows, count - taken, longest, messages)
            taken += more
            if more < MIN_BATCH:
                # Records are missing or forged here, so batches are not worth their cost.
                break
        for at in range(taken * size, len(batch), size):
            try:
                message = self.open_one(batch[at : at + size], longest)
            except InvalidTag:
                break
            if message is None:
                break
            messages.append(message)
            taken += 1
        return taken

    @abstractmethod
    def _open_at_once(self, batch: bytes, count: int, longest: int, messages: list[bytes]) -> int:
        """As ``open_batch``, for ``count`` datagrams of equal size. It may stop early."""

    def _take(self, buffer: OpeningBuffer, first: int, count: int, messages: list[bytes]) -> int:
        """Appends the data of ``count`` opened records, whose numbers begin at ``first``.

        Stops at the first record that is padded or has another type. Returns how many were taken.
        """
        inside = buffer.inside
        length = inside.width
        if self.hides_type:
            length -= 1
            types = inside.column(length, count)
            count -= len(types.lstrip(DATA))
        if count:
            self.window.accept_range(first, count)
            messages += inside.cut(length, count)
        return count
