"""The questions of a scan, and what the answers come to.

A list is offered as a whole. The server chooses one entry, and the next question leaves that one
out, until the server refuses. So there are as many questions as things that it takes, and one more.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from aiodtls.cli.scan import code_points
from aiodtls.cli.scan.certificates import CertificateFacts, facts_of
from aiodtls.cli.scan.code_points import SUITES_12, SUITES_13
from aiodtls.cli.scan.exchange import Answer, Pace, Target, TooManySilences, ask
from aiodtls.cli.scan.hello import Hello
from aiodtls.cli.scan.progress import Progress
from aiodtls.client import connect
from aiodtls.core.config import DTLSConfig
from aiodtls.core.crypto.trust import Trust
from aiodtls.core.errors import DTLSError
from aiodtls.core.registry import ExtensionType
from aiodtls.core.wire.codec import Writer

VERSIONS = ("1.3", "1.2", "1.0")
# Bytes of a fragment, where the server is asked whether it takes a hello in pieces.
SMALL_FRAGMENT = 100
# Seconds for one whole handshake, and for the tickets that may follow it.
HANDSHAKE_TIMEOUT = 8.0
TICKET_WAIT = 0.5


@dataclass
class VersionFacts:
    """What a server takes of one version. Names are those of the IANA registries."""

    cipher_suites: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    signature_schemes: list[str] = field(default_factory=list)
    alpn_protocol: str | None = None
    connection_id: bool = False
    return_routability_check: bool = False
    tickets: bool = False
    # Of DTLS 1.2 alone.
    extended_master_secret: bool | None = None
    renegotiation_info: bool | None = None
    # Bytes that came for each byte sent, before a cookie was returned.
    cookie: bool = False
    amplification: float = 0.0
    fragmented_hello: bool = False


@dataclass
class Survey:
    """All that a scan has found."""

    host: str
    port: int
    versions: dict[str, VersionFacts] = field(default_factory=dict)
    post_quantum: bool = False
    certificates: list[CertificateFacts] = field(default_factory=list)
    questions: int = 0
    is_complete: bool = True
    notes: list[str] = field(default_factory=list)

    @property
    def answers(self) -> bool:
        """Whether the server has answered at all."""
        return bool(self.versions) or (self.questions > 0 and self.is_complete)


class _Asker:
    """Asks one target, within the pace."""

    def __init__(self, target: Target, pace: Pace, progress: Progress) -> None:
        self.target = target
        self.pace = pace
        self._progress = progress

    async def ask(self, what: str, hello: Hello, **options: int) -> Answer:
        self._progress.show(self.pace.asked, what)
        await self.pace.wait()
        answer = await ask(self.target, hello, **options)
        self.pace.note(answer.kind != "silence" or answer.has_cookie)
        return answer

    async def all_taken(
        self,
        what: str,
        names: Mapping[int, str],
        hello_for: Callable[[tuple[int, ...]], Hello],
        chosen: Callable[[Answer], int | None],
    ) -> list[str]:
        """Names of all that the server takes, in its order."""
        left = dict(names)
        found = []
        while left and not self.pace.is_spent:
            answer = await self.ask(what, hello_for(tuple(left)))
            code = chosen(answer) if answer.is_taken else None
            if code not in left:
                break
            found.append(left.pop(code))
        return found


async def survey(
    target: Target,
    pace: Pace,
    *,
    alpn_protocols: Sequence[str] | None = None,
    progress: Progress,
) -> Survey:
    """Asks a server all questions, version by version.

    Args:
        target: the server.
        pace: how fast, and how many questions.
        alpn_protocols: names to offer; None: those in common use.
        progress: shown after each question.

    Raises:
        OSError: Nothing can be sent to the address.
    """
    seen = Survey(target.host, target.port)
    asker = _Asker(target, pace, progress)
    protocols = tuple(alpn_protocols or code_points.ALPN_PROTOCOLS)
    try:
        for version in VERSIONS:
            await _survey_version(asker, seen, version, protocols)
    except TooManySilences:
        pass
    if pace.is_silent:
        seen.is_complete = False
        seen.notes.append("stopped: three questions in a row had no answer")
    if pace.is_spent:
        seen.is_complete = False
        seen.notes.append(f"stopped after {pace.asked} questions")
    seen.questions = pace.asked
    return seen


async def _survey_version(
    asker: _Asker, seen: Survey, version: str, protocols: tuple[str, ...]
) -> None:
    hello = first_hello(version)
    first = await asker.ask(f"DTLS {version}", hello)
    if not first.is_taken and version == "1.2":
        # Some servers with PSKs alone choose a suite with a certificate, and then do not answer.
        hello = replace(hello, suites=tuple(c for c in hello.suites if "PSK" in SUITES_12[c]))
        first = await asker.ask(f"DTLS {version} with PSKs", hello)
    if not first.is_taken or first.version != version:
        return
    facts = seen.versions[version] = VersionFacts(
        cookie=first.has_cookie or first.is_retry,
        amplification=round(first.received_bytes / max(1, first.sent_bytes), 2),
    )
    await _ask_lists(asker, facts, version, hello)
    if version == "1.0":
        return
    if version == "1.2":
        await _ask_features_12(asker, seen, facts, hello, protocols)
    else:
        seen.post_quantum = not code_points.POST_QUANTUM.isdisjoint(facts.groups)
        await _ask_features_13(asker, seen, facts, hello, protocols)
    # Last, because some servers hear nothing for a while after it.
    pieces = await asker.ask("a hello in fragments", hello, fragment_size=SMALL_FRAGMENT)
    facts.fragmented_hello = pieces.is_taken


def first_hello(version: str) -> Hello:
    """Everything that the scanner knows of one version, in one hello."""
    is_13 = version == "1.3"
    suites = SUITES_13 if is_13 else SUITES_12
    groups = code_points.GROUPS_13 if is_13 else code_points.CURVES
    hello = Hello(
        version=version,
        suites=tuple(suites),
        groups=tuple(groups),
        schemes=tuple(code_points.SCHEMES),
    )
    return hello if is_13 else hello.with_extensions((ExtensionType.extended_master_secret, b""))


async def _ask_lists(asker: _Asker, facts: VersionFacts, version: str, hello: Hello) -> None:
    is_13 = version == "1.3"
    facts.cipher_suites = await asker.all_taken(
        "cipher suites",
        {code: (SUITES_13 if is_13 else SUITES_12)[code] for code in hello.suites},
        lambda left: replace(hello, suites=left),
        lambda answer: answer.suite,
    )
    with_groups = hello if is_13 else _elliptic(hello)
    if not with_groups.suites:
        return
    facts.groups = await asker.all_taken(
        "groups",
        code_points.GROUPS_13 if is_13 else code_points.CURVES,
        lambda left: replace(with_groups, groups=left),
        lambda answer: answer.group,
    )
    if version == "1.2":
        facts.signature_schemes = await asker.all_taken(
            "signature schemes",
            code_points.SCHEMES,
            lambda left: replace(with_groups, schemes=left),
            lambda answer: answer.scheme,
        )
    elif is_13:
        facts.signature_schemes = await _schemes_13(asker, facts, hello)


async def _schemes_13(asker: _Asker, facts: VersionFacts, hello: Hello) -> list[str]:
    """One question for each scheme: the server's choice is encrypted, that it has one is not."""
    found = []
    with_share = _with_share(hello, facts)
    for code, name in code_points.SCHEMES.items():
        if with_share is None or asker.pace.is_spent:
            break
        answer = await asker.ask("signature schemes", replace(with_share, schemes=(code,)))
        if answer.is_taken:
            found.append(name)
    return found


