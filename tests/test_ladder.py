"""aiodtls trace: traces of one side or both as a ladder, in a terminal and as SVG."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from aiodtls import trace
from aiodtls.cli.main import main
from aiodtls.cli.trace.ladder import Arrow, Ladder, Note, ladder
from aiodtls.cli.trace.reading import read
from aiodtls.cli.trace.svg import svg
from aiodtls.cli.trace.terminal import Drawing
from aiodtls.testing import pair
from tests.test_trace import both

EPOCH = "2026-01-01T00:00:00.000000Z"


def event(time: float, name: str, **data: Any) -> dict[str, Any]:
    return {"time": time, "name": f"dtls:{name}", "data": data}


def record(epoch: int, number: int, kind: str = "application_data") -> dict[str, Any]:
    return {"type": kind, "epoch": epoch, "sequence_number": number}


def written(path: Path, role: str, *events: Any, epoch: str = EPOCH) -> Path:
    """A file with these events."""
    header = {
        "title": f"DTLS {role}",
        "trace": {
            "vantage_point": {"type": role},
            "common_fields": {"reference_time": {"epoch": epoch}},
        },
    }
    path.write_text("".join(f"\x1e{json.dumps(text)}\n" for text in (header, *events)))
    return path


def drawn(*paths: Path, **options: Any) -> Ladder:
    return ladder([read(path) for path in paths], **options)


def arrows(found: Ladder) -> list[Arrow]:
    return [row for row in found.rows if isinstance(row, Arrow)]


def text_of(found: Ladder, width: int = 100) -> list[str]:
    return list(Drawing(found, width, coloured=False).lines())


async def traced(directory: Path, version: str, **options: Any) -> dict[str, Path]:
    async with pair(*both(directory, version), virtual_time=True, **options) as (client, server):
        for endpoint in (client, server):
            # Lost or not: nobody resends data.
            await endpoint.send(b"thirteen byte")
        await asyncio.sleep(10)
    trace.flush()
    return {path.name.split("-")[1]: path for path in directory.glob("*.sqlog")}


@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_both_sides_make_one_ladder(tmp_path, version):
    paths = await traced(tmp_path, version, delay=0.02)
    found = drawn(paths["server"], paths["client"])
    told = arrows(found)
    assert not [arrow for arrow in told if arrow.fate == "lost"]
    assert all(
        arrow.received[0] - arrow.sent[0] == pytest.approx(0.02, abs=1e-4)
        for arrow in told
        if arrow.sent and arrow.received
    )
    labels = [arrow.label for arrow in told]
    assert any("certificate" in label and "server_hello" in label for label in labels)
    assert any(label.startswith("data, 13 B") for label in labels)
    # Every datagram of the client's trace is one arrow.
    client = read(paths["client"])
    sent = [h for h in client.happenings if h.name == "datagram_sent"]
    received = [h for h in client.happenings if h.name == "datagram_received"]
    assert len([a for a in told if a.sender == "client"]) == len(sent)
    assert len([a for a in told if a.sender == "server" and a.received]) == len(received)
    notes = [row.text for row in found.rows if isinstance(row, Note)]
    assert sum(f"complete: DTLS {version}" in note for note in notes) == 2


@pytest.mark.parametrize("seed", range(6))
async def test_what_was_lost_is_marked(tmp_path, seed):
    paths = await traced(tmp_path, "1.3", loss=0.3, seed=seed)
    found = drawn(*paths.values())
    lost = [arrow for arrow in arrows(found) if arrow.fate == "lost"]
    resent = [row for row in found.rows if isinstance(row, Note) and row.text.startswith("resend")]
    text = "\n".join(text_of(found, 200))
    assert text.count("✕") == len(lost) + 1
    # What was resent had been lost, or its ACK.
    assert bool(lost) >= bool(resent)
    for arrow in lost:
        assert arrow.sent is not None and arrow.received is None


def test_one_side_is_drawn_alone(tmp_path):
    path = written(
        tmp_path / "a",
        "client",
        event(0, "record_sent", **record(0, 0, "handshake"), fragments=[whole("client_hello", 20)]),
        event(0.5, "datagram_sent", length=57, records=[record(0, 0)]),
        event(9, "datagram_received", length=40, records=[record(0, 4)]),
        event(9, "timer_updated", timer="retransmit", event_type="cancelled"),
    )
    text = text_of(drawn(path), 80)
    assert text[2].split() == ["ms", "client", "(server)", "ms"]
    assert re.fullmatch(r" +0\.0 │─+ client_hello.\(57.B\) ─+▶│", text[3])
    assert re.fullmatch(r" +8\.5 │◀─+ \?.\(40.B\) ─+│", text[4])
    assert "retransmit" not in "".join(text)
    assert "timer retransmit cancelled" in "".join(text_of(drawn(path, with_timers=True)))


def whole(message: str, length: int) -> dict[str, Any]:
    numbers = {"message_seq": 0, "offset": 0, "length": length, "message_length": length}
    return {"message": message, **numbers}


def test_the_clocks_of_two_hosts_are_put_right(tmp_path):
    client = written(
        tmp_path / "c",
        "client",
        event(0, "datagram_sent", length=20, records=[record(1, 0)]),
        event(30, "datagram_received", length=20, records=[record(1, 7)]),
    )
    server = written(
        tmp_path / "s",
        "server",
        event(10, "datagram_received", length=20, records=[record(1, 0)]),
        event(20, "datagram_sent", length=20, records=[record(1, 7)]),
        epoch="2026-01-01T01:00:00Z",
    )
    found = drawn(client, server)
    assert "3600000.0 ms ahead" in found.remark
    there, back = arrows(found)
    assert there.sent and there.received and back.sent and back.received
    assert there.received[0] - there.sent[0] == pytest.approx(0.01, abs=1e-3)
    assert back.received[0] - back.sent[0] == pytest.approx(0.01, abs=1e-3)
    assert found.remark in text_of(found)


def test_a_datagram_that_waits_for_its_keys_is_found_by_its_length(tmp_path):
    client = written(
        tmp_path / "c",
        "client",
        event(0, "association_started"),
        event(5, "datagram_received", length=99, records=[]),
        event(6, "datagram_received", length=77, records=[]),
    )
    server = written(
        tmp_path / "s",
        "server",
        event(0, "datagram_sent", length=77, records=[record(2, 1)]),
        event(1, "datagram_sent", length=99, records=[record(2, 0)]),
        event(2, "datagram_sent", length=55, records=[record(2, 2)]),
    )
    fates = [
        (arrow.fate, arrow.received and arrow.received[1])
        for arrow in arrows(drawn(client, server))
    ]
    assert fates == [("arrived", 2), ("arrived", 1), ("lost", None)]


def test_what_the_other_trace_cannot_have_is_not_lost(tmp_path):
    client = written(
        tmp_path / "c",
        "client",
        event(0, "datagram_sent", length=60, records=[record(0, 0)]),
        event(10, "datagram_sent", length=80, records=[record(0, 1)]),
        event(90, "datagram_sent", length=40, records=[record(1, 0)]),
    )
    server = written(
        tmp_path / "s",
        "server",
        event(12, "message_received", message="client_hello", address_validated=True),
        event(50, "association_closed", reason="idle"),
    )
    assert [arrow.fate for arrow in arrows(drawn(client, server))] == [
        "unknown",
        "arrived",
        "unknown",
    ]


def test_what_a_file_says_cannot_take_over_the_terminal_or_the_drawing(tmp_path):
    evil = "\x1b[31m<script>&\n"
    path = written(
        tmp_path / "a",
        "client",
        event(0, "association_closed", reason=evil),
        event(1, "record_sent", **record(0, 0, evil)),
        event(2, "datagram_sent", length=evil, records=[record(0, 0), evil, None, 5]),
        event(3, "path_updated", old=[1, {}], new=evil),
    )
    found = drawn(path)
    assert not [line for line in text_of(found) if "\x1b" in line or "\n" in line]
    root = ElementTree.fromstring(svg(found))
    assert not [element for element in root.iter() if "script" in element.tag]


@pytest.mark.parametrize("coloured", [False, True])
def test_every_line_has_one_width(tmp_path, coloured):
    long = ", ".join(f"message_{number}" for number in range(30))
    path = written(
        tmp_path / "a",
        "server",
        event(0, "handshake_failed", stage=long, reason="x"),
        event(1, "record_sent", **record(0, 0, long)),
        event(2, "datagram_sent", length=5, records=[record(0, 0)]),
    )
    lines = list(Drawing(drawn(path), 70, coloured=coloured).lines())
    plain = [re.sub(r"\x1b\[\d+m", "", line) for line in lines]
    assert (plain == lines) is not coloured
    assert {line.rindex("│") for line in plain if "│" in line} == {58}


def test_a_file_that_is_cut_is_read_up_to_there(tmp_path):
    path = written(tmp_path / "a", "client", event(0, "datagram_sent", length=5, records=[]))
    path.write_bytes(path.read_bytes() + b'\x1e{"time": 5, "na')
    assert len(arrows(drawn(path))) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"plain text",
        b"\x1e[]\n",
        b'\x1e{"trace": {"vantage_point": {"type": "proxy"}}}\n',
        b'\x1e{"trace": {"vantage_point": {"type": "client"}}}\n',
        b"\x1e" + b"[" * 100_000,
    ],
)
def test_a_file_that_is_no_trace_is_one_line_of_error(tmp_path, capsys, content):
    path = tmp_path / "a"
    path.write_bytes(content)
    assert main(["trace", str(path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("aiodtls: ") and error.count("\n") == 1 and str(path) in error


def test_traces_that_do_not_go_together_are_refused(tmp_path, capsys):
    one = written(tmp_path / "a", "client")
    assert main(["trace", str(one), str(one)]) == 1
    assert "a client's and a server's" in capsys.readouterr().err


@pytest.mark.parametrize("sides", [1, 2])
async def test_the_command_draws_in_the_terminal_and_as_svg(tmp_path, sides):
    paths = [str(path) for path in (await traced(tmp_path, "1.3", loss=0.2, seed=4)).values()]
    command = [sys.executable, "-m", "aiodtls", "trace", *paths[:sides]]
    shown = await run(*command)
    assert "client_hello" in shown and "\x1b" not in shown
    assert (await run(*command, encoding="ascii")).isascii()
    file = tmp_path / "ladder.svg"
    await run(*command, "--svg", str(file))
    root = ElementTree.parse(file).getroot()
    titles = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}title")]
    assert any("client_hello" in title for title in titles)


async def run(*command: str, encoding: str = "utf-8") -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode(encoding)
