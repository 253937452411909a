"""aiodtls beside its peers: ``python -m benchmarks``."""
