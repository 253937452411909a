"""The wall clock that the core takes where its owner gives it none.

The protocol's own time is an argument of every call. Certificates, tickets and cookies speak of the
calendar, and outlive processes: for these a connection has a ``wall_clock``.
"""

from time import time

wall_clock = time
