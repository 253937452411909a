"""Adapters to other libraries. Each needs the extra of its name."""
