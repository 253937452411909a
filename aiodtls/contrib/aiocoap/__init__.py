"""coaps:// for aiocoap: client and server over DTLS. Needs ``pip install aiodtls[aiocoap]``."""

from aiodtls.contrib.aiocoap.client import add_client
from aiodtls.contrib.aiocoap.identities import claims_of, key_name, psks_of, trust_key_names
from aiodtls.contrib.aiocoap.installing import install, installed
from aiodtls.contrib.aiocoap.messages import AssociationError, AssociationTimeout
from aiodtls.contrib.aiocoap.remotes import CoapsRemote
from aiodtls.contrib.aiocoap.server import add_server

__all__ = [
    "AssociationError",
    "AssociationTimeout",
    "CoapsRemote",
    "add_client",
    "add_server",
    "claims_of",
    "install",
    "installed",
    "key_name",
    "psks_of",
    "trust_key_names",
]
