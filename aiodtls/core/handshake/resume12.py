"""The abbreviated DTLS 1.2 handshake (RFC 5246 section 7.3, RFC 5077 section 3.1), both roles.

ClientHello                                      <---  or  --->
---> ServerHello, [NewSessionTicket], ChangeCipherSpec, Finished  <---  of the server
ChangeCipherSpec, Finished                       --->  of the client, which sends last
"""

from __future__ import annotations

from aiodtls.core.crypto.suites import SUITES
from aiodtls.core.errors import AlertError
from aiodtls.core.handshake.authenticate import check_trust
from aiodtls.core.handshake.extensions import extended_master_secret, session_ticket
from aiodtls.core.handshake.keys12 import (
    CLIENT_LABEL,
    EPOCH,
    SERVER_LABEL,
    check_finished,
    derive_record_keys,
    use_master_secret,
    verify_data,
)
from aiodtls.core.handshake.resumption import (
    accepted_session,
    for_ticket,
    make_session,
    use_session,
    with_user_data,
)
from aiodtls.core.handshake.script import Handshake, Script, Step
from aiodtls.core.handshake.stored_sessions import (
    keep_long_chain,
    open_ticket,
    store_session,
    stored_session,
)
from aiodtls.core.registry import AlertDescription
from aiodtls.core.sessions import MAX_LIFETIME, Session
from aiodtls.core.wire.messages import ClientHello, Finished, NewSessionTicket12, ServerHello

SESSION_ID_LENGTH = 32


# -- the client's side -------------------------------------------------------------------------


def is_resumed(hello: ClientHello, reply: ServerHello) -> bool:
    return bool(hello.session_id) and hello.session_id == reply.session_id


def client_resumes12(hs: Handshake, session: Session, reply: ServerHello) -> Script:
    """The handshake from ServerHello on."""
    if reply.cipher_suite != session.suite or not extended_master_secret.is_in(reply.extensions):
        raise AlertError(
            AlertDescription.illegal_parameter, "the server resumes a session with other parameters"
        )
    suite = SUITES[session.suite]
    use_session(hs.negotiated, with_user_data(hs.config, session))
    master = use_master_secret(hs, suite, session.secret)
    if session.peer_chain:
        hs.enter("authentication")
        yield from check_trust(hs, session.peer_chain, "server")
    hs.enter("finished")
    renewed = yield from receive_ticket(hs, reply)
    writer, reader = derive_record_keys(
        hs.negotiated, suite, master, hs.config.replay_window, is_client=True
    )
    hs.install_read(EPOCH, reader)
    finished = yield from hs.expect(Finished)
    check_finished(hs, suite, master, SERVER_LABEL, finished)
    hs.send_change_cipher_spec()
    hs.install_write(EPOCH, writer)
    hs.send(Finished(verify_data(hs, suite, master, CLIENT_LABEL)))
    hs.negotiated.session = renewed or session


def receive_ticket(hs: Handshake, reply: ServerHello) -> Step[Session | None]:
    """Receives NewSessionTicket, which the ServerHello announced (RFC 5077 section 3.3)."""
    if not session_ticket.check_reply(reply.extensions):
        return None
    message = yield from hs.expect(NewSessionTicket12)
    if not message.ticket or not hs.negotiated.extended_master_secret:
        return None
    return make_session(
        hs.negotiated,
        hs.negotiated.master_secret,
        hs.wall_clock(),
        lifetime=message.lifetime_hint or MAX_LIFETIME,
        ticket=message.ticket,
    )


def session_of_id(hs: Handshake, reply: ServerHello) -> Session | None:
    """The session that a server without tickets keeps under its session id (RFC 5246
    section 7.4.1.3).
    """
    if not reply.session_id or not hs.negotiated.extended_master_secret:
        return None
    secret, now = hs.negotiated.master_secret, hs.wall_clock()
    return make_session(hs.negotiated, secret, now, session_id=reply.session_id)


# -- the server's side -------------------------------------------------------------------------


def find_session(hs: Handshake, hello: ClientHello) -> Step[Session | None]:
    """The session in the client's ticket or under its session id, if its values still hold."""
    ticket = session_ticket.accept(hello)
    session: Session | None = None
    if ticket:
        session = yield from open_ticket(hs, ticket)
    elif hello.session_id:
        session = yield from stored_session(hs, hello.session_id)
    if session is None or session.version != "1.2" or session.suite not in hello.cipher_suites:
        return None
    extended_master_secret.check_resumption(hello)
    session = yield from accepted_session(hs, hello, session)
    if session is not None and not ticket:
        hs.negotiated.stored_id = hello.session_id
    return session


def renews_ticket(hs: Handshake, hello: ClientHello) -> bool:
    """Whether a resumption issues a new ticket, because the client's expires with an older
    secret.
    """
    ticket = session_ticket.accept(hello)
    return ticket is not None and bool(ticket) and hs.config.is_outdated(ticket)


def server_resumes12(hs: Handshake, session: Session, *, gives_ticket: bool) -> Script:
    """The handshake after ServerHello."""
    suite = SUITES[session.suite]
    master = use_master_secret(hs, suite, session.secret)
    if gives_ticket:
        yield from keep_session(hs, session_id=b"", with_ticket=True)
    writer, reader = derive_record_keys(
        hs.negotiated, suite, master, hs.config.replay_window, is_client=False
    )
    hs.send_change_cipher_spec()
    hs.install_write(EPOCH, writer)
    hs.send(Finished(verify_data(hs, suite, master, SERVER_LABEL)))

    hs.install_read(EPOCH, reader)
    hs.await_last_flight()
    hs.enter("finished")
    finished = yield from hs.expect(Finished)
    check_finished(hs, suite, master, CLIENT_LABEL, finished)


def new_session_id(hs: Handshake, hello: ClientHello) -> bytes:
    """A session id for a client without tickets whose session may be kept; else empty."""
    if session_ticket.accept(hello) is not None or not _may_be_kept(hs, hello):
        return b""
    return hs.random(SESSION_ID_LENGTH)


def issues_ticket(hs: Handshake, hello: ClientHello) -> bool:
    """Whether a full handshake ends with a NewSessionTicket."""
    return session_ticket.accept(hello) is not None and _may_be_kept(hs, hello)


def _may_be_kept(hs: Handshake, hello: ClientHello) -> bool:
    """Without extended_master_secret a resumption is not safe (RFC 7627 section 5.3)."""
    return hs.config.session_tickets > 0 and extended_master_secret.is_in(hello.extensions)


def keep_session(hs: Handshake, *, session_id: bytes, with_ticket: bool) -> Step[None]:
    """Sends a ticket or stores the session, now that the client has proved its identity.

    A ticket that would be too long is an empty one, as it was announced (RFC 5077 section 3.3).
    """
    if with_ticket:
        yield from keep_long_chain(hs)
    now = hs.wall_clock()
    session = make_session(hs.negotiated, hs.negotiated.master_secret, now)
    if with_ticket:
        ticket = hs.config.seal_ticket(for_ticket(hs.negotiated, session), hs.random, now)
        lifetime = session.lifetime if ticket else 0
        hs.send(NewSessionTicket12(lifetime, ticket or b""))
    elif session_id:
        yield from store_session(hs, session_id, session)
