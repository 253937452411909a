"""What every epoch has, however it is protected: numbers, limits, a replay window; and epoch 0."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import groupby
from typing import ClassVar

from cryptography.exceptions import InvalidTag

from aiodtls.core.crypto.suites import AEADObject
from aiodtls.core.record.columns import Column, unbroken
from aiodtls.core.record.replay import ReplayWindow
from aiodtls.core.registry import ContentType, HandshakeType, ProtocolVersion
from aiodtls.core.wire.records import EPOCH_SHIFT, HEADER, HEADER_LENGTH, SEQUENCE_NUMBER_MASK

NEVER = 1 << 64
# So many records are better looked at one by one: to make columns of them takes longer.
FEW = 8
VERSION = int(ProtocolVersion.DTLSv1_2)
OLDEST_VERSION = int(ProtocolVersion.DTLSv1_0)
CLIENT_HELLO = bytes((HandshakeType.client_hello,))
# Plain numbers: a look at an enum costs as much as all else that a comparison does.
HANDSHAKE = int(ContentType.handshake)
APPLICATION_DATA = int(ContentType.application_data)
DATA = bytes((APPLICATION_DATA,))


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
        """``limit_alarm`` is reached: whether the limit is, and whether the numbers run out.

        The very last number is left for the alert that says so.
        """
        last = (self.limit | SEQUENCE_NUMBER_MASK) - 1
        exhausted = self.next_number >= self.limit
        self.alarm = self.limit_alarm = last if exhausted else self.limit
        return exhausted, self.next_number >= last

    def lease(self, end: int, alarm: int) -> None:
        """Nothing may reach the number ``end``; the owner is to look at ``alarm``."""
        self.lease_end = end
        self.alarm = min(self.limit_alarm, alarm)

    @abstractmethod
    def rest(self) -> None:
        """Gives back what the next record can make anew."""

    @abstractmethod
    def protect(self, content_type: int, plaintext: bytes) -> bytes:
        """One whole record."""

    def record_size(self, length: int) -> int:
        """Bytes of a record whose plaintext has ``length``."""
        return length + self.overhead

    def protect_run(self, messages: Sequence[bytes]) -> bytes:
        """A record of application data for each message, one behind another."""
        lengths = list(map(len, messages))
        if len(messages) >= FEW and lengths.count(lengths[0]) == len(lengths):
            return self._protect_alike(messages)
        run = b""
        for _, group in groupby(messages, len):
            alike = list(group)
            run += self._protect_each(alike) if len(alike) < FEW else self._protect_alike(alike)
        return run

    def _protect_each(self, messages: Sequence[bytes]) -> bytes:
        """The same, one by one."""
        return b"".join([self.protect(APPLICATION_DATA, message) for message in messages])

    def _protect_alike(self, messages: Sequence[bytes]) -> bytes:
        """The same for messages of one length; where there is a faster way for many."""
        return self._protect_each(messages)


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

    def rest(self) -> None:
        """There is nothing to give back."""

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

    # Whether the true content type stands behind the data.
    hides_type: ClassVar[bool] = True
    is_dtls13: ClassVar[bool] = False

    def __init__(self, forgery_limit: int, replay_window: int) -> None:
        self._cipher: AEADObject | None = None
        self.window = ReplayWindow(replay_window)
        self.forged = 0
        self.forgery_limit = forgery_limit
        self.forgery_alarm = forgery_limit // 2

    @abstractmethod
    def _wake(self) -> AEADObject:
        """Makes the cipher."""

    @abstractmethod
    def rest(self) -> None:
        """Gives back what the next record can make anew."""

    @abstractmethod
    def open_one(self, datagram: bytes, longest: int) -> bytes | None:
        """The data of a datagram that is one record of application data, the next in order.

        None where it is anything else, maybe only late: ``open_run`` takes it then. Raises
        InvalidTag.
        """

    def open_run(self, run: bytes, size: int, longest: int, messages: list[bytes]) -> int:
        """How many of the first datagrams it took: one fresh record of application data each.

        ``run``, which is not empty, is datagrams of ``size`` bytes one behind another, the last one
        maybe shorter. Their data is added to ``messages``. At the next one or behind it there is
        something else, forged perhaps, late, or longer than ``longest``: nothing is counted for
        those and the window has not moved, so that they can be looked at again, closely.
        """
        count, rest = divmod(len(run), size)
        if count + bool(rest) == 1:
            return self._open_alike(run, 1, longest, messages)
        if count < FEW:
            return self._open_each(run, size, longest, messages)
        taken = self._open_alike(run[:-rest] if rest else run, count, longest, messages)
        if rest and taken == count:
            taken += self._open_each(run[-rest:], size, longest, messages)
        return taken

    def _open_each(self, run: bytes, size: int, longest: int, messages: list[bytes]) -> int:
        """The same, one by one."""
        taken = 0
        for at in range(0, len(run), size):
            datagram = run[at : at + size]
            try:
                message = self.open_one(datagram, longest)
            except InvalidTag:
                break
            if message is not None:
                messages.append(message)
            elif not self._open_alike(datagram, 1, longest, messages):
                break
            taken += 1
        return taken

    @abstractmethod
    def _open_alike(self, run: bytes, count: int, longest: int, messages: list[bytes]) -> int:
        """The same for a run of ``count`` datagrams of one size."""

    def _take(
        self,
        numbers: Sequence[int],
        nonces: Column,
        bodies: Column,
        additional: Column,
        messages: list[bytes],
    ) -> int:
        """Opens records; how many of the first were fresh data."""
        taken = 0
        for start, end in unbroken(numbers):
            if not self.window.are_fresh(numbers[start], end - start):
                break
            inside = self._open_all(nonces[start:end], bodies[start:end], additional[start:end])
            self.window.accept_run(numbers[start], len(inside))
            messages += inside
            taken += len(inside)
            if taken < end:
                break
        return taken

    def _open_all(self, nonces: Column, bodies: Column, additional: Column) -> list[bytes]:
        """The data of the first records, up to one that is none or does not open."""
        opened: list[bytes] = []
        decrypt = (self._cipher or self._wake()).decrypt
        # What was opened before a forgery stays in the list.
        with contextlib.suppress(InvalidTag):
            opened.extend(map(decrypt, nonces, bodies, additional))
        if not self.hides_type:
            return opened
        # Others are padded, or of another type.
        types = bytes([inner[-1] for inner in opened])
        plain = len(types) - len(types.lstrip(DATA))
        return [inner[:-1] for inner in opened[:plain]]
