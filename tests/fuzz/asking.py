"""Handshakes that wait for their owner: keys, trust and signatures that are functions."""

from __future__ import annotations

import dataclasses
from functools import cache

from cryptography.x509 import load_der_x509_certificate

from aiodtls import Credentials, DTLSConfig, Trust
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.crypto import signatures
from aiodtls.core.events import (
    CertificateReceived,
    PSKRequested,
    SignatureRequested,
    VerificationRequested,
)
from tests.simulated import variants

ASKING = ("asking", "asking13", "asking_psk", "asking_psk13")
KEY = b"0123456789abcdef"


@cache
def configs(variant: str) -> tuple[DTLSConfig, DTLSConfig]:
    """Client's and server's, of these variants and of those of the simulated network."""
    if variant not in ASKING:
        return variants.configs(variant)
    if "psk" in variant:
        client, server = variants.configs(variant.removeprefix("asking_"))
        return client, dataclasses.replace(server, psk=lambda identity: KEY)
    client, server = variants.configs(variant.replace("asking", "mutual"))
    trust = Trust.from_function(lambda chain, context: True)
    return _asking(client, trust), _asking(server, trust)


def _asking(config: DTLSConfig, trust: Trust) -> DTLSConfig:
    known = config.credential_list[0]
    key = known.private_key
    assert key is not None

    def sign(scheme: str, data: bytes) -> bytes:
        return signatures.sign(key, signatures.scheme_by_name(scheme), data)

    credentials = Credentials.from_signer([load_der_x509_certificate(known.chain[0])], sign)
    return dataclasses.replace(config, credentials=credentials, trust=trust)


def answer(connection: DTLSConnection, now: float) -> bool:
    """Gives the right answer to the open question; whether there was one."""
    question = connection._driver._question
    match question:
        case PSKRequested():
            connection.answer(question, KEY, now)
        case CertificateReceived():
            connection.answer(question, True, now)
        case VerificationRequested():
            connection.answer(question, question.verify(), now)
        case SignatureRequested():
            connection.answer(question, question.function(question.scheme, question.data), now)
        case _:
            return False
    return True
