"""Answers the shim clients that the runner starts, from processes that have imported everything.

``python -m tests.bogo.server COMMAND...`` listens on a port of its own, runs COMMAND with the port
in AIODTLS_SHIM_PORT, and ends with the command's exit status. A client sends the count of its
arguments and the arguments, each ended by a zero byte, and gets the exit status, a newline and
what belongs on standard error.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import traceback
import warnings

from tests.bogo.flags import Unimplemented
from tests.bogo.shim import Failed, run_test

WORKERS = 2 * (os.cpu_count() or 1) + 2
UNIMPLEMENTED = 89


def read_arguments(client: socket.socket) -> list[str]:
    """The arguments, in the file system's encoding as those of any program."""
    data = b""
    fields: list[bytes] = [b""]
    while len(fields) < 2 or len(fields) < int(fields[0]) + 2:
        chunk = client.recv(65536)
        if not chunk:
            raise ConnectionError("the client went away")
        data += chunk
        fields = data.split(b"\0")
    return [os.fsdecode(field) for field in fields[1:-1]]


def answer(arguments: list[str]) -> tuple[int, str]:
    """Exit status and standard error of one test."""
    try:
        run_test(arguments)
    except Unimplemented as error:
        return UNIMPLEMENTED, f"not implemented: {error}\n"
    except Failed as error:
        return 1, f"{error}\n"
    except Exception:
        return 1, traceback.format_exc()
    return 0, ""


def work(listener: socket.socket) -> None:
    while True:
        client, _ = listener.accept()
        with client:
            try:
                status, text = answer(read_arguments(client))
                client.sendall(f"{status}\n{text}".encode(errors="replace"))
            except ConnectionError:
                # The runner killed the client: the test is over.
                continue


def main(command: list[str]) -> int:
    # A certificate of the runner with an odd serial number is not for standard error.
    warnings.simplefilter("ignore")
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    workers = []
    for _ in range(WORKERS):
        pid = os.fork()
        if pid == 0:
            work(listener)
        workers.append(pid)
    try:
        port = str(listener.getsockname()[1])
        environment = dict(os.environ, AIODTLS_SHIM_PORT=port)
        return subprocess.run(command, env=environment, check=False).returncode
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
