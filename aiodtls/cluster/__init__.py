"""Many processes on one port, and many hosts behind one name."""

from aiodtls.core.id_layout import IdLayout

__all__ = ["IdLayout"]
