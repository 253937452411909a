"""``python -m aiodtls``."""

from aiodtls.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
