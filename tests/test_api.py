"""The public face: the names, and the signatures that users rely on."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import aiodtls
from aiodtls import _public

SIGNATURES = {
    "connect": "host port config server_hostname local_addr family happy_eyeballs_delay session "
    "sock on_event on_data",
    "serve": "handler host port config sock sockets reuse_port on_event on_data close_timeout "
    "id_layout worker on_unknown",
    "create_datagram_endpoint": "protocol_factory local_addr remote_addr config server_hostname "
    "family reuse_port sock dial transport",
}
ENDPOINT = (
    "send send_nowait send_many send_many_nowait recv recv_nowait recv_many close wait_closed "
    "abort role version cipher_suite group peer_certificates peer_public_key psk_identity "
    "psk_user_data server_hostname "
    "alpn_protocol srtp_profile confirmed wait_confirmed peername sockname statistics max_payload "
    "pmtu get_extra_info export_keying_material srtp_keys accept_peer reject_peer "
    "update_keys"
)
SERVER = (
    "sockets sockname endpoints statistics gauges serve_forever messages connect config "
    "update_config close wait_closed"
)


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures(name):
    parameters = inspect.signature(getattr(aiodtls, name)).parameters
    assert list(parameters) == SIGNATURES[name].split()


def test_members():
    assert not [name for name in ENDPOINT.split() if not hasattr(aiodtls.DTLSEndpoint, name)]
    assert not [name for name in SERVER.split() if not hasattr(aiodtls.DTLSServer, name)]


def test_all_is_what_there_is():
    assert all(hasattr(aiodtls, name) for name in aiodtls.__all__)


def test_exceptions_are_what_they_say():
    assert issubclass(aiodtls.HandshakeTimeout, TimeoutError)
    assert issubclass(aiodtls.HandshakeRefused, aiodtls.PeerAlert)
    assert issubclass(aiodtls.HandshakeRefused, aiodtls.HandshakeError)
    assert issubclass(aiodtls.EndpointClosed, ConnectionError)
    assert issubclass(aiodtls.MessageTooLarge, OSError)
    assert issubclass(aiodtls.MessageTooLarge, ValueError)
    assert issubclass(aiodtls.ConfigError, ValueError)
    for name in aiodtls.__all__:
        thing = getattr(aiodtls, name)
        if inspect.isclass(thing) and issubclass(thing, Exception):
            assert issubclass(thing, aiodtls.DTLSError)


def test_importing_the_package_loads_nothing_until_a_name_is_used():
    program = (
        "import sys, aiodtls; dir(aiodtls); hasattr(aiodtls, 'nothing')\n"
        "loaded = {'asyncio', 'cryptography', 'dataclasses', 'aiodtls.core'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
        "aiodtls.connect, aiodtls.core, aiodtls.events.Closed\n"
        "assert 'aiodtls.client' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_the_package_has_the_names_that_type_checkers_are_told():
    assert set(_public.__all__) == set(aiodtls.__all__) - {"__version__"} | {"core"}
    assert all(getattr(aiodtls, name) is getattr(_public, name) for name in _public.__all__)


def test_dir_lists_public_names_alone():
    assert dir(aiodtls) == sorted(aiodtls.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Channel'"):
        aiodtls.Channel  # type: ignore[attr-defined]  # noqa: B018
