"""One extension, one file, with all the rules of both roles and both versions.

Each module is made of the same plain functions, as far as its extension needs them, in the order
in which a handshake calls them:

    offer(config, ...)           client: what goes into the ClientHello, as a list of extensions
    accept(hs, hello, ...)       server: what it takes of the ClientHello
    reply(hs, hello, ...)        server: what it answers, as a list of extensions
    check_reply(hs, extensions)  client: what it takes of the answer
    may_resume(session, hello)   server: whether a session still fits the ClientHello

``accept`` and ``check_reply`` note the choice in ``hs.negotiated``, or return it where it is of use
to the handshake alone. They raise :class:`AlertError` for what is not legal. A function that needs
neither the configuration nor the facts does without ``hs``. The scripts call these functions one by
one, so the order of the extensions on the wire stands in the scripts and in ``client_hello.py``.

How an extension is encoded is in ``wire/extensions.py`` and ``wire/extensions13.py``, and where it
may stand in ``wire/places.py``. Three are more than an extension: which version is chosen from
supported_versions is in ``negotiate.py``, pre_shared_key is in ``psks.py``, and the cookie of
DTLS 1.3 in ``retry.py``.
"""
