"""What every epoch has, however it is protected: numbers, limits, a replay window; and epoch 0."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from cryptography.exceptions import InvalidTag

from aiodtls.core.crypto.suites import AEADObject
from aiodtls.core.record.batch_buffers import CARRY, MOST, OpeningBuffer
from aiodtls.core.record.replay import ReplayWindow
from aiodtls.core.registry import ContentType, HandshakeType, ProtocolVersion
from aiodtls.core.wire.records import EPOCH_SHIFT, HEADER, HEADER_LENGTH, SEQUENCE_NUMBER_MASK

NEVER = 1 << 64
# So many records are better looked at one by one: to make rows of them takes longer.
FEW = 8
VERSION = int(ProtocolVersion.DTLSv1_2)
OLDEST_VERSION = int(ProtocolVersion.DTLSv1_0)
CLIENT_HELLO = bytes((HandshakeType.client_hello,))
# Plain numbers: a look at an enum costs as much as all else that a comparison does.
HANDSHAKE = int(ContentType.handshake)
APPLICATION_DATA = int(ContentType.application_data)
DATA = bytes((APPLICATION_DATA,))
BYTES = tuple(bytes((value,)) for value in range(256))


class RecordWriter(ABC):
    """Numbers the records of one epoch.

    ``limit`` is the number that the AEAD's usage limit forbids, ``limit_alarm`` the one at which
    the owner must look: half of the limit at first. Nor may ``lease_end`` be reached (RFC 5116
    section 3.1, ``lease.py``). ``alarm`` is the first at which there is anything to look at.
    """

    __slots__ = ("alarm", "lease_end", "limit", "limit_alarm", "next_number", "overhead")

    def __init__(self, epoch: int, overhead: int, limit: int = SEQUENCE_NUMBER_MASK) -> None:
        self.next_number = epoch << EPOCH_SHIFT
        self.limit = self.next_number + limit
        self.alarm = self.limit_alarm = self.next_number + limit // 2
        self.lease_end = NEVER
        # Bytes that a record has beyond its plaintext.
        self.overhead = HEADER_LENGTH + overhead

    @property
    def is_protected(self) -> bool:
        return self.next_number > SEQUENCE_NUMBER_MASK

    def ring(self) -> tuple[bool, bool]:
        """``limit_alarm`` is reached: whether the limit is, and whether the numbers batch out.

        The very last number is left for the alert that says so.
        """
        last = (self.limit | SEQUENCE_NUMBER_MASK) - 1
        exhausted = self.next_number >= self.limit
        self.alarm = self.limit_alarm = last if exhausted else self.limit
        return exhausted, self.next_number >= last

    def go_on_at(self, number: int) -> None:
        """Adopted: the next record has this number."""
        self.next_number = number

    def lease(self, end: int, alarm: int) -> None:
        """Nothing may reach the number ``end``; the owner is to look at ``alarm``."""
        self.lease_end = end
        self.alarm = min(self.limit_alarm, alarm)

    @abstractmethod
    def free_memory(self) -> None:
        """Gives back what the next record can make anew."""

    @abstractmethod
    def protect(self, content_type: int, plaintext: bytes) -> bytes:
        """One whole record."""

    def record_size(self, length: int) -> int:
        """Bytes of a record whose plaintext has ``length``."""
        return length + self.overhead

    def protect_batch(self, messages: Sequence[bytes]) -> bytes:
        """A record of application data for each message, one behind another.

        The messages are of one size, but for the last, which may be another.
        """
        if len(messages[-1]) == len(messages[0]):
            return self._protect_equal_lengths(messages)
        return self._protect_equal_lengths(messages[:-1]) + self._protect_equal_lengths(
            messages[-1:]
        )

    def _protect_equal_lengths(self, messages: Sequence[bytes]) -> bytes:
        """The same for messages of one length."""
        batch = b""
        while len(messages) >= FEW:
            count = min(len(messages), MOST, CARRY - self.next_number % CARRY)
            batch += self._protect_at_once(messages[:count])
            messages = messages[count:]
        return batch + b"".join([self.protect(APPLICATION_DATA, message) for message in messages])

    @abstractmethod
    def _protect_at_once(self, messages: Sequence[bytes]) -> bytes:
        """The same for up to ``MOST`` of them, whose numbers have no ``CARRY`` between them."""


class PlaintextWriter(RecordWriter):
    """Epoch 0.

    A ClientHello says DTLS 1.0 there, as it may be read by who knows no newer version
    (RFC 5246 appendix E.1, RFC 9147 section 4), until a server has shown that it does, or the
    hello is repeated: Botan's server ends a handshake that it has begun over it.
    """

    __slots__ = ("hello_version",)

    def __init__(self, first_number: int = 0) -> None:
        super().__init__(0, 0)
        self.next_number = first_number
        self.hello_version = OLDEST_VERSION

    def say_dtls12(self) -> None:
        """From here on no record says DTLS 1.0."""
        self.hello_version = VERSION

    def free_memory(self) -> None:
        """There is nothing to give back."""

    def _protect_at_once(self, messages: Sequence[bytes]) -> bytes:
        return b"".join([self.protect(APPLICATION_DATA, message) for message in messages])

    def protect(self, content_type: int, plaintext: bytes) -> bytes:
        number = self.next_number
        self.next_number = number + 1
        is_hello = content_type == HANDSHAKE and plaintext[:1] == CLIENT_HELLO
        version = self.hello_version if is_hello else VERSION
        return HEADER.pack(content_type, version, number, len(plaintext)) + plaintext


class RecordReader(ABC):
    """Opens the records of one epoch; ``window`` has seen those that opened.

    ``forged`` counts those that did not; at ``forgery_alarm`` the owner must look, half of
    ``forgery_limit`` at first.
    """

    __slots__ = ("_cipher", "forged", "forgery_alarm", "forgery_limit", "window")

    is_dtls13: ClassVar[bool] = False

    def __init__(self, forgery_limit: int, replay_window: int) -> None:
        self._cipher: AEADObject | None = None
        self.window = ReplayWindow(replay_window)
        self.forged = 0
        self.forgery_limit = forgery_limit
        self.forgery_alarm = forgery_limit // 2

    def count_forged(self) -> bool:
        """Counts a record that did not open; whether the owner must look."""
        self.forged += 1
        return self.forged >= self.forgery_alarm

    def sound_again_at(self, forged: int) -> None:
        """The owner has looked, and must look again at so many."""
        self.forgery_alarm = forged

    @property
    @abstractmethod
    def hides_type(self) -> bool:
        """Whether the true content type stands behind the data."""

    @abstractmethod
    def free_memory(self) -> None:
        """Gives back what the next record can make anew."""

    @abstractmethod
    def open_one(self, datagram: bytes, longest: int) -> bytes | None:
        """The data of a datagram that is one fresh record of application data.

        None where it is anything else. Raises InvalidTag.
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
        while count - taken >= FEW:
            rows = batch[taken * size : count * size]
            more = self._open_at_once(rows, count - taken, longest, messages)
            taken += more
            if more < FEW:
                # There are gaps, or worse.
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
        """The same for a batch of ``count`` datagrams of one size; ends at a gap, or earlier."""

    def _take(self, buffer: OpeningBuffer, first: int, count: int, messages: list[bytes]) -> int:
        """Takes what opened, as far as it is data: so many records from the number ``first`` on."""
        inside = buffer.inside
        length = inside.width
        if self.hides_type:
            # Others are padded, or of another type.
            length -= 1
            types = inside.column(length, count)
            count -= len(types.lstrip(DATA))
        if count:
            self.window.accept_range(first, count)
            messages += inside.cut(length, count)
        return count
