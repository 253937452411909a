"""What peers can make us log: little, at every level, and never a line of their own making."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

import pytest

import aiodtls
from aiodtls import PSK, DTLSConfig, log
from aiodtls.log import BURST, MAX_SOURCES, RATE, SOURCE_BURST, SOURCE_RATE, RateLimit

KEY = b"0123456789abcdef"
LEVELS = {
    level: log.Line(level, "about %s") for level in (logging.DEBUG, logging.INFO, logging.ERROR)
}


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def texts(self) -> list[str]:
        return [record.getMessage() for record in self.records]


@pytest.fixture
def lines():
    """All that aiodtls logs, whatever the level."""
    logger, handler = logging.getLogger("aiodtls"), Lines()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(before)


def say(limit: RateLimit, now: float, peer, level: int = logging.INFO) -> None:
    limit.log(log.server, LEVELS[level], now, peer)


def host(number: int) -> tuple[str, int]:
    """Each in a network of its own."""
    return f"10.{number // 256}.{number % 256}.1", 4433


def test_one_network_gets_a_share_and_leaves_room_for_others(lines):
    limit = RateLimit()
    for port in range(1000):
        say(limit, 0.0, ("10.0.0.1", port))
        say(limit, 0.0, ("10.0.0.2", port))
    assert len(lines.records) == SOURCE_BURST
    say(limit, 0.0, host(1))
    left_out = 2000 - SOURCE_BURST
    assert lines.texts()[-2:] == [
        f"{left_out} lines about peers were left out: 'about %s'",
        "about 10.0.1.1:4433",
    ]


def test_all_networks_together_are_bounded(lines):
    limit = RateLimit()
    for second in range(60):
        for number in range(500):
            say(limit, float(second), host(number))
    about = [text for text in lines.texts() if text.startswith("about")]
    assert len(about) == BURST + 59 * RATE
    assert len(limit._sources) <= MAX_SOURCES


def test_a_network_that_goes_on_gets_its_rate(lines):
    limit = RateLimit()
    for tenth in range(600):
        say(limit, tenth / 10, host(1))
    about = [text for text in lines.texts() if text.startswith("about")]
    assert len(about) == SOURCE_BURST + int(59.9 * SOURCE_RATE)


def test_what_peers_do_at_one_level_keeps_no_other_level_silent(lines):
    limit = RateLimit()
    for number in range(500):
        say(limit, 0.0, host(number))
        say(limit, 0.0, host(number), logging.DEBUG)
    say(limit, 0.0, host(1), logging.ERROR)
    levels = Counter(record.levelno for record in lines.records)
    assert levels == {logging.INFO: BURST, logging.DEBUG: 500, logging.ERROR: 1}


def test_forgotten_networks_do_not_grow_and_silence_nobody(lines):
    limit = RateLimit()
    for number in range(3 * MAX_SOURCES):
        say(limit, number * 1.0, host(number))
    assert len(limit._sources) == MAX_SOURCES
    assert len(lines.records) == 3 * MAX_SOURCES


@pytest.mark.parametrize("peer", [None, "peer", b"peer", object(), ["no", "hash"], ("a\nb", 1)])
def test_any_peer_will_do(lines, peer):
    say(RateLimit(), 0.0, peer)
    assert len(lines.records) == 1


def test_what_nobody_listens_to_costs_nothing_and_counts_for_nothing(lines):
    logging.getLogger("aiodtls").setLevel(logging.ERROR)
    limit = RateLimit()
    for number in range(500):
        say(limit, 0.0, host(number))
    logging.getLogger("aiodtls").setLevel(logging.INFO)
    say(limit, 0.0, host(1))
    assert lines.texts() == ["about 10.0.1.1:4433"]


def test_one_kind_of_line_keeps_no_other_kind_silent(lines):
    limit, other = RateLimit(), log.Line(logging.INFO, "another about %s")
    for _ in range(500):
        say(limit, 0.0, host(1))
    limit.log(log.server, other, 0.0, host(1))
    assert lines.texts()[-1] == "another about 10.0.1.1:4433"


async def test_loops_are_limited_apart_and_leave_nothing(lines):
    loop = asyncio.get_running_loop()
    one, two, other_line = (log.Line(logging.INFO, f"{text} %s") for text in ("1", "2", "3"))
    log.about(loop, log.server, one, host(1))
    assert loop in log._limits
    other = asyncio.new_event_loop()
    other.close()
    for _ in range(500):
        log.about(other, log.server, other_line, host(1))
    log.about(loop, log.server, two, host(1))
    assert [text[0] for text in lines.texts()] == ["1", *["3"] * SOURCE_BURST, "2"]


def raising(*_: object) -> None:
    raise ZeroDivisionError("of the user's")


async def handler_raises(endpoint) -> None:
    raising()


async def connect_often(config: DTLSConfig, times: int, handler=None, **options) -> None:
    """As many handshakes with a server, whether or not they succeed."""
    async with aiodtls.serve(handler, "127.0.0.1", config=config, **options) as server:
        client = DTLSConfig(psk=PSK("device", KEY), handshake_timeout=2)

        async def attempt() -> None:
            try:
                async with aiodtls.connect(*server.sockname, config=client) as endpoint:
                    await endpoint.wait_closed()
            except aiodtls.HandshakeError:
                pass

        await asyncio.gather(*(attempt() for _ in range(times)))


TIMES = 3 * SOURCE_BURST


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        (DTLSConfig(psk={"device": KEY}), {"handler": handler_raises}, "the handler for"),
        (DTLSConfig(psk=raising), {}, "the function asked for PSKRequested raised"),
        (
            DTLSConfig(psk={"device": KEY}),
            {"handler": lambda endpoint: asyncio.sleep(0), "on_event": raising},
            "on_event raised at",
        ),
        (DTLSConfig(psk={"another": KEY}), {}, "handshake with"),
    ],
    ids=["handler", "psk", "on_event", "refused"],
)
async def test_lines_that_many_peers_cause_are_bounded(
    lines, monkeypatch, config, options, message
):
    # However long it takes, no token comes back.
    monkeypatch.setattr(log, "RATE", 0.0)
    monkeypatch.setattr(log, "SOURCE_RATE", 0.0)
    await connect_often(config, TIMES, **options)
    kinds = Counter(record.msg for record in lines.records if record.levelno >= logging.INFO)
    assert all(count <= SOURCE_BURST for count in kinds.values())
    found = [record for record in lines.records if message in record.getMessage()]
    assert found
    is_error = found[0].levelno == logging.ERROR
    assert bool(found[0].exc_info) is is_error
