"""The layout of connection ids that tell which process of which host an association belongs to.

An id is a steering byte, the node, a nonce and a MAC. The steering byte modulo ``slots`` is the
slot, so that a packet filter of the kernel can read it without a key. The node is masked with a
hash of the rest. All bytes look random, as the ids of other servers do.

The MAC does not authenticate the peer. It says cheaply that an id is not junk, so that strangers
cannot cause datagrams to be forwarded, or a store to be asked.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable

from aiodtls.core.checks import checked_part
from aiodtls.core.errors import ConfigError
from aiodtls.core.frozen import frozen
from aiodtls.core.shared_secrets import SECRET_LENGTH, check_secrets

MAX_SLOTS = 128
MAX_NODE_LENGTH = 16
MAC_LENGTH = 4
# Nonces keep the ids of one slot apart. With seven bytes a successor of a process does not draw the
# id of an association that it does not know.
NONCE_LENGTH, LEAST_NONCE_LENGTH = 7, 3
LABEL = b"aiodtls id layout"
# BLAKE2's personalization: one key, two functions.
_FOR_MAC, _FOR_NODE = b"aiodtls id mac", b"aiodtls id node"


@frozen
class IdOwner:
    """Whose a connection id is.

    Attributes:
        node: the name of the host, as its layout has it.
        slot: the number of the process there.
    """

    node: bytes
    slot: int


class IdLayout:
    """Connection ids that tell the node and the slot of their association.

    All processes behind one address share the secrets, ``slots``, and the length of ``node``.

    Args:
        node: The name of this host, the same number of bytes on each, at most 16.
        slot: The number of this process among those that share a port, from 0.
        slots: How many processes share a port, at most 128.
        secret: 32 random bytes or more. Without one a new secret is generated, which is good for
            one process.
        old_secrets: Earlier secrets. Ids made with them are still known, but no longer made.

    Raises:
        ConfigError: A value is out of range, or a secret is shorter or all zeros.
    """

    __slots__ = ("_keys", "node", "slot", "slots")

    # Where the steering byte is in an id.
    steering_offset = 0

    node: bytes
    slot: int
    slots: int

    @checked_part
    def __init__(
        self,
        node: bytes = b"",
        slot: int = 0,
        slots: int = 1,
        secret: bytes | None = None,
        *old_secrets: bytes,
    ) -> None:
        if not 1 <= slots <= MAX_SLOTS:
            raise ConfigError(f"slots must be from 1 to {MAX_SLOTS}, not {slots}")
        if not 0 <= slot < slots:
            raise ConfigError(f"slot must be from 0 to {slots - 1} with slots={slots}, not {slot}")
        if len(node) > MAX_NODE_LENGTH:
            raise ConfigError(f"node has {len(node)} bytes, and may have {MAX_NODE_LENGTH}")
        if secret is None:
            secret = os.urandom(SECRET_LENGTH)
        secrets = (bytes(secret), *map(bytes, old_secrets))
        check_secrets(secrets, "connection id")
        self.node, self.slot, self.slots = bytes(node), slot, slots
        self._keys = tuple(hmac.digest(each, LABEL, "sha256") for each in secrets)

    def __repr__(self) -> str:
        return (
            f"IdLayout(node={self.node!r}, slot={self.slot}, slots={self.slots}, "
            f"<{len(self._keys)} secrets>)"
        )

    @property
    def length(self) -> int:
        """The bytes of an id, where ``connection_id`` of the config is None."""
        return 1 + len(self.node) + NONCE_LENGTH + MAC_LENGTH

    def check_length(self, length: int) -> None:
        """Raises :class:`ConfigError` for ids that are too short for this layout; 0 is no ids."""
        least = 1 + len(self.node) + LEAST_NONCE_LENGTH + MAC_LENGTH
        if 0 < length < least:
            raise ConfigError(
                f"connection_id={length}: an id of this layout has at least {least} bytes, "
                f"and {self.length} if connection_id is None"
            )

    def new(self, length: int, random: Callable[[int], bytes]) -> bytes:
        """Makes an id of ``length`` bytes."""
        [drawn, *_] = rest = random(length - len(self.node) - MAC_LENGTH)
        steering = self.slot + self.slots * (drawn % (256 // self.slots))
        nonce = bytes((steering,)) + rest[1:]
        key = self._keys[0]
        named = nonce[:1] + _masked(key, self.node, nonce) + nonce[1:]
        return named + _mac(key, named)

    def owner_of(self, cid: bytes) -> IdOwner | None:
        """Whose an id is; None if it was not made with one of the secrets.

        Takes a few microseconds for any bytes.
        """
        named, mac = cid[:-MAC_LENGTH], cid[-MAC_LENGTH:]
        end = 1 + len(self.node)
        if len(named) < end + LEAST_NONCE_LENGTH:
            return None
        for key in self._keys:
            if hmac.compare_digest(_mac(key, named), mac):
                node = _masked(key, named[1:end], named[:1] + named[end:])
                return IdOwner(node, named[0] % self.slots)
        return None


def _mac(key: bytes, named: bytes) -> bytes:
    return hashlib.blake2b(named, key=key, digest_size=MAC_LENGTH, person=_FOR_MAC).digest()


def _masked(key: bytes, node: bytes, nonce: bytes) -> bytes:
    """The node masked, or unmasked. Ids with the same node then have nothing in common."""
    if not node:
        return b""
    size = len(node)
    mask = hashlib.blake2b(nonce, key=key, digest_size=size, person=_FOR_NODE).digest()
    return (int.from_bytes(node) ^ int.from_bytes(mask)).to_bytes(size)
