"""How much the peers of a listener hold of incomplete handshake messages, and who holds most."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

from aiodtls.core.shares import Shares

Holder = TypeVar("Holder", bound=Hashable)


class FragmentMemory(Generic[Holder]):
    """Bytes by holder and by network. Each operation costs O(log n)."""

    __slots__ = ("_held", "_holders", "_networks", "total")

    def __init__(self) -> None:
        self.total: int = 0
        # What each holder has, and its network when it was first counted.
        self._held: dict[Holder, tuple[int, Hashable]] = {}
        self._networks: Shares[Hashable] = Shares()
        self._holders: dict[Hashable, Shares[Holder]] = {}

    def __contains__(self, holder: Holder) -> bool:
        return holder in self._held

    def set(self, holder: Holder, network: Hashable, held: int) -> None:
        """The holder has so many bytes now; 0 forgets it."""
        before, network = self._held.get(holder, (0, network))
        if held == before:
            return
        self.total += held - before
        self._networks.change(network, held - before)
        holders = self._holders.setdefault(network, Shares())
        holders.change(holder, held - before)
        if held:
            self._held[holder] = held, network
            return
        del self._held[holder]
        if not len(holders):
            del self._holders[network]

    def largest(self) -> Holder:
        """The largest holder of the largest network. Raises IndexError if there is none."""
        return self._holders[self._networks.largest()].largest()
