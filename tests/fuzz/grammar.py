"""Datagrams as the fuzzer spells them: raw bytes, or records put together from what is real.

A choice below 128 is the first byte of a raw datagram's length. Any other names a production:
real datagrams repeated, changed and cut, and records with right headers, numbers and connection ids
around real or made-up handshake messages, acknowledgements, alerts and extensions.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from aiodtls.core.wire.fragments import Fragment
from aiodtls.core.wire.records import EPOCH_SHIFT, HEADER, TLS12_CID
from tests.fuzz.plan import Plan

MADE = 0x80
MORE = 0x40
MAX_RECORDS = 4
MAX_PLAINTEXT = 1 << 14
CONTENT_TYPES = (22, 26, 21, 20, 23, 25, 27, 24, 0, 255)
EPOCHS = (0, 1, 2, 3, 4, 5, 0xFFFF)
VERSIONS = (0xFEFD, 0xFEFF, 0xFEFC, 0x0303)
MESSAGE_TYPES = (0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15, 16, 20, 21, 22, 23, 24, 25, 254)


@dataclass(slots=True)
class View:
    """What somebody who has watched the association knows, and where it stands.

    ``message_seq`` is the peer's next one, ``numbers`` the record numbers that an ACK may name.
    """

    datagrams: Sequence[bytes] = ()
    messages: Sequence[Fragment] = ()
    cid: bytes = b""
    message_seq: int = 0
    epoch: int = 0
    numbers: Sequence[int] = field(default=(0,))


def datagram(plan: Plan, view: View) -> bytes:
    """The next one; a production may be followed by more records."""
    choice = plan.byte()
    if choice < MADE:
        return plan.take(choice << 8 | plan.byte())
    parts = []
    for _ in range(MAX_RECORDS):
        parts.append(PRODUCTIONS[choice % len(PRODUCTIONS)](plan, view))
        if not choice & MORE:
            break
        choice = plan.byte()
    return b"".join(parts)[:65535]


def _real(plan: Plan, view: View) -> bytes:
    return view.datagrams[plan.byte() % len(view.datagrams)] if view.datagrams else b""


def _changed(plan: Plan, view: View) -> bytes:
    data = bytearray(_real(plan, view))
    at, change = plan.byte() << 8 | plan.byte(), plan.byte()
    if data:
        data[at % len(data)] ^= change or 1
    return bytes(data)


def _cut(plan: Plan, view: View) -> bytes:
    data = _real(plan, view)
    start, length = plan.byte(), plan.byte() << 8 | plan.byte()
    return data[start : start + length]


def _in_the_clear(plan: Plan, view: View) -> bytes:
    content_type, body = payload(plan, view)
    return _record(plan, content_type, 0, body)


def _as_if_protected(plan: Plan, view: View) -> bytes:
    epoch = EPOCHS[plan.byte() % len(EPOCHS)]
    content_type = CONTENT_TYPES[plan.byte() % len(CONTENT_TYPES)]
    return _record(plan, content_type, epoch, plan.few_bytes())


def _record(plan: Plan, content_type: int, epoch: int, body: bytes) -> bytes:
    """A header that fits, but for what one byte says of version and length."""
    number, odd = plan.byte(), plan.byte()
    if number & 0x80:
        number <<= (number & 0x7F) % 41
    version = VERSIONS[odd & 3]
    length = len(body) if odd < 0xF0 else max(0, len(body) + odd - 0xF8)
    return HEADER.pack(content_type, version, epoch << EPOCH_SHIFT | number, length) + body


def _unified(plan: Plan, view: View) -> bytes:
    """RFC 9147 section 4."""
    flags = plan.byte() & 0x1F
    header = bytes((0x20 | flags,))
    if flags & 0x10:
        header += view.cid
    header += bytes((plan.byte(),)) + (bytes((plan.byte(),)) if flags & 8 else b"")
    body = plan.few_bytes()
    if flags & 4:
        header += (len(body) & 0xFFFF).to_bytes(2, "big")
    return header + body


def _with_cid(plan: Plan, view: View) -> bytes:
    """RFC 9146 section 4."""
    epoch, number = EPOCHS[plan.byte() % len(EPOCHS)], plan.byte()
    body = plan.few_bytes()
    head = HEADER.pack(TLS12_CID, VERSIONS[0], epoch << EPOCH_SHIFT | number, 0)[:-2]
    return head + view.cid + len(body).to_bytes(2, "big") + body


def _raw(plan: Plan, view: View) -> bytes:
    return plan.few_bytes()


PRODUCTIONS: tuple[Callable[[Plan, View], bytes], ...] = (
    *(_real, _changed, _cut, _in_the_clear),
    *(_in_the_clear, _as_if_protected, _unified, _with_cid, _raw),
)


# -- what records hold --------------------------------------------------------------------------


def payload(plan: Plan, view: View) -> tuple[int, bytes]:
    """Content type and plaintext of a record; several handshake fragments may share it."""
    choice = plan.byte()
    content_type, make = PAYLOADS[choice % len(PAYLOADS)]
    body = make(plan, view)
    while choice & 0x80 and content_type == 22 and len(body) < 4096:
        choice = plan.byte()
        following, make = PAYLOADS[choice % len(PAYLOADS)]
        if following != 22:
            break
        body += make(plan, view)
    if choice & 0x40:
        content_type = CONTENT_TYPES[plan.byte() % len(CONTENT_TYPES)]
    return content_type, body[:MAX_PLAINTEXT]


def _real_message(plan: Plan, view: View) -> bytes:
    """Whole or in part, in its place or in another's."""
    if not view.messages:
        return b""
    real = view.messages[plan.byte() % len(view.messages)]
    shift, start, size, longer = plan.signed(), plan.byte(), plan.byte(), plan.signed()
    start = min(start, len(real.data))
    end = start + size if size else len(real.data)
    return Fragment(
        real.msg_type,
        max(len(real.data[start:end]) + start, real.length + longer),
        (real.message_seq + shift) & 0xFFFF,
        start,
        real.data[start:end],
    ).encode()


