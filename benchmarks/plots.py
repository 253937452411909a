"""SVG plots of the figures that ``--json`` keeps; needs matplotlib (the extra ``bench``)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
# The same figures give the same file.
matplotlib.rcParams["svg.hashsalt"] = "aiodtls"
matplotlib.rcParams["svg.fonttype"] = "none"

from matplotlib import pyplot  # noqa: E402 - the backend is chosen first

OURS, OTHERS = "#1f6f8b", "#b8b8b8"


def draw(results: dict[str, Any], directory: Path) -> None:
    """One file for each benchmark of ``results``."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, rows in results.get("costs", {}).items():
        values = {contender: row["cpu"] for contender, row in rows.items()}
        _bars(directory, name, "CPU, microseconds", values)
    for side in ("sent", "received"):
        rows = results.get("wire", {})
        values = {contender: row[side]["value"] for contender, row in rows.items()}
        _bars(directory, f"one way between two processes, 1,200 bytes, {side}", "CPU, us", values)
    idle = {contender: size / 1024 for contender, size in results.get("idle", {}).items()}
    _bars(directory, "an idle association, server's side", "KiB", idle)


def _bars(directory: Path, name: str, unit: str, values: dict[str, float]) -> None:
    if not values:
        return
    figure, axes = pyplot.subplots(figsize=(7, 0.8 + 0.34 * len(values)), layout="constrained")
    names = list(reversed(values))
    ours = [OURS if "aiodtls" in n or "associations" in n else OTHERS for n in names]
    bars = axes.barh(names, [values[n] for n in names], color=ours)
    axes.bar_label(bars, fmt="{:,.4g}", padding=3, fontsize=8)
    axes.set_title(name, loc="left", fontsize=10)
    axes.set_xlabel(unit, fontsize=8)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.12)
    path = directory / (re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") + ".svg")
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
