"""Prints the lowest versions that pyproject.toml allows, as requirements.

They are those of the dependencies, and of the extras that the arguments name.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

if __name__ == "__main__":
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    wanted = list(project["dependencies"])
    for extra in sys.argv[1:]:
        wanted += project["optional-dependencies"][extra]
    print("\n".join(sorted({requirement.replace(">=", "==", 1) for requirement in wanted})))
