"""The list of mutants, by part of the package."""

from __future__ import annotations

from tests.mutants.listed import (
    callers,
    extensions,
    faults,
    handshake,
    identity,
    negotiation,
    record,
    reliability,
    seeing,
    sessions,
    shell,
    strangers,
    trust,
)

MUTANTS = [
    *callers.MUTANTS,
    *extensions.MUTANTS,
    *negotiation.MUTANTS,
    *handshake.MUTANTS,
    *record.MUTANTS,
    *reliability.MUTANTS,
    *sessions.MUTANTS,
    *trust.MUTANTS,
    *strangers.MUTANTS,
    *faults.MUTANTS,
    *identity.MUTANTS,
    *seeing.MUTANTS,
    *shell.MUTANTS,
]
