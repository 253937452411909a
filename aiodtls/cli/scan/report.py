"""A scan as text for a person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from aiodtls.cli.scan.grading import Finding
from aiodtls.cli.scan.survey import Survey, VersionFacts


def lines_of(seen: Survey, findings: Sequence[Finding]) -> Iterator[str]:
    """The report, line by line."""
    yield f"{seen.host} port {seen.port}: {seen.questions} questions"
    if not seen.versions:
        yield "takes no version of DTLS that was asked for, or does not answer"
    for version, facts in seen.versions.items():
        yield ""
        yield f"DTLS {version}"
        yield from _version_lines(facts)
    for number, certificate in enumerate(seen.certificates):
        yield ""
        yield f"certificate {number}: {certificate.subject}"
        yield f"  issued by     {certificate.issuer}"
        yield f"  names         {', '.join(certificate.names) or 'none'}"
        yield f"  key           {certificate.key}"
        begins, ends = certificate.not_before, certificate.not_after
        yield f"  valid         {begins:%Y-%m-%d} to {ends:%Y-%m-%d}"
    if findings:
        yield ""
        yield "findings"
    for finding in findings:
        yield f"  {finding.grade:8} {finding.text} ({finding.reference})"
    yield from seen.notes


def _version_lines(facts: VersionFacts) -> Iterator[str]:
    yield from _list("cipher suites", facts.cipher_suites)
    yield from _list("groups", facts.groups)
    yield from _list("signatures", facts.signature_schemes)
    for name, value in (
        ("cookie", facts.cookie),
        ("amplification", facts.amplification),
        ("fragments", facts.fragmented_hello),
        ("ems", facts.extended_master_secret),
        ("renegotiation", facts.renegotiation_info),
        ("tickets", facts.tickets),
        ("connection id", facts.connection_id),
        ("rrc", facts.return_routability_check),
        ("ALPN", facts.alpn_protocol or "none"),
    ):
        if value is not None:
            yield f"  {name:13} {_shown(value)}"


def _list(name: str, values: Sequence[str]) -> Iterator[str]:
    for number, value in enumerate(values or ["none"]):
        yield f"  {name if number == 0 else '':13} {value}"


def _shown(value: bool | float | str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
