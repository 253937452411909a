"""The list of mutants, by part of the package."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

MUTANTS = [
    Mutant(
        "ack-of-a-higher-epoch",
        "RFC 9147 7",
        "core/reliability/acks.py",
        "highest = epoch if epoch < APPLICATION_EPOCH else MAX_EPOCH",
        "highest = MAX_EPOCH",
        "core/test_acks.py",
    ),
    Mutant(
        "ack-unsorted",
        "RFC 9147 7",
        "core/reliability/acks.py",
        "for number in sorted(fitting[len(fitting) - min(count, len(fitting)) :])",
        "for number in fitting[len(fitting) - min(count, len(fitting)) :]",
        "core/test_acks.py",
    ),
]