def _edited_message(plan: Plan, view: View) -> bytes:
    """A real one with other bytes at one place, its own length mended."""
    if not view.messages:
        return b""
    real = view.messages[plan.byte() % len(view.messages)]
    at, removed = (plan.byte() << 8 | plan.byte()) % (len(real.data) + 1), plan.byte()
    body = real.data[:at] + plan.few_bytes() + real.data[at + removed :]
    return Fragment(real.msg_type, len(body), real.message_seq, 0, body).encode()


def _made_message(plan: Plan, view: View) -> bytes:
    """Of any type, near the place of the next one."""
    kind = MESSAGE_TYPES[plan.byte() % len(MESSAGE_TYPES)]
    seq = (view.message_seq + plan.signed()) & 0xFFFF
    body = plan.few_bytes()
    claimed, offset = plan.byte(), plan.byte()
    if claimed:
        claimed = min(len(body) + offset + claimed * claimed, 0xFFFFFF)
        return Fragment(kind, claimed, seq, offset, body).encode()
    return Fragment(kind, len(body), seq, 0, body).encode()


def _ack(plan: Plan, view: View) -> bytes:
    """RFC 9147 section 7, of records that were sent and of others."""
    numbers = []
    for _ in range(plan.byte() % 5):
        number = view.numbers[plan.byte() % len(view.numbers)] + plan.signed()
        number = max(0, number)
        numbers.append((number >> EPOCH_SHIFT).to_bytes(8, "big"))
        numbers.append((number & (1 << EPOCH_SHIFT) - 1).to_bytes(8, "big"))
    body = b"".join(numbers)
    return len(body).to_bytes(2, "big") + body


def _alert(plan: Plan, view: View) -> bytes:
    return bytes((plan.byte() & 3, plan.byte()))


def _anything(plan: Plan, view: View) -> bytes:
    return plan.few_bytes()


def _extended_message(plan: Plan, view: View) -> bytes:
    """A real one with an extension more at its end, and all lengths but its own as they were.

    Where the block's length stands is said by the plan: two bytes that grow by as much.
    """
    if not view.messages:
        return b""
    real = view.messages[plan.byte() % len(view.messages)]
    kind, value = plan.byte(), plan.few_bytes()
    extension = kind.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value
    body = bytearray(real.data + extension)
    at = _block_at(real.data)
    if at is not None:
        old = body[at] << 8 | body[at + 1]
        body[at : at + 2] = (old + len(extension) & 0xFFFF).to_bytes(2, "big")
    return Fragment(real.msg_type, len(body), real.message_seq, 0, bytes(body)).encode()


def _block_at(body: bytes) -> int | None:
    """Where two bytes say how many follow to the end: the extensions, most likely."""
    for at in range(len(body) - 1):
        if body[at] << 8 | body[at + 1] == len(body) - at - 2:
            return at
    return None


PAYLOADS: tuple[tuple[int, Callable[[Plan, View], bytes]], ...] = (
    *((22, _real_message), (22, _edited_message), (22, _made_message)),
    *((26, _ack), (21, _alert), (22, _anything)),
    *((22, _extended_message), (27, _anything), (23, _anything)),
)


# Of 14 bytes: all of them, or those that are small.
MASKS = tuple(int.from_bytes(bytes((most,)) * 14, "big") for most in (3, 15, 63, 255))

# -- spelling -----------------------------------------------------------------------------------


def spelled(rng: random.Random) -> bytes:
    """A production that the mutator puts in, mostly with small choices."""
    word = rng.getrandbits(32)
    size, mask = 4 + (word >> 7) % 10, MASKS[word >> 12 & 3]
    small = (rng.getrandbits(8 * size) & mask).to_bytes(14, "big")[-size:]
    return bytes((MADE | word & 0x7F,)) + small
