"""The output of the commands: sentences for people, or one JSON object a line for programs."""

from __future__ import annotations

import json
import sys
from typing import Any

from aiodtls import events
from aiodtls.core import peer_text
from aiodtls.endpoint import DTLSEndpoint


class Output:
    """Prints data to standard output and the rest to standard error. With JSON all goes to standard
    output.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def say(self, text: str) -> None:
        """Prints a sentence, unless the output is JSON."""
        if not self.as_json:
            print(text, file=sys.stderr, flush=True)

    def tell(self, kind: str, text: str, **fields: Any) -> None:
        """Prints ``text``, or ``fields`` if the output is JSON."""
        if self.as_json:
            print(json.dumps({"event": kind, **fields}, default=_plain), flush=True)
        else:
            self.say(text)

    def data(self, endpoint: DTLSEndpoint, data: bytes) -> None:
        """Prints data from a peer."""
        if self.as_json:
            self.tell("data", "", peer=endpoint.peername, data=data)
        else:
            sys.stdout.buffer.write(data.rstrip(b"\n") + b"\n")
            sys.stdout.buffer.flush()

    def connected(self, endpoint: DTLSEndpoint) -> None:
        facts = facts_of(endpoint)
        text = ", ".join(
            peer_text.shown(str(value)) for value in facts.values() if value not in (None, "")
        )
        self.tell("connected", f"connected: {text}", **facts)

    def closed(self, peer: Any, error: Exception) -> None:
        self.tell("closed", f"{show_address(peer)}: {error}", peer=peer, error=str(error))

    def on_event(self, endpoint: DTLSEndpoint | None, event: events.Event) -> None:
        """Reports progress, so that a wait is explained, and who was refused."""
        if isinstance(event, events.HandshakeFailed):
            peer = show_address(event.peername)
            self.tell(
                "handshake_failed",
                f"refused {peer} ({event.stage}): {event.error}",
                peer=peer,
                stage=event.stage,
                reason=event.reason,
                error=str(event.error),
                address_proved=event.address_proved,
            )
        if isinstance(event, events.FlightSent) and (self.as_json or event.resend):
            names = ", ".join(event.messages)
            self.tell(
                "flight_sent",
                f"no answer yet: resend {event.resend} of {names}",
                messages=event.messages,
                datagram_sizes=event.datagram_sizes,
                resend=event.resend,
            )


def facts_of(endpoint: DTLSEndpoint) -> dict[str, Any]:
    """The negotiated values."""
    return {
        "peer": show_address(endpoint.peername),
        "version": f"DTLS {endpoint.version}",
        "cipher_suite": endpoint.cipher_suite,
        "group": endpoint.group,
        "alpn_protocol": endpoint.alpn_protocol,
        "psk_identity": _text(endpoint.psk_identity),
        "max_payload": endpoint.max_payload,
    }


def show_address(address: Any) -> str:
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _text(value: bytes | None) -> str | None:
    return value.decode("utf-8", "backslashreplace") if value is not None else None


def _plain(value: Any) -> Any:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
