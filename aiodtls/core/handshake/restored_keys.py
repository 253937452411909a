"""The keys of an association that was exported by another process."""

from __future__ import annotations

from aiodtls.core.handshake.keys12 import EPOCH, derive_record_keys
from aiodtls.core.handshake.script import KeyStore
from aiodtls.core.negotiated import Negotiated
from aiodtls.core.record.protection13 import OldKeys
from aiodtls.core.record.traffic import TrafficSecrets


def install_keys(
    keys: KeyStore,
    negotiated: Negotiated,
    traffic: TrafficSecrets | None,
    old_keys: OldKeys | None,
    replay_window: int,
    *,
    is_client: bool,
) -> None:
    """Installs the keys: those of DTLS 1.3 from ``traffic``, those of DTLS 1.2 from the master
    secret.
    """
    if traffic is not None:
        keys.use_dtls13()
        restored = negotiated.restore_traffic(traffic, replay_window)
        keys.install_write(restored.write_epoch, restored.writer())
        if old_keys is not None:
            keys.install_read(old_keys.epoch, restored.old_reader(old_keys))
        keys.install_read(restored.read_epoch, restored.reader())
        return
    suite, secret = negotiated.suite, negotiated.master_secret
    assert suite is not None
    writer, reader = derive_record_keys(
        negotiated, suite, secret, replay_window, is_client=is_client
    )
    keys.install_write(EPOCH, writer)
    keys.install_read(EPOCH, reader)
