"""Headless browsers that run scripts: Chromium by chromedriver, Firefox by Marionette."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.ports import reserved
from tests.selection import place

START_SECONDS = 60
# Fake devices are not needed: pages make their own tracks. Addresses must not be hidden by mDNS.
CHROMIUM_OPTIONS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--allow-loopback-in-peer-connection",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
    "--autoplay-policy=no-user-gesture-required",
]
FIREFOX_PREFERENCES = {
    "media.peerconnection.ice.loopback": True,
    "media.peerconnection.ice.obfuscate_host_addresses": False,
    "media.autoplay.default": 0,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.telemetry.enabled": False,
    "app.update.enabled": False,
    "marionette.port": 0,
}


class Chromium:
    """A session of chromedriver."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._session = ""

    def open(self) -> None:
        chosen = {"binary": str(place("browsers") / "chromium"), "args": CHROMIUM_OPTIONS}
        wanted = {"alwaysMatch": {"goog:chromeOptions": chosen, "timeouts": {"script": 300_000}}}
        self._session = self._call("", {"capabilities": wanted})["sessionId"]

    def close(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        connection.request("DELETE", f"/session/{self._session}")
        connection.getresponse().read()

    def _call(self, command: str, body: Any) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=300)
        path = f"/session/{self._session}/{command}".rstrip("/")
        connection.request("POST", path, json.dumps(body))
        value = json.load(connection.getresponse())["value"]
        if isinstance(value, dict) and "error" in value:
            raise RuntimeError(value["message"])
        return value

    async def run(self, script: str, *arguments: Any) -> Any:
        """The result of an async script, which calls its last argument with it."""
        body = {"script": script, "args": list(arguments)}
        return await asyncio.to_thread(self._call, "execute/async", body)


class Firefox:
    """A session of Marionette: each message is its length, a colon, and JSON."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=300)
        self._file = self._socket.makefile("rb")
        self._number = 0

    def open(self) -> None:
        self._read()
        self._call("WebDriver:NewSession", {"capabilities": {}})
        self._call("WebDriver:SetTimeouts", {"script": 300_000})

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def _read(self) -> Any:
        length = b""
        while (byte := self._file.read(1)) != b":":
            length += byte
        return json.loads(self._file.read(int(length)))

    def _call(self, command: str, parameters: Any) -> Any:
        self._number += 1
        message = json.dumps([0, self._number, command, parameters]).encode()
        self._socket.sendall(b"%d:%b" % (len(message), message))
        _, _, error, result = self._read()
        if error is not None:
            raise RuntimeError(error["message"])
        return result

    async def run(self, script: str, *arguments: Any) -> Any:
        """The result of an async script, which calls its last argument with it."""
        parameters = {"script": script, "args": list(arguments), "newSandbox": False}
        result = await asyncio.to_thread(self._call, "WebDriver:ExecuteAsyncScript", parameters)
        return result["value"]


@contextmanager
def chromium(directory: Path) -> Iterator[Chromium]:
    driver = str(place("browsers") / "chromedriver")
    with reserved() as port, running([driver, f"--port={port}"], directory) as process:
        wait_for(process, lambda: socket.create_connection(("127.0.0.1", port)).close())
        browser = Chromium(port)
        browser.open()
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def firefox(directory: Path) -> Iterator[Firefox]:
    program = str(place("browsers") / "firefox-esr")
    profile = directory / "profile"
    profile.mkdir()
    lines = (
        f"user_pref({json.dumps(name)}, {json.dumps(value)});"
        for name, value in FIREFOX_PREFERENCES.items()
    )
    (profile / "user.js").write_text("\n".join(lines))
    command = [program, "--headless", "--marionette", "--no-remote", "--profile", str(profile)]
    with running(command, directory) as process:
        written = profile / "MarionetteActivePort"
        wait_for(process, lambda: int(written.read_text()))
        browser = Firefox(int(written.read_text()))
        browser.open()
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def running(command: list[str], directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (directory / "output").open("wb") as output:
        environment = {"HOME": str(directory), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
        process = subprocess.Popen(
            command, stdout=output, stderr=output, cwd=directory, env=environment
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def wait_for(process: subprocess.Popen[bytes], attempt: Any) -> None:
    """Until the attempt raises nothing. The pauses only keep the processor free."""
    for _ in range(START_SECONDS * 10):
        try:
            attempt()
            return
        except (OSError, ValueError):
            if process.poll() is not None:
                break
        try:
            process.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
    raise RuntimeError(f"{process.args} has not started")


BROWSERS = {"chromium": chromium, "firefox": firefox}
