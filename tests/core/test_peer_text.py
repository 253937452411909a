"""The peer's text in logs and exceptions: printable, unambiguous, and short."""

from __future__ import annotations

import dataclasses
import traceback
import warnings

import hypothesis
import hypothesis.strategies as st
import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from aiodtls.core.config import DTLSConfig
from aiodtls.core.crypto.credentials import Credentials
from aiodtls.core.crypto.trust import Trust
from aiodtls.core.errors import DecodeError
from aiodtls.core.peer_text import LONGEST, shown
from aiodtls.core.wire.extension_blocks import Extensions
from aiodtls.core.wire.extensions import ServerName
from aiodtls.core.wire.messages import ClientHello, encode_body, parse_body
from tests.core.test_credentials import CA, HOST, Issued, ca_flag, san, trusting
from tests.harness import Pair

EVIL = "X\n2001-01-01 CRITICAL root logged in\r\x1b[31m\x9b31m\u2028\u202e\x00\x7f end"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain text, \u00fcmlaut", "plain text, \u00fcmlaut"),
        ("a\nb\rc\td", r"a\nb\rc\td"),
        ("\x00\x1b\x7f\x9b", r"\x00\x1b\x7f\x9b"),
        ("\u2028\u202e\u200b\ufeff", r"\u2028\u202e\u200b\ufeff"),
        ("\xa0\U000e0041", r"\xa0\U000e0041"),
        ("a\\nb", r"a\\nb"),
        ("\ud800", r"\ud800"),
        (b"a\xff\x00\xc3\xbc", r"a\xff\x00" + "\u00fc"),
        (b"", ""),
        ("x" * LONGEST, "x" * LONGEST),
        ("x" * (LONGEST + 1), "x" * (LONGEST - 3) + "..."),
        (b"x" * 100_000, "x" * (LONGEST - 3) + "..."),
    ],
)
def test_text(text, expected):
    assert shown(text) == expected


# Lone surrogates included. Much faster than st.text(), which begins with a table of all characters.
characters = st.lists(st.integers(0, 0x10FFFF).map(chr), max_size=300).map("".join)


@hypothesis.given(characters | st.binary(max_size=2000))
def test_any_text_is_printable_and_short(text):
    result = shown(text)
    assert result.isprintable() and len(result) <= LONGEST
    assert len(shown(text, 20)) <= 20


def named(text: str) -> Issued:
    """An issuer of this name, however long and odd, with a key of its own."""
    issuer = Issued("issuer", ca_flag(True), number=4)
    with warnings.catch_warnings(action="ignore"):
        issuer.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text, _validate=False)])
    return issuer


LONG = "long name " * 500
CHAINS = {
    "issuer": Issued("leaf", san(HOST), by=named(EVIL)),
    "subject": Issued(EVIL, san("other.example"), by=CA),
    "names": Issued(
        "leaf", san("a\n2001-01-01 \x1b[31m", *(f"h{n}.example" for n in range(500))), by=CA
    ),
    "long issuer": Issued("leaf", san(HOST), by=named(LONG)),
    "pinned": Issued(EVIL, san(HOST), by=named(EVIL)),
}


def chain_trust(case: str) -> Trust:
    return trusting(LEAF) if case == "pinned" else trusting(CA)


LEAF = Issued(HOST, san(HOST), by=CA)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("case", CHAINS)
@pytest.mark.parametrize("of", ["server", "client"])
def test_what_a_certificate_says_is_escaped_and_cut(case, of, version):
    """In the exception, and in all that a traceback of it shows."""
    leaf = CHAINS[case]
    evil = Credentials.from_objects(leaf.key, [leaf.certificate])
    server = DTLSConfig(credentials=evil, versions=[version])
    client = DTLSConfig(trust=chain_trust(case), versions=[version])
    if of == "client":
        good = Credentials.from_objects(LEAF.key, [LEAF.certificate])
        server = dataclasses.replace(
            server, credentials=good, trust=chain_trust(case), client_auth="required"
        )
        client = dataclasses.replace(
            client, credentials=evil, trust=Trust.insecure(), anonymous_fallback=False
        )
    pair = Pair(client, server, server_hostname=HOST, cookie=False)
    victim = lambda: pair.client if of == "server" else pair.server  # noqa: E731
    pair.run(lambda: victim().failure is not None, limit=20)
    failure = victim().failure
    if of == "client" and case in ("subject", "names"):
        # No name of a client is checked.
        assert failure is None
        return
    text = "".join(traceback.format_exception(failure))
    assert len(str(failure)) < 3 * LONGEST
    assert len(text) < 6 * LONGEST
    assert all(line.isprintable() for line in text.split("\n"))
    assert not any(line.startswith("2001-01-01") for line in text.splitlines())


def hello_for(name: str) -> bytes:
    return encode_body(ClientHello(bytes(32), (0xC02B,), Extensions.of([ServerName(name)])))


@pytest.mark.parametrize("name", ["a\n.example", "a\x1b.example", "a\0", "a\x7f"])
def test_a_server_name_with_control_characters_does_not_parse(name):
    """The owner is shown the name, as ``server_hostname`` and in ``PSKContext``."""
    assert parse_body(ClientHello, hello_for("a.example"))
    with pytest.raises(DecodeError, match="printable"):
        parse_body(ClientHello, hello_for(name))
