"""The entry of the command line: exit status 0, 1 for errors, 2 for usage, 130 interrupted."""

from __future__ import annotations

import asyncio
import sys
import warnings
from collections.abc import Sequence

from aiodtls.cli import connect, demo, proxy, scan, serve, trace
from aiodtls.cli.loss import drop_outgoing
from aiodtls.cli.options import parser
from aiodtls.cli.output import Output
from aiodtls.core.errors import DTLSError

COMMANDS = {
    "demo": demo.run,
    "serve": serve.run,
    "connect": connect.run,
    "proxy": proxy.run,
    "scan": scan.run,
    "trace": trace.run,
}


def _one_line(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    """Formats a warning as Python does, without the source line."""
    return f"aiodtls: {message}\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command. An error is one line on standard error."""
    warnings.formatwarning = _one_line
    options = parser().parse_args(arguments)
    if getattr(options, "loss", 0):
        drop_outgoing(options.loss)
    output = Output(as_json=options.json)
    try:
        return asyncio.run(COMMANDS[options.command](options, output))
    except KeyboardInterrupt:
        return 130
    except (DTLSError, OSError, ValueError) as error:
        text = str(error) or type(error).__name__
        if output.as_json:
            output.tell("error", text, error=text, type=type(error).__name__)
        print(f"aiodtls: {' '.join(text.split())}", file=sys.stderr)
        return 1