async def _more_curves(
    asker: _Asker, facts: VersionFacts, hello: Hello, certificates: list[CertificateFacts]
) -> list[str]:
    """Curves that a server prefers to that of its certificate.

    RFC 8422 section 5.1: without the certificate's curve in supported_groups a server with an ECDSA
    certificate refuses, so curves that it likes less than that one cannot be seen.
    """
    codes = {name: code for code, name in code_points.CURVES.items()}
    curve = certificates[0].key.removeprefix("ECDSA ") if certificates else ""
    if curve not in codes:
        return []
    found = []
    for code, name in code_points.CURVES.items():
        if name in facts.groups or asker.pace.is_spent:
            continue
        answer = await asker.ask("groups", replace(hello, groups=(code, codes[curve])))
        if answer.group == code:
            found.append(name)
    return found


def _with_share(hello: Hello, facts: VersionFacts) -> Hello | None:
    """The hello with a key share that the server takes; None if the scanner can make none."""
    share = next((made for name in facts.groups if (made := _share(name))), None)
    return replace(hello, groups=(share[0],), shares=(share,)) if share is not None else None


def _elliptic(hello: Hello) -> Hello:
    """The hello with the suites that use a curve alone."""
    suites = tuple(code for code in hello.suites if "_ECDHE_" in SUITES_12[code])
    return replace(hello, suites=suites)


