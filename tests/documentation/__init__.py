"""Runs every code block of README.md and docs/; docs/examples-in-these-pages.md tells readers."""
