"""What aiocoap knows of a peer: ``message.remote``."""

from __future__ import annotations

from collections.abc import Iterable

from aiocoap import interfaces
from aiocoap.numbers import COAPS_PORT
from aiocoap.numbers.constants import MAX_REGULAR_BLOCK_SIZE_EXP
from aiocoap.util import hostportjoin

from aiodtls import DTLSEndpoint
from aiodtls.contrib.aiocoap.identities import Claims

# Bytes beside the payload of a block: header, token and a few options.
ROOM_FOR_OPTIONS = 96


def host_and_port(host: str, port: int) -> str:
    """The authority of a coaps URI."""
    return str(hostportjoin(host, None if port == COAPS_PORT else port))


class CoapsRemote(interfaces.EndpointAddress):
    """A peer over DTLS. Two are never equal, so that a request and its response belong to the
    same association (RFC 7252 section 9.1.2).
    """

    scheme = "coaps"
    is_multicast = False
    is_multicast_locally = False

    def __init__(self, claims: Claims) -> None:
        self._claims_of = claims
        self._largest_block: int = MAX_REGULAR_BLOCK_SIZE_EXP
        self._blockwise_key = object()

    @property
    def endpoint(self) -> DTLSEndpoint:
        """The association: certificates, cipher suite, statistics and so on."""
        raise NotImplementedError

    @property
    def authenticated_claims(self) -> Iterable[object]:
        """What the handshake has proved about the peer."""
        return self._claims_of(self.endpoint)

    @property
    def blockwise_key(self) -> object:
        return self._blockwise_key

    @property
    def hostinfo(self) -> str:
        return host_and_port(*self.endpoint.peername[:2])

    @property
    def hostinfo_local(self) -> str:
        return host_and_port(*self.endpoint.sockname[:2])

    @property
    def uri_base(self) -> str:
        return f"coaps://{self.hostinfo}"

    @property
    def uri_base_local(self) -> str:
        return f"coaps://{self.hostinfo_local}"

    @property
    def maximum_block_size_exp(self) -> int:
        """The exponent of the largest block: one record must hold it, with its options."""
        room = self.endpoint.max_payload - ROOM_FOR_OPTIONS
        return max(0, min(self._largest_block, room.bit_length() - 5))

    @maximum_block_size_exp.setter
    def maximum_block_size_exp(self, exponent: int) -> None:
        self._largest_block = exponent

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.uri_base}>"


class ServerRemote(CoapsRemote):
    """A peer that has connected to us."""

    def __init__(self, endpoint: DTLSEndpoint, claims: Claims) -> None:
        super().__init__(claims)
        self._endpoint = endpoint

    @property
    def endpoint(self) -> DTLSEndpoint:
        return self._endpoint
