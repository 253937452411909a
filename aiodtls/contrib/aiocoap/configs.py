"""Which config an association gets: the default, and those of aiocoap's kinds of credentials."""

from __future__ import annotations

import dataclasses
from typing import Any, Unpack

from aiocoap.credentials import CredentialReference, CredentialsMissingError

from aiodtls import PSK, DTLSConfig, Trust, profiles

# Seconds. CoAP repeats a message after as long (ACK_TIMEOUT, RFC 7252 section 4.8).
RETRANSMIT_INITIAL = 2.0


def default_config(**fields: Unpack[profiles.Fields]) -> DTLSConfig:
    """The config of those who name none: the profile for small devices, in a network that is as
    fast as CoAP takes it to be.
    """
    fields.setdefault("retransmit_initial", RETRANSMIT_INITIAL)
    return profiles.iot(**fields)


class ClientConfigs:
    """Finds the config for an entry of aiocoap's ``client_credentials``; one for each key."""

    def __init__(self, base: DTLSConfig) -> None:
        self._base = base
        self._made: dict[object, DTLSConfig] = {}

    def of(self, entry: Any) -> DTLSConfig:
        """The config for an entry. Raises CredentialsMissingError for one of no use to DTLS."""
        while isinstance(entry, CredentialReference):
            entry = entry.map[entry.target]
        if isinstance(entry, DTLSConfig):
            return entry
        if hasattr(entry, "as_dtls_psk"):
            return self._with_psk(*entry.as_dtls_psk())
        if hasattr(entry, "as_ssl_params"):
            return self._with_trust(entry.as_ssl_params()["cafile"])
        raise CredentialsMissingError(
            f"the entry for this URI in client_credentials is a {type(entry).__name__}, which DTLS "
            "cannot use: use a DTLSConfig, or one of the kinds dtls and tlscert"
        )

    def _with_psk(self, identity: bytes, key: bytes) -> DTLSConfig:
        source = (identity, key)
        if source not in self._made:
            psk = PSK(identity, key)
            self._made[source] = dataclasses.replace(self._base, psk=psk, trust=None)
        return self._made[source]

    def _with_trust(self, cafile: str) -> DTLSConfig:
        if cafile not in self._made:
            trust = Trust.from_files(cafile)
            self._made[cafile] = dataclasses.replace(self._base, psk=None, trust=trust)
        return self._made[cafile]
