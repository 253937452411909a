"""Which names of a certificate are the one that a client expects (docs/security.md, Names)."""

from __future__ import annotations

import ipaddress
import shutil
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from aiodtls.core.config import DTLSConfig
from aiodtls.core.crypto.credentials import Credentials
from aiodtls.core.crypto.names import MAX_NAMES_SHOWN, certificate_name, host_name, matches
from aiodtls.core.crypto.trust import Trust
from aiodtls.core.errors import AlertError, ConfigError
from aiodtls.core.peer_text import LONGEST
from tests.core.test_credentials import CA, HOST, Issued, refused, trusting

# A dNSName, the host that is expected, and whether they match.
DNS_NAMES = [
    # A trailing dot of the host is the root and does not count; a certificate's dNSName has none.
    ("sensor.example", "sensor.example.", True),
    ("sensor.example.", "sensor.example", False),
    ("sensor.example.", "sensor.example.", False),
    ("sensor.example", "sensor.example..", False),
    ("*.b.example", "a.b.example.", True),
    ("*.b.example.", "a.b.example", False),
    # An address is no dNSName, in whatever form resolvers take it.
    ("192.0.2.1", "192.0.2.1", False),
    ("192.0.2.1", "192.0.2.1.", False),
    ("*.0.2.1", "192.0.2.1", False),
    ("127.1", "127.1", False),
    ("0x7f.1", "0x7f.1", False),
    ("0x7f000001", "0x7f000001", False),
    ("2130706433", "2130706433", False),
    ("device.7", "device.7", False),
    ("7.device", "7.device", True),
    ("2001:db8::1", "2001:db8::1", False),
    # A wildcard is the whole leftmost label, and has two labels below it at the least.
    ("*.b.example", "a.b.example", True),
    ("*.co.example", "a.co.example", True),
    ("*.example", "a.example", False),
    ("*.", "a.", False),
    ("*", "a", False),
    ("*.*.example", "a.b.example", False),
    ("*a.b.example", "aa.b.example", False),
    ("a*.b.example", "aa.b.example", False),
    ("a*a.b.example", "aaa.b.example", False),
    ("a.*.example", "a.b.example", False),
    ("**.b.example", "aa.b.example", False),
    ("*.b.example", "*.b.example", False),
    ("a*.b.example", "a*.b.example", False),
    # It stands for an A-label as for any other; within one it would stand for anything.
    ("*.b.example", "xn--bcher-kva.b.example", True),
    ("*.b.example", "bücher.b.example", True),
    ("xn--*.b.example", "xn--bcher-kva.b.example", False),
    ("xn--bcher-kva.example", "BÜCHER.example", True),
    ("xn--bcher-kva.example", "bücher\u3002example", True),
    ("bcher.example", "bücher.example", False),
    # ASCII letters in either case; the host's other letters are what the resolver makes of them.
    ("SENSOR.EXAMPLE", "sensor.example", True),
    ("sensor.example", "Sensor.Example", True),
    ("*.B.Example", "a.b.example", True),
    ("k.b.example", "\u212a.b.example", True),
    # What is no host name matches nothing, itself included.
    ("a\0.example", "a\0.example", False),
    ("sensor.example\0.evil.example", "sensor.example", False),
    ("a b.example", "a b.example", False),
    ("-a.example", "-a.example", False),
    ("a/b.example", "a/b.example", False),
    ("", "", False),
    ("a." * 127 + "a", "a." * 127 + "a", False),
]
# An iPAddress, the host that is expected, and whether they match.
ADDRESSES = [
    ("192.0.2.1", "192.0.2.1", True),
    ("192.0.2.1", "192.0.2.01", False),
    ("192.0.2.1", "192.0.2.1.", False),
    ("192.0.2.1", "::ffff:192.0.2.1", True),
    ("::ffff:192.0.2.1", "192.0.2.1", True),
    ("2001:db8::1", "2001:DB8:0:0::1", True),
    ("2001:db8::1", "[2001:db8::1]", False),
    ("fe80::1", "fe80::1%eth0", True),
    ("127.0.0.1", "127.1", False),
    ("127.0.0.1", "localhost", False),
]


def dns(name: str) -> x509.DNSName:
    return x509.DNSName(name)


@pytest.mark.parametrize(("name", "host", "expected"), DNS_NAMES)
def test_dns_names(name, host, expected):
    assert matches([dns(name)], host) is expected


@pytest.mark.parametrize(("name", "host", "expected"), ADDRESSES)
def test_addresses(name, host, expected):
    assert matches([x509.IPAddress(ipaddress.ip_address(name))], host) is expected


@pytest.mark.parametrize("network", ["192.0.2.1/32", "0.0.0.0/0", "::/0"])
def test_a_network_is_no_address(network):
    """A certificate whose iPAddress has 8 or 32 bytes: an address and a mask."""
    names = [x509.IPAddress(ipaddress.ip_network(network))]
    assert not matches(names, "192.0.2.1") and not matches(names, "::")


def certificate(*names: x509.GeneralName) -> Issued:
    return Issued("server", x509.SubjectAlternativeName(names), by=CA)


