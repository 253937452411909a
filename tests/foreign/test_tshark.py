"""What tshark makes of our handshakes with our key log: an observer that knows the secrets."""

from __future__ import annotations

import dataclasses
import struct
import subprocess
from pathlib import Path

import pytest

from tests.harness import CLIENT, SERVER, Link, Pair
from tests.peers import trixie
from tests.simulated.variants import configs

pytestmark = pytest.mark.built("debian13")

PORTS = {CLIENT: 50000, SERVER: 4433}
LINKTYPE_RAW = 101
LINES = {CLIENT: b"from the client in secret", SERVER: b"from the server in secret"}
# Of each datagram; data is in hexadecimal digits.
FIELDS = ("_ws.col.protocol", "_ws.col.info", "data.data")


def packet(sender: str, data: bytes) -> bytes:
    """The datagram within UDP within IPv4, both ends at 127.0.0.1; without checksums."""
    receiver = SERVER if sender == CLIENT else CLIENT
    udp = struct.pack("!HHHH", PORTS[sender], PORTS[receiver], 8 + len(data), 0) + data
    local = bytes((127, 0, 0, 1))
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, local, local)
    return ip + udp


def capture(path: Path, datagrams: list[tuple[str, bytes]]) -> None:
    with path.open("wb") as file:
        file.write(struct.pack("!IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, LINKTYPE_RAW))
        for number, (sender, data) in enumerate(datagrams):
            whole = packet(sender, data)
            file.write(struct.pack("!IIII", number, 0, len(whole), len(whole)) + whole)


def dissect(capture_file: Path, keylog: Path, home: Path) -> str:
    options = ["-o", f"tls.keylog_file:{keylog}", "-d", f"udp.port=={PORTS[SERVER]},dtls"]
    options += [part for name in FIELDS for part in ("-e", name)]
    command = [*trixie("tshark"), "-r", str(capture_file), "-T", "fields", *options]
    environment = {"HOME": str(home), "WIRESHARK_PLUGIN_DIR": str(home), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, capture_output=True, timeout=60, env=environment, check=True)
    return done.stdout.decode()


@pytest.mark.parametrize(
    "variant", ["certificate", "psk", "cid", "certificate13", "psk13", "cid13"]
)
def test_it_decrypts_with_our_key_log(tmp_path, variant):
    keylog = tmp_path / "keys.txt"
    client, server = configs(variant)
    datagrams: list[tuple[str, bytes]] = []

    def note(sender: str, _number: int, data: bytes) -> None:
        datagrams.append((sender, data))

    pair = Pair(dataclasses.replace(client, keylog=keylog), server, Link(filter=note))
    assert pair.run() and pair.connected
    for side in (CLIENT, SERVER):
        pair.send(side, LINES[side])
        pair.idle(1)
    capture(tmp_path / "handshake.pcap", datagrams)
    shown = dissect(tmp_path / "handshake.pcap", keylog, tmp_path)
    for line in LINES.values():
        assert line.hex() in shown, shown
    assert "Finished" in shown, shown
    (tmp_path / "nothing.txt").touch()
    sealed = dissect(tmp_path / "handshake.pcap", tmp_path / "nothing.txt", tmp_path)
    assert not any(line.hex() in sealed for line in LINES.values())


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_it_decrypts_a_resumed_association(tmp_path, version):
    client, server = configs("certificate" if version == "1.2" else "certificate13")
    first = Pair(client, server)
    assert first.run()
    first.idle(1)
    session = first.client.session
    assert session is not None
    datagrams: list[tuple[str, bytes]] = []

    def note(sender: str, _number: int, data: bytes) -> None:
        datagrams.append((sender, data))

    keylog = tmp_path / "keys.txt"
    logging = dataclasses.replace(client, keylog=keylog)
    pair = Pair(logging, server, Link(filter=note), session=session)
    assert pair.run() and pair.client.resumed
    for side in (CLIENT, SERVER):
        pair.send(side, LINES[side])
        pair.idle(1)
    capture(tmp_path / "resumed.pcap", datagrams)
    shown = dissect(tmp_path / "resumed.pcap", keylog, tmp_path)
    for line in LINES.values():
        assert line.hex() in shown, shown


def test_it_decrypts_what_follows_a_key_update(tmp_path):
    client, server = configs("certificate13")
    keylog = tmp_path / "keys.txt"
    datagrams: list[tuple[str, bytes]] = []

    def note(sender: str, _number: int, data: bytes) -> None:
        datagrams.append((sender, data))

    pair = Pair(dataclasses.replace(client, keylog=keylog), server, Link(filter=note))
    assert pair.run()
    pair.idle(1)
    pair.client.update_keys(pair.now)
    pair.flush()
    pair.idle(1)
    for side in (CLIENT, SERVER):
        pair.send(side, LINES[side])
        pair.idle(1)
    assert pair.data == {CLIENT: [LINES[SERVER]], SERVER: [LINES[CLIENT]]}
    capture(tmp_path / "updated.pcap", datagrams)
    shown = dissect(tmp_path / "updated.pcap", keylog, tmp_path)
    for line in LINES.values():
        assert line.hex() in shown, shown
