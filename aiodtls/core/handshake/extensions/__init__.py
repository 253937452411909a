"""One extension, one file, with all its rules for both roles and both versions.

Each module has the same plain functions, as far as its extension needs them. A handshake calls them
in this order:

    offer(config, ...)           client: its extensions for the ClientHello, as a list
    accept(hs, hello, ...)       server: processes the extension in the ClientHello
    reply(hs, hello, ...)        server: its extensions in the answer, as a list
    check_reply(hs, extensions)  client: processes the extension in the answer
    may_resume(session, hello)   server: whether a session still fits the ClientHello

``accept`` and ``check_reply`` store the choice in ``hs.negotiated``, or return it if only the
handshake needs it. They raise :class:`AlertError` for anything illegal. A function takes ``hs``
only if it needs the configuration or the negotiated values. The scripts call these functions one by
one. So the scripts and ``client_hello.py`` determine the order of the extensions on the wire.

The encodings are in ``wire/extensions.py`` and ``wire/extensions13.py``, the messages that may
carry an extension in ``wire/places.py``. Three extensions need more than one file: ``negotiate.py``
chooses the version from supported_versions, ``psks.py`` handles pre_shared_key, and ``retry.py``
the cookie of DTLS 1.3.
"""
