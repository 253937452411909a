"""What can be said about the runner's shim without the runner."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from aiodtls.core.errors import CertificateError, HandshakeError, HandshakeRefused, HandshakeTimeout
from tests.bogo.flags import Unimplemented, parse
from tests.bogo.names import name_of
from tests.bogo.results import HERE, compare, disabled_for, read_frozen

BASE = ["-port", "1", "-shim-id", "2"]


def test_every_deviation_is_explained_and_nothing_else() -> None:
    deviating = {name for name, outcome in read_frozen().items() if outcome == "deviates"}
    text = (HERE / "deviations.md").read_text()
    # Those of the policies pass.
    text = text[text.index("## Silence") :]
    explained = set(re.findall(r"^\| ([A-Z][\w.]*(?:-\w+)+) \|", text, re.MULTILINE))
    assert deviating
    assert explained == deviating


def test_every_skipped_test_has_the_reason_of_the_configuration() -> None:
    for name, outcome in read_frozen().items():
        why = disabled_for(name)
        if why is not None:
            assert outcome == f"skipped: {why}"
        else:
            assert outcome in ("passed", "deviates") or re.match(r"skipped: \w", outcome)


def test_the_figures_are_those_of_the_list() -> None:
    outcomes = Counter(read_frozen().values())
    text = (HERE / "deviations.md").read_text()
    for name, count in re.findall(r"^\| ([^|`]+) \| (\d+) \|", text, re.MULTILINE):
        assert outcomes.pop(f"skipped: out of scope: {name}") == int(count)
    assert set(outcomes) == {"passed", "deviates"}
    passed, deviates = outcomes["passed"], outcomes["deviates"]
    figures = f"{passed + deviates:,} are in scope; {passed:,} pass, and {deviates} deviate"
    assert figures in text


def test_comparison_sees_each_kind_of_change() -> None:
    frozen = {"a": "passed", "b": "skipped: not spoken", "c": "deviates", "d": "passed"}
    assert compare({"a": "passed", "c": "deviates", "d": "passed"}, frozen) == []
    changed = {"a": "deviates", "b": "passed", "c": "passed", "e": "passed"}
    assert [line.partition(":")[0] for line in compare(changed, frozen)] == list("abcde")


def test_unknown_flags_and_other_versions_are_not_implemented() -> None:
    for flags in (["-no-such-flag"], ["-max-version", "65279"], ["-no-tls12", "-no-tls13"]):
        with pytest.raises(Unimplemented):
            parse([*BASE, *flags], "on-initial-")


def test_prefixed_flags_count_for_their_connection_alone() -> None:
    arguments = [*BASE, "-on-initial-verify-fail", "-on-resume-expect-alpn", "foo", "-verify-peer"]
    initial, resumed = parse(arguments, "on-initial-"), parse(arguments, "on-resume-")
    assert initial.switches == {"verify-fail", "verify-peer"}
    assert resumed.switches == {"verify-peer"}
    assert initial.texts == {}
    assert resumed.texts == {"expect-alpn": "foo"}


def test_credentials_come_in_order_and_the_default_one_is_no_number() -> None:
    arguments = [*BASE, "-new-x509-credential", "-cert-file", "a", "-signing-prefs", "2055"]
    flags = parse(arguments, "on-initial-")
    assert [(c.index, c.cert_file, c.signing_prefs) for c in flags.credentials] == [
        (0, "a", [2055])
    ]
    (default,) = parse([*BASE, "-cert-file", "b"], "on-initial-").credentials
    assert (default.index, default.cert_file) == (-1, "b")


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (HandshakeTimeout("no answer"), ":READ_TIMEOUT_EXPIRED:"),
        (HandshakeRefused("handshake_failure"), ":SSLV3_ALERT_HANDSHAKE_FAILURE:"),
        (HandshakeRefused("protocol_version"), ":TLSV1_ALERT_PROTOCOL_VERSION:"),
        (CertificateError("the application refuses"), ":CERTIFICATE_VERIFY_FAILED:"),
        (HandshakeError("the peer's Finished does not verify"), ":DIGEST_CHECK_FAILED:"),
    ],
)
def test_errors_have_the_runners_names(error: Exception, name: str) -> None:
    assert name_of(error).startswith(name)


def test_an_error_without_a_row_matches_no_name() -> None:
    assert ":" not in name_of(HandshakeError("something new")).removeprefix("HandshakeError:")
