"""The questions of a scan, and what the answers come to.

A list is offered as a whole. The server chooses one entry, and the next question leaves that one
out, until the server refuses. So there are as many questions as things that it takes, and one more.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

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
from aiodtls.core.peer_text import shown
from aiodtls.core.registry import ExtensionType
from aiodtls.core.wire.codec import Writer

VERSIONS = ("1.3", "1.2", "1.0")
# Bytes of a fragment, where the server is asked whether it takes a hello in pieces.
SMALL_FRAGMENT = 100
# Seconds for one whole handshake, and for the tickets that may follow it.
HANDSHAKE_TIMEOUT = 8.0
TICKET_WAIT = 0.5


@dataclass(frozen=True)
class VersionFacts:
    """What a server takes of one version. Names are those of the IANA registries."""

    cipher_suites: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    signature_schemes: tuple[str, ...] = ()
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
    certificates: tuple[CertificateFacts, ...] = ()


@dataclass(frozen=True)
class Survey:
    """All that a scan has found."""

    host: str
    port: int
    versions: Mapping[str, VersionFacts] = field(default_factory=dict)
    questions: int = 0
    is_complete: bool = True
    notes: tuple[str, ...] = ()

    @property
    def answers(self) -> bool:
        """Whether the server has answered at all."""
        return bool(self.versions) or (self.questions > 0 and self.is_complete)

    @property
    def post_quantum(self) -> bool:
        """Whether a group with ML-KEM is taken."""
        new = self.versions.get("1.3")
        return new is not None and not code_points.POST_QUANTUM.isdisjoint(new.groups)

    @property
    def certificates(self) -> tuple[CertificateFacts, ...]:
        """The chain, of the newest version that shows one."""
        return next((f.certificates for f in self.versions.values() if f.certificates), ())


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
    ) -> tuple[str, ...]:
        """Names of all that the server takes, in its order."""
        left = dict(names)
        found = []
        while left and not self.pace.is_spent:
            answer = await self.ask(what, hello_for(tuple(left)))
            code = chosen(answer) if answer.is_taken else None
            if code not in left:
                break
            found.append(left.pop(code))
        return tuple(found)


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
    asker = _Asker(target, pace, progress)
    protocols = tuple(alpn_protocols or code_points.ALPN_PROTOCOLS)
    surveys = [_VersionSurvey(asker, version, protocols) for version in VERSIONS]
    with contextlib.suppress(TooManySilences):
        for each in surveys:
            await each.run()
    notes = []
    if pace.is_silent:
        notes.append("stopped: three questions in a row had no answer")
    if pace.is_spent:
        notes.append(f"stopped after {pace.asked} questions")
    return Survey(
        target.host,
        target.port,
        {each.version: each.facts for each in surveys if each.facts is not None},
        questions=pace.asked,
        is_complete=not notes,
        notes=tuple(notes),
    )


class _VersionSurvey:
    """The questions about one version; ``facts`` is None while it is not known to be taken."""

    def __init__(self, asker: _Asker, version: str, protocols: tuple[str, ...]) -> None:
        self._asker = asker
        self.version = version
        self._protocols = protocols
        self._hello = first_hello(version)
        self.facts: VersionFacts | None = None

    async def run(self) -> None:
        """Asks everything.

        Raises:
            TooManySilences: The server does not answer.
        """
        first = await self._first()
        if not first.is_taken or first.version != self.version:
            return
        self.facts = VersionFacts(
            cookie=first.has_cookie or first.is_retry,
            amplification=round(first.received_bytes / max(1, first.sent_bytes), 2),
        )
        await self._ask_lists()
        if self.version == "1.0":
            return
        await (self._ask_features_13() if self.version == "1.3" else self._ask_features_12())
        # Last, because some servers hear nothing for a while after it.
        pieces = await self._asker.ask(
            "a hello in fragments", self._hello, fragment_size=SMALL_FRAGMENT
        )
        self._note(fragmented_hello=pieces.is_taken)

    def _note(self, **found: Any) -> None:
        assert self.facts is not None
        self.facts = replace(self.facts, **found)

    @property
    def _groups(self) -> tuple[str, ...]:
        return self.facts.groups if self.facts is not None else ()

    async def _first(self) -> Answer:
        answer = await self._asker.ask(f"DTLS {self.version}", self._hello)
        if answer.is_taken or self.version != "1.2":
            return answer
        # Some servers with PSKs alone choose a suite with a certificate, and then do not answer.
        with_psk = tuple(code for code in self._hello.suites if "PSK" in SUITES_12[code])
        self._hello = replace(self._hello, suites=with_psk)
        return await self._asker.ask("DTLS 1.2 with PSKs", self._hello)

    async def _ask_lists(self) -> None:
        is_13 = self.version == "1.3"
        suites = SUITES_13 if is_13 else SUITES_12
        self._note(
            cipher_suites=await self._asker.all_taken(
                "cipher suites",
                {code: suites[code] for code in self._hello.suites},
                lambda left: replace(self._hello, suites=left),
                lambda answer: answer.suite,
            )
        )
        hello = self._hello if is_13 else _elliptic(self._hello)
        if not hello.suites:
            return
        self._note(
            groups=await self._asker.all_taken(
                "groups",
                code_points.GROUPS_13 if is_13 else code_points.CURVES,
                lambda left: replace(hello, groups=left),
                lambda answer: answer.group,
            )
        )
        if is_13:
            self._note(signature_schemes=await self._schemes_13())
        elif self.version == "1.2":
            self._note(
                signature_schemes=await self._asker.all_taken(
                    "signature schemes",
                    code_points.SCHEMES,
                    lambda left: replace(hello, schemes=left),
                    lambda answer: answer.scheme,
                )
            )

    async def _schemes_13(self) -> tuple[str, ...]:
        """One question for each scheme: the choice is encrypted, but not that there is one."""
        found = []
        with_share = _with_share(self._hello, self._groups)
        for code, name in code_points.SCHEMES.items():
            if with_share is None or self._asker.pace.is_spent:
                break
            only = replace(with_share, schemes=(code,))
            if (await self._asker.ask("signature schemes", only)).is_taken:
                found.append(name)
        return tuple(found)

    async def _more_curves(self, certificates: tuple[CertificateFacts, ...]) -> tuple[str, ...]:
        """Curves that a server prefers to that of its certificate.

        RFC 8422 section 5.1: without the certificate's curve in supported_groups a server with an
        ECDSA certificate refuses, so curves that it likes less than that one cannot be seen.
        """
        codes = {name: code for code, name in code_points.CURVES.items()}
        curve = certificates[0].key.removeprefix("ECDSA ") if certificates else ""
        if curve not in codes:
            return ()
        found = []
        hello = _elliptic(self._hello)
        for code, name in code_points.CURVES.items():
            if name in self._groups or self._asker.pace.is_spent:
                continue
            both = replace(hello, groups=(code, codes[curve]))
            if (await self._asker.ask("groups", both)).group == code:
                found.append(name)
        return tuple(found)

    async def _ask_features_12(self) -> None:
        features = self._hello.with_extensions(
            (ExtensionType.session_ticket, b""),
            (ExtensionType.connection_id, b"\0"),
            (ExtensionType.rrc, b""),
        )
        answer = await self._asker.ask("extensions", features)
        if not answer.is_taken:
            return
        certificates = facts_of(answer.certificates, self._asker.target.checked_name)
        self._note(
            extended_master_secret=ExtensionType.extended_master_secret in answer.extensions,
            renegotiation_info=ExtensionType.renegotiation_info in answer.extensions,
            tickets=ExtensionType.session_ticket in answer.extensions,
            connection_id=ExtensionType.connection_id in answer.extensions,
            return_routability_check=ExtensionType.rrc in answer.extensions,
            certificates=certificates,
            groups=self._groups + await self._more_curves(certificates),
        )
        names = Writer().vectors([name.encode() for name in self._protocols], 1, 2).finish()
        alpn = ExtensionType.application_layer_protocol_negotiation
        answer = await self._asker.ask("ALPN", self._hello.with_extensions((alpn, names)))
        chosen = answer.extensions.get(alpn, b"")
        if answer.is_taken and len(chosen) > 3:
            self._note(alpn_protocol=shown(chosen[3:]))

    async def _ask_features_13(self) -> None:
        """Whole handshakes of our own too: much of what is asked for is encrypted in DTLS 1.3."""
        with_share = _with_share(self._hello, self._groups)
        if with_share is not None:
            extensions = (ExtensionType.connection_id, b"\0"), (ExtensionType.rrc, b"")
            answer = await self._asker.ask("extensions", with_share.with_extensions(*extensions))
            self._note(
                connection_id=ExtensionType.connection_id in answer.extensions,
                return_routability_check=ExtensionType.rrc in answer.extensions,
            )
        for offered in ((), self._protocols):
            with contextlib.suppress(DTLSError, OSError):
                await self._asker.pace.wait()
                await self._shake_hands(offered)

    async def _shake_hands(self, protocols: tuple[str, ...]) -> None:
        config = DTLSConfig(
            versions=["1.3"],
            trust=Trust.insecure(),
            alpn_protocols=protocols,
            handshake_timeout=HANDSHAKE_TIMEOUT,
        )
        target = self._asker.target
        async with connect(
            target.host, target.port, server_hostname=target.name, config=config
        ) as endpoint:
            chain = [c.public_bytes(Encoding.DER) for c in endpoint.peer_certificates]
            self._note(certificates=facts_of(chain, target.checked_name))
            if endpoint.alpn_protocol is not None:
                self._note(alpn_protocol=endpoint.alpn_protocol)
            await asyncio.sleep(TICKET_WAIT)
            if endpoint.session is not None:
                self._note(tickets=True)


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


def _with_share(hello: Hello, groups: Sequence[str]) -> Hello | None:
    """The hello with a key share that the server takes; None if the scanner can make none."""
    share = next((made for name in groups if (made := _share(name))), None)
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