def _share(group: str) -> tuple[int, bytes] | None:
    """A key share of a group for which one is made quickly; None for others."""
    if group == "x25519":
        public = x25519.X25519PrivateKey.generate().public_key()
        return 29, public.public_bytes_raw()
    curves: dict[str, tuple[int, ec.EllipticCurve]] = {
        "secp256r1": (23, ec.SECP256R1()),
        "secp384r1": (24, ec.SECP384R1()),
        "secp521r1": (25, ec.SECP521R1()),
    }
    if group not in curves:
        return None
    code, curve = curves[group]
    key = ec.generate_private_key(curve).public_key()
    return code, key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


async def _ask_features_12(
    asker: _Asker, seen: Survey, facts: VersionFacts, hello: Hello, protocols: tuple[str, ...]
) -> None:
    names = Writer().vectors([name.encode() for name in protocols], 1, 2).finish()
    features = hello.with_extensions(
        (ExtensionType.session_ticket, b""),
        (ExtensionType.connection_id, b"\0"),
        (ExtensionType.rrc, b""),
    )
    answer = await asker.ask("extensions", features)
    if not answer.is_taken:
        return
    facts.extended_master_secret = ExtensionType.extended_master_secret in answer.extensions
    facts.renegotiation_info = ExtensionType.renegotiation_info in answer.extensions
    facts.tickets = ExtensionType.session_ticket in answer.extensions
    facts.connection_id = ExtensionType.connection_id in answer.extensions
    facts.return_routability_check = ExtensionType.rrc in answer.extensions
    if answer.certificates:
        seen.certificates = facts_of(answer.certificates, asker.target.name or asker.target.host)
    facts.groups += await _more_curves(asker, facts, _elliptic(hello), seen.certificates)
    alpn = ExtensionType.application_layer_protocol_negotiation
    answer = await asker.ask("ALPN", hello.with_extensions((alpn, names)))
    chosen = answer.extensions.get(alpn, b"")
    if answer.is_taken and len(chosen) > 3:
        facts.alpn_protocol = chosen[3:].decode("ascii", "backslashreplace")


async def _ask_features_13(
    asker: _Asker, seen: Survey, facts: VersionFacts, hello: Hello, protocols: tuple[str, ...]
) -> None:
    """Whole handshakes of our own too: much of what is asked for is encrypted in DTLS 1.3."""
    with_share = _with_share(hello, facts)
    if with_share is not None:
        extensions = (ExtensionType.connection_id, b"\0"), (ExtensionType.rrc, b"")
        answer = await asker.ask("extensions", with_share.with_extensions(*extensions))
        facts.connection_id = ExtensionType.connection_id in answer.extensions
        facts.return_routability_check = ExtensionType.rrc in answer.extensions
    for offered in ((), protocols):
        config = DTLSConfig(
            versions=["1.3"],
            trust=Trust.insecure(),
            alpn_protocols=offered,
            handshake_timeout=HANDSHAKE_TIMEOUT,
        )
        with contextlib.suppress(DTLSError, OSError):
            await asker.pace.wait()
            await _handshake(asker.target, config, seen, facts)


async def _handshake(target: Target, config: DTLSConfig, seen: Survey, facts: VersionFacts) -> None:
    async with connect(
        target.host, target.port, server_hostname=target.name, config=config
    ) as endpoint:
        chain = [c.public_bytes(Encoding.DER) for c in endpoint.peer_certificates]
        seen.certificates = facts_of(chain, target.name or target.host)
        if endpoint.alpn_protocol is not None:
            facts.alpn_protocol = endpoint.alpn_protocol
        await asyncio.sleep(TICKET_WAIT)
        facts.tickets = facts.tickets or endpoint.session is not None
