"""Seals the state of an association for another process.

The association id, the export generation and the nonce are in plaintext. The rest is sealed with
AES-256-GCM. Its additional data covers the plaintext part and the version of the layout.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from aiodtls.core import exported_json, exported_state
from aiodtls.core.checks import checked
from aiodtls.core.exported_state import ExportedState

KEY_LENGTH = 32
NONCE_LENGTH = 12
LABEL = b"aiodtls association 4"
# The association id and the export generation, readable by those who store states.
CLEAR = Struct("!16sQ")
ID_LENGTH = 16
HEAD_LENGTH = CLEAR.size + NONCE_LENGTH


@checked
def association_of(state: bytes) -> tuple[bytes, int]:
    """The association id of an exported state, 16 bytes, and its export generation.

    Anybody can read them; they are authentic only once the state was adopted. A store keeps the
    highest generation of each association, and gives each one out once. Raises ValueError for bytes
    that are not a state.
    """
    if len(state) < HEAD_LENGTH:
        raise ValueError("these bytes are not the state of an association")
    identity, generation = CLEAR.unpack_from(state)
    return identity, generation


def nonce_of(state: bytes) -> bytes:
    """Bytes that differ between any two exported states."""
    return state[CLEAR.size : HEAD_LENGTH]


def seal(
    state: ExportedState,
    association: tuple[bytes, int],
    key: bytes,
    random: Callable[[int], bytes],
) -> bytes:
    """Seals with AES-256-GCM under ``key``, 32 bytes. Raises ValueError for another length."""
    cipher = _cipher(key)
    nonce = random(NONCE_LENGTH)
    clear = CLEAR.pack(*association)
    return clear + nonce + cipher.encrypt(nonce, exported_state.encode(state), LABEL + clear)


def unseal(data: bytes, key: bytes) -> ExportedState:
    """Opens a state. Raises ValueError for another key or layout."""
    cipher = _cipher(key)
    clear = CLEAR.pack(*association_of(data))
    nonce, sealed = nonce_of(data), data[HEAD_LENGTH:]
    # The layout of the previous release is still read, but no longer written.
    for label, parse in ((LABEL, exported_state.parse), (exported_json.LABEL, exported_json.parse)):
        try:
            content = cipher.decrypt(nonce, sealed, label + clear)
        except InvalidTag:
            continue
        return parse(content)
    raise ValueError("this state was not sealed with this key, or was changed")


def _cipher(key: bytes) -> AESGCM:
    if len(key) != KEY_LENGTH:
        raise ValueError(f"the key of a state has {KEY_LENGTH} bytes")
    return AESGCM(key)
