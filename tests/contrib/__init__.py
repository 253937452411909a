"""The adapters to other libraries."""
