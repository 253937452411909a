"""Who is believed: certificates, raw keys, fingerprints and names."""

from __future__ import annotations

from tests.mutants.mutant import of

MUTANTS = [
    *of("core/crypto/trust.py", "core/test_credentials.py"),
]
