"""What the installed ``cryptography`` can do; the one place that looks at its version.

Each feature that the oldest supported version lacks has a name here and the version that brought
it. Defaults leave out what is not there; a config that names it is an error.
"""

from __future__ import annotations

from typing import Any

import cryptography
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from aiodtls.core.errors import ConfigError

# ML-KEM (FIPS 203), for the hybrid groups.
ML_KEM = "ML-KEM"
# AEADs that write where they are told.
INTO = "encrypt_into and decrypt_into"
# The first version of cryptography with each.
SINCE = {ML_KEM: 47, INTO: 47}


def _find_ml_kem() -> Any:
    """The module, where its functions work: what it is linked with may lack the algorithm."""
    try:
        from cryptography.hazmat.primitives.asymmetric import mlkem

        mlkem.MLKEM768PrivateKey.generate()
    except (ImportError, UnsupportedAlgorithm):
        return None
    return mlkem


mlkem = _find_ml_kem()
FEATURES = frozenset(
    name
    for name, there in {ML_KEM: mlkem is not None, INTO: hasattr(AESGCM, "encrypt_into")}.items()
    if there
)


def require(feature: str, what: str) -> None:
    """Raises :class:`ConfigError` where ``what``, named by a config, needs a missing feature."""
    if feature not in FEATURES:
        raise ConfigError(
            f"{what} needs {feature}, which cryptography has since version {SINCE[feature]}; "
            f"{cryptography.__version__} is installed"
        )
