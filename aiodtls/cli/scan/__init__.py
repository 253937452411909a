"""``aiodtls scan HOST:PORT``: what a server of DTLS takes, and how that looks beside the RFCs."""

from __future__ import annotations

import argparse
import dataclasses

from aiodtls.cli.output import Output
from aiodtls.cli.scan.exchange import Pace, Target
from aiodtls.cli.scan.grading import findings_in
from aiodtls.cli.scan.progress import Progress
from aiodtls.cli.scan.report import lines_of
from aiodtls.cli.scan.survey import survey


async def run(options: argparse.Namespace, output: Output) -> int:
    """Scans one server. Exit status 1 if it does not answer."""
    host, port = options.address
    target = await Target.resolved(host, port, options.server_hostname)
    with Progress(shown=not options.json) as progress:
        seen = await survey(target, Pace(), alpn_protocols=options.alpn, progress=progress)
    findings = findings_in(seen)
    if output.as_json:
        fields = dataclasses.asdict(seen)
        output.tell("scan", "", **fields, findings=[dataclasses.asdict(f) for f in findings])
    else:
        for line in lines_of(seen, findings):
            print(line, flush=True)
    return 0 if seen.answers else 1
