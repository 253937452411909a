"""Does what a reader of a page does: saves files, types commands, compares what is printed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

from tests.documentation.blocks import DATA, PYTHON, SHELL, Block, compiled

ROOT = Path(__file__).parents[2]
NAMES = Path(__file__).parent / "names"
# Seconds until a program has surely failed, however busy the machine is.
LONGEST_WAIT = 60.0


class Reading:
    """One page, read from top to bottom in a directory of its own."""

    def __init__(self, directory: Path, blocks: list[Block], example_port: int) -> None:
        self._directory = directory
        self._blocks = blocks
        self._commands = "\n".join(b.text for b in blocks if b.language in SHELL)
        self._running: list[subprocess.Popen[bytes]] = []
        self._environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join([str(NAMES), str(ROOT)]),
            "PYTHONUNBUFFERED": "1",
            "SSL_CERT_FILE": str(directory / "ca.pem"),
            "AIODTLS_EXAMPLE_PORT": str(example_port),
        }

    def read(self) -> None:
        """Raises AssertionError with the line of the block that does not do what it says."""
        try:
            for block in self._blocks:
                self._do(block)
        finally:
            for process in self._running:
                self._end(process)

    def _do(self, block: Block) -> None:
        if block.language in PYTHON:
            self._do_python(block)
        elif block.language in SHELL:
            self._do_shell(block)
        else:
            assert block.language in DATA
            _parse(block)

    def _do_python(self, block: Block) -> None:
        compiled(block)
        file = self._directory / (block.file or f"line{block.line}.py")
        file.write_text(block.text)
        if block.file is not None and block.file in self._commands:
            return
        if not block.is_program:
            arguments = ["-m", "tests.documentation.fragment", str(file), *block.fixtures]
            self._run(block, [sys.executable, "-W", "error", *arguments])
        elif "serve_forever()" in block.text:
            self._run_server(block, file)
        else:
            self._run(block, [sys.executable, "-W", "error", str(file)])

    def _run_server(self, block: Block, file: Path) -> None:
        """A server runs until it listens, and ends at an interrupt."""
        process = self._start([sys.executable, "-W", "error", str(file)])
        self._wait_until_it_listens(block, process)
        process.send_signal(signal.SIGINT)
        try:
            output = process.communicate(timeout=LONGEST_WAIT)[0].decode()
        except subprocess.TimeoutExpired:
            # It would hold its port, and the next page's server needs that.
            process.kill()
            process.communicate()
            raise
        last = output.strip().rsplit("\n", 1)[-1]
        assert last in ("", "KeyboardInterrupt") or "Traceback" not in output, (
            f"line {block.line}: {output}"
        )

    def _do_shell(self, block: Block) -> None:
        for command, expected, last in _commands(block):
            if last and block.has_terminal_of_its_own:
                process = self._start(["bash", "-c", f"exec {command}"])
                self._wait_until_it_listens(block, process)
                self._running.append(process)
                continue
            output = self._run(block, ["bash", "-c", command])
            assert expected is None or _matches(expected, output), (
                f"line {block.line}: {command}\nprints\n{output}\ninstead of\n{expected}"
            )

    def _run(self, block: Block, command: list[str]) -> str:
        ended = subprocess.run(
            command,
            cwd=self._directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=LONGEST_WAIT,
            check=False,
        )
        output = ended.stdout.decode()
        assert ended.returncode == 0, (
            f"line {block.line}: status {ended.returncode} of {command[-1]}\n{output}"
        )
        return output

    def _start(self, command: list[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            cwd=self._directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def _wait_until_it_listens(self, block: Block, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + LONGEST_WAIT
        while process.poll() is None and time.monotonic() < deadline:
            if _has_udp_socket(process.pid):
                return
            time.sleep(0.05)
        process.kill()
        output = process.communicate()[0].decode()
        raise AssertionError(f"line {block.line}: no server: {output}")

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
        assert process.stdout is not None
        process.stdout.close()


def _commands(block: Block) -> Iterator[tuple[str, str | None, bool]]:
    """Commands, what each prints or None where the page does not say, and whether it is last."""
    if block.language == "sh":
        yield block.text, None, True
        return
    parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]
    for number, part in enumerate(parts, 1):
        command, _, output = part.partition("\n")
        while command.endswith("\\"):
            rest, _, output = output.partition("\n")
            command = f"{command[:-1]} {rest.removeprefix('> ')}"
        yield command, output.strip() or None, number == len(parts)


def _matches(expected: str, output: str) -> bool:
    """Whether they are the same, where three dots stand for anything."""
    pattern = ".*".join(re.escape(part.strip()) for part in expected.split("..."))
    return re.fullmatch(rf"\s*{pattern}\s*", output, re.DOTALL) is not None


def _has_udp_socket(pid: int) -> bool:
    inodes = set()
    with contextlib.suppress(FileNotFoundError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                inodes.add(link.readlink().name.removeprefix("socket:[").rstrip("]"))
    tables = ("/proc/net/udp", "/proc/net/udp6")
    rows = [row.split() for table in tables for row in Path(table).read_text().splitlines()[1:]]
    return any(row[9] in inodes for row in rows)


def _parse(block: Block) -> None:
    if block.language == "json":
        json.loads(block.text)
    elif block.language == "toml":
        tomllib.loads(block.text)
    elif block.language in ("ini", "systemd"):
        ConfigParser(strict=False, interpolation=None).read_string(block.text)
