"""Removes checks of the package one by one, and says which removals no test sees."""
