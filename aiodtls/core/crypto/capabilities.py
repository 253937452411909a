"""What the installed ``cryptography`` can do. Only this module looks at its version.

Each feature that the oldest supported version lacks has a name here, with the version that
introduced it. Defaults leave out features that are missing. A configuration that names one is an
error.
"""

from __future__ import annotations

import importlib
from typing import Any

import cryptography
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from aiodtls.core.errors import ConfigError

# ML-KEM (FIPS 203), for the hybrid groups.
ML_KEM = "ML-KEM"
# AEADs that write into a buffer of the caller.
INTO = "encrypt_into and decrypt_into"
# ML-DSA (FIPS 204), in the peer's certificates.
ML_DSA = "ML-DSA"
# The version of cryptography that introduced each.
SINCE = {ML_KEM: 47, INTO: 47, ML_DSA: 48}


def _working(name: str, kind: str) -> Any:
    """The module of an algorithm, or None if the linked OpenSSL lacks the algorithm."""
    try:
        module = importlib.import_module(f"cryptography.hazmat.primitives.asymmetric.{name}")
        getattr(module, kind).generate()
    except (ImportError, UnsupportedAlgorithm):
        return None
    return module


mlkem: Any = _working("mlkem", "MLKEM768PrivateKey")
_FOUND = {
    ML_KEM: mlkem is not None,
    ML_DSA: _working("mldsa", "MLDSA44PrivateKey") is not None,
    INTO: hasattr(AESGCM, "encrypt_into"),
}
FEATURES = frozenset(name for name, found in _FOUND.items() if found)


def require(feature: str, what: str) -> None:
    """Raises :class:`ConfigError` if ``what``, named in a configuration, needs a missing
    feature.
    """
    if feature not in FEATURES:
        raise ConfigError(
            f"{what} needs {feature}, which cryptography has since version {SINCE[feature]}; "
            f"{cryptography.__version__} is installed"
        )
