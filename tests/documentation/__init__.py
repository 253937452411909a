"""Runs every code block of README.md and docs/, as docs/examples-in-these-pages.md tells readers."""