@pytest.mark.parametrize(
    "names",
    [
        (x509.RFC822Name(f"root@{HOST}"),),
        (x509.UniformResourceIdentifier(f"coaps://{HOST}"),),
        (x509.DirectoryName(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])),),
        (x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),),
    ],
    ids=lambda names: type(names[0]).__name__,
)
def test_other_kinds_of_names_name_no_host(names):
    refused("bad_certificate", "no subjectAltName", trusting(CA), certificate(*names))


def test_a_common_name_names_no_host_with_or_without_other_names():
    for leaf in (Issued(HOST, by=CA), Issued(HOST, certificate_names("a.example"), by=CA)):
        refused("bad_certificate", f"not for {HOST}", trusting(CA), leaf)


def certificate_names(*names: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([dns(name) for name in names])


def test_an_error_shows_the_first_names_and_how_many_there_are():
    leaf = certificate(*(dns(f"h{n}.example") for n in range(600)))
    more = 600 - MAX_NAMES_SHOWN
    refused("bad_certificate", "h0.example, h1.example, ", trusting(CA), leaf)
    refused("bad_certificate", f" and {more} more; not for {HOST}", trusting(CA), leaf)
    long = certificate(*(dns("x" * 60 + f"{n}.example") for n in range(15)))
    refused("bad_certificate", f"...; not for {HOST}", trusting(CA), long)


def test_names_in_an_error_are_escaped_and_cut():
    evil = certificate(dns("a\nCRITICAL forged \x1b[31m"), dns("y" * 1000))
    with pytest.raises(AlertError) as caught:
        trusting(CA).check([evil.der], peer_role="server", server_hostname=HOST)
    text = str(caught.value.error)
    assert text.isprintable() and "a\\nCRITICAL forged \\x1b[31m, yyy" in text
    assert len(text) < LONGEST + 150


@pytest.mark.parametrize(
    "host", ["*.b.example", "127.1", "0x7f.1", "a b", "a..b", "-a.b", "a\n.b", "x" * 300, "é" * 80]
)
def test_a_client_that_checks_names_refuses_what_is_none(host):
    config = DTLSConfig(trust=trusting(CA))
    with pytest.raises(ConfigError, match="neither a host name nor an IP address") as caught:
        config.check_client(host)
    assert str(caught.value).isprintable() and len(str(caught.value)) < LONGEST + 150
    DTLSConfig(trust=Trust.insecure()).check_client(host)


def test_names_of_certificates_of_our_own():
    made = Credentials.self_signed("*.B.example", "bücher.example", "::ffff:192.0.2.1")
    for host in ("a.b.example", "xn--bcher-kva.example", "192.0.2.1"):
        assert made.matches_name(host)
    for bad in ("*.192.0.2.1", "*", "*.", "a.*.example"):
        with pytest.raises(ConfigError):
            certificate_name(bad)
    assert host_name("A.example.") == dns("a.example")


needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="needs the openssl command"
)
# Where we are stricter than OpenSSL: it compares any text, and lets a wildcard stand for a part
# of a label unless it is told not to. It has A-labels of the host done by the application.
STRICTER = {
    *(("sensor.example.", "sensor.example."), ("a*.b.example", "aa.b.example")),
    *(("*a.b.example", "aa.b.example"), ("127.1", "127.1"), ("0x7f.1", "0x7f.1")),
    *(("0x7f000001", "0x7f000001"), ("2130706433", "2130706433"), ("device.7", "device.7")),
    *(("*.0.2.1", "192.0.2.1"), ("192.0.2.1", "192.0.2.1"), ("192.0.2.1", "192.0.2.1.")),
    *(("2001:db8::1", "2001:db8::1"), ("*.b.example", "*.b.example")),
    *(("a*.b.example", "a*.b.example"), ("a b.example", "a b.example")),
    *(("-a.example", "-a.example"), ("a/b.example", "a/b.example")),
    *(("a*a.b.example", "aaa.b.example"), ("*.", "a.")),
    ("a." * 127 + "a", "a." * 127 + "a"),
}


@needs_openssl
def test_dns_names_as_openssl_matches_them(tmp_path):
    """It accepts nothing that we refuse but what is listed, and refuses nothing that we accept."""
    differences = set()
    for number, (name, host, expected) in enumerate(DNS_NAMES):
        if not host.isascii() or not host or "\0" in host or host.endswith("."):
            # A trailing dot of the host is the application's to take off.
            continue
        path = tmp_path / f"{number}.pem"
        path.write_bytes(certificate(dns(name)).certificate.public_bytes(Encoding.PEM))
        command = ["openssl", "x509", "-in", str(path), "-noout", "-checkhost", host]
        output = subprocess.run(command, check=False, capture_output=True, text=True).stdout
        if ("does match" in output) is not expected:
            differences.add((name, host))
            assert not expected, (name, host, output)
    assert differences <= STRICTER


def test_a_dns_name_that_is_not_ascii_does_not_parse():
    leaf = Issued("x", certificate_names("bxcher.example"), by=CA)
    spoiled = leaf.der.replace(b"bxcher", b"b\xfccher")
    with pytest.raises(AlertError, match="cannot be parsed") as caught:
        trusting(CA).check([spoiled], peer_role="server", server_hostname="bücher.example")
    assert caught.value.description.name == "bad_certificate"
