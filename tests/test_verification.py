"""Why a chain is not verified. What queues and threads do is in faults/test_verification.py."""

from __future__ import annotations

from aiodtls.core.errors import failure_reason
from aiodtls.verification import VerificationRefused


def test_a_full_queue_is_a_reason_of_its_own():
    refused = VerificationRefused()
    assert failure_reason(refused.error) == "queue_full"
    assert str(refused.error) == str(refused)
