"""Certificate chains: the search for a path to a trusted CA, and a limit on its work.

``cryptography`` builds the path and checks it. Certificates that share a name make its search
branch. So the work that the search could do is counted before it starts.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509 import verification
from cryptography.x509.oid import SignatureAlgorithmOID

from aiodtls.core.crypto.certificates import (
    PARSE_ERRORS,
    Role,
    allows_role,
    check_dates,
    date_of,
    described,
    extension,
    fingerprint_of,
    refusal,
    show_fingerprint,
    to_der,
)
from aiodtls.core.errors import AlertError
from aiodtls.core.peer_text import shown
from aiodtls.core.registry import AlertDescription

# How many signature checks the search may need at most. Slow ones count twice.
MAX_SIGNATURE_CHECKS = 32
# How many comparisons of a name with a name constraint, 0.2 us each.
MAX_NAME_CHECKS = 32_768
# In bytes. The library parses all names of a certificate at once: 0.5 ms for each KiB.
MAX_CERTIFICATE_SIZE = 16 * 1024
# Certificates between the leaf and the trusted CA.
_MAX_DEPTH = 8
_EDWARDS = (SignatureAlgorithmOID.ED25519, SignatureAlgorithmOID.ED448)


class _Link:
    """The fields of a certificate that the search for a path uses. Raises ``PARSE_ERRORS``."""

    __slots__ = ("constraints", "cost", "issuer", "names", "subject")

    def __init__(self, certificate: x509.Certificate) -> None:
        self.subject = certificate.subject
        self.issuer = certificate.issuer
        self.names = len(list(extension(certificate, x509.SubjectAlternativeName) or ()))
        limits = extension(certificate, x509.NameConstraints)
        subtrees = (limits.permitted_subtrees, limits.excluded_subtrees) if limits else ()
        self.constraints = sum(len(subtree or ()) for subtree in subtrees)
        self.cost = _cost(certificate)


def _cost(certificate: x509.Certificate) -> int:
    """The cost of one signature check with this key: 1 if it takes less than 0.2 ms, else 2."""
    try:
        key = certificate.public_key()
    except PARSE_ERRORS:
        # A trusted CA whose key the library cannot use. The keys of peers are loaded earlier.
        return 1
    if isinstance(key, rsa.RSAPublicKey):
        is_fast = key.key_size <= 4096
    elif isinstance(key, ec.EllipticCurvePublicKey):
        is_fast = isinstance(key.curve, ec.SECP256R1)
    else:
        is_fast = isinstance(key, ed25519.Ed25519PublicKey)
    return 1 if is_fast else 2


class Anchors:
    """The trusted CA certificates, and the check of a chain against them. Immutable."""

    __slots__ = ("_certificates", "_links", "_store")

    def __init__(self, certificates: Sequence[x509.Certificate]) -> None:
        """Raises ``PARSE_ERRORS``."""
        self._certificates = frozenset(certificates)
        self._store = verification.Store(list(certificates))
        self._links = _by_subject(_Link(certificate) for certificate in self._certificates)

    def check(self, chain: Sequence[x509.Certificate], peer_role: Role, wall_time: float) -> None:
        """Finds a path from the leaf, the first certificate, to a trusted CA.

        ``check_keys`` must have accepted the keys. Raises :class:`AlertError`, and
        ``PARSE_ERRORS``.
        """
        for certificate in chain:
            check_size(to_der(certificate))
        leaf = chain[0]
        issuers = [c for c in dict.fromkeys(chain[1:]) if c not in self._certificates]
        # A self-issued certificate leads to no other issuer, but makes the search branch.
        self_issued = [issuer for issuer in issuers if issuer.issuer == issuer.subject]
        spent = sum(_cost(issuer) for issuer in self_issued)
        useless = {issuer for issuer in self_issued if _is_self_signed(issuer)}
        useful = [issuer for issuer in issuers if issuer not in useless]
        self._check_work(leaf, useful, spent)
        # The client verifier serves both roles. It leaves the names to us. The server verifier
        # refuses every certificate without a subjectAltName.
        verifier = (
            verification.PolicyBuilder()
            .store(self._store)
            .time(date_of(wall_time))
            .max_chain_depth(_MAX_DEPTH)
            .extension_policies(ca_policy=_CA_POLICIES[peer_role], ee_policy=_LEAF_POLICY)
            .build_client_verifier()
        )
        try:
            verifier.verify(leaf, useful)
        except verification.VerificationError as error:
            # The library's text repeats names from the peer's certificates.
            raise _explain(chain, self._certificates, error, peer_role, wall_time) from None

    def _check_work(
        self, leaf: x509.Certificate, issuers: Sequence[x509.Certificate], spent: int
    ) -> None:
        """Refuses a chain whose names allow too long a search, whatever its signatures are."""
        first = _Link(leaf)
        links = [_Link(issuer) for issuer in issuers]
        search = _Search(self._links, _by_subject(links), spent)
        search.follow(first, 0)
        names = first.names + sum(link.names for link in links)
        comparisons = search.constraints * names
        if search.checks > MAX_SIGNATURE_CHECKS:
            message = f"needs more than {MAX_SIGNATURE_CHECKS} signature checks"
        elif comparisons > MAX_NAME_CHECKS:
            message = f"needs {comparisons} checks of name constraints; {MAX_NAME_CHECKS} are made"
        else:
            return
        raise refusal(AlertDescription.bad_certificate, f"the peer's chain {message}")


class _Search:
    """Counts what the library's search would do if all signatures were valid and no path ended at a
    CA.

    ``checks`` counts signature checks, ``constraints`` the comparisons with name constraints.
    """

    __slots__ = ("_issuers", "_trusted", "checks", "constraints")

    def __init__(
        self,
        trusted: dict[x509.Name, list[_Link]],
        issuers: dict[x509.Name, list[_Link]],
        spent: int,
    ) -> None:
        self._trusted = trusted
        self._issuers = issuers
        self.checks = spent
        self.constraints = 0

    def follow(self, link: _Link, depth: int) -> None:
        """Follows the issuers of ``link``. Stops soon after the limit is exceeded."""
        for issuer in self._trusted.get(link.issuer, ()):
            self._count(issuer)
        for issuer in self._issuers.get(link.issuer, ()):
            self._count(issuer)
            if depth < _MAX_DEPTH and self.checks <= MAX_SIGNATURE_CHECKS:
                self.follow(issuer, depth + 1)

    def _count(self, issuer: _Link) -> None:
        self.checks += issuer.cost
        self.constraints += issuer.constraints


def _by_subject(links: Iterable[_Link]) -> dict[x509.Name, list[_Link]]:
    found: dict[x509.Name, list[_Link]] = defaultdict(list)
    for link in links:
        found[link.subject].append(link)
    return dict(found)


def check_size(certificate: bytes) -> None:
    size = len(certificate)
    if size > MAX_CERTIFICATE_SIZE:
        raise refusal(
            AlertDescription.bad_certificate,
            f"a certificate of the peer's chain has {size} bytes; {MAX_CERTIFICATE_SIZE} are read",
        )


def _is_self_signed(certificate: x509.Certificate) -> bool:
    with contextlib.suppress(InvalidSignature, *PARSE_ERRORS):
        certificate.verify_directly_issued_by(certificate)
        return True
    return False


def _check_may_sign(
    _policy: verification.Policy, _ca: x509.Certificate, usage: x509.KeyUsage | None
) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("keyUsage of a CA certificate lacks keyCertSign")


_UsageCheck = Callable[[verification.Policy, x509.Certificate, x509.ExtendedKeyUsage | None], None]


def _may_issue_for(role: Role) -> _UsageCheck:
    def check(
        _policy: verification.Policy, _ca: x509.Certificate, usage: x509.ExtendedKeyUsage | None
    ) -> None:
        if not allows_role(usage, role):
            raise ValueError(f"extendedKeyUsage of a CA certificate does not allow a {role}")

    return check


def _ca_policy(role: Role) -> verification.ExtensionPolicy:
    """A policy for private CAs, which leave out extensions that the Web PKI requires.

    It still checks signatures, dates, basicConstraints, path lengths, name constraints and
    keyCertSign. An extendedKeyUsage of a CA restricts the certificates below it.
    """
    agnostic = verification.Criticality.AGNOSTIC
    return (
        verification.ExtensionPolicy.permit_all()
        .require_present(x509.BasicConstraints, agnostic, None)
        .may_be_present(x509.KeyUsage, agnostic, _check_may_sign)
        .may_be_present(x509.ExtendedKeyUsage, agnostic, _may_issue_for(role))
    )


_CA_POLICIES = {role: _ca_policy(role) for role in ("server", "client")}
_LEAF_POLICY = verification.ExtensionPolicy.permit_all()


def _explain(
    chain: Sequence[x509.Certificate],
    trusted: Collection[x509.Certificate],
    error: Exception,
    peer_role: Role,
    wall_time: float,
) -> AlertError:
    """The refusal of a chain. Its text says what to do about it."""
    for certificate in chain[1:]:
        check_dates(certificate, wall_time, "CA certificate")
    if "extendedKeyUsage of a CA" in str(error):
        return refusal(
            AlertDescription.unsupported_certificate,
            f"a CA of the peer's chain may not issue for a {peer_role}: its extendedKeyUsage "
            f"lacks {peer_role}Auth",
        )
    leaf = chain[0]
    if leaf.subject == leaf.issuer:
        print_ = show_fingerprint("sha-256", fingerprint_of("sha-256", to_der(leaf)))
        return refusal(
            AlertDescription.unknown_ca,
            f"{described(leaf)} is self-signed and not among the trusted ones: if {print_} is the "
            "fingerprint that the peer's owner tells you, trust it with Trust.fingerprints",
        )
    if any(certificate.signature_algorithm_oid in _EDWARDS for certificate in chain):
        return refusal(
            AlertDescription.unsupported_certificate,
            "a CA of the peer's chain signs with Ed25519 or Ed448, which is not supported; "
            "pin the peer's certificate instead",
        )
    return refusal(
        AlertDescription.unknown_ca,
        f"{described(leaf)} {_where_it_ends(chain, trusted)}{_detail(error)}",
    )


def _where_it_ends(chain: Sequence[x509.Certificate], trusted: Collection[x509.Certificate]) -> str:
    """Where the way from the leaf to a trusted CA ends."""
    by_subject = {certificate.subject: certificate for certificate in chain[1:]}
    last = chain[0]
    for _ in chain[1:]:
        last = by_subject.get(last.issuer, last)
    issuer = shown(last.issuer.rfc4514_string())
    if any(last.issuer == ca.subject for ca in trusted):
        return (
            f"chains to the trusted CA {issuer}, but the chain does not verify; where a signature "
            "is wrong, another CA of that name may have issued it"
        )
    if last.issuer == last.subject:
        return f"chains to {issuer}, which is not trusted: if it should be, add it to the trust"
    return (
        f"does not chain to a trusted CA: the certificate of {issuer} is neither trusted nor in "
        "the peer's chain. If it is an intermediate CA, the peer has to send it"
    )


def _detail(error: Exception) -> str:
    """What the library says, where that tells more than that it found no path."""
    text = str(error).replace("validation failed: ", "").replace("candidates exhausted: ", "")
    found_nothing = "no interior errors" in text or "candidates exhausted" in text
    return "" if found_nothing else f" ({shown(text)})"
