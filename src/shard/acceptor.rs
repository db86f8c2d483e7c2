//! Accepts new connections. An [`Acceptor`] belongs to one shard. The connections of all shards
//! are counted together in [`Admission`].

use super::refusal::refuse_unread;
use super::socket::ShardSocket;
use super::socket_host::SocketCore;
use crate::access::admission::{Admission, AdmissionDecision};
use crate::limits::{
    ACCEPT_RETRY_MS, ACCEPTS_PER_ITERATION, DEFAULT_CLOSE_TIMEOUT, SHUTDOWN_ACCEPTS,
};
use crate::logging::throttled_lines::ACCEPTING_PAUSED;
use crate::sys::send_queue;
use crate::telemetry::counters::ShardCounters;
use crate::timestamp::Timestamp;
use crate::wire::http::RefusalCause;
use mio::net::{TcpListener, TcpStream};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown};
use std::sync::Arc;
use std::time::Duration;

/// The listeners of a shard.
#[derive(Debug)]
pub struct Acceptor {
    listeners: Vec<ShardListener>,
    /// While descriptors or memory have run out: when accepting is tried again.
    paused_until: Option<Timestamp>,
    admission: Arc<Admission>,
    /// How long the kernel keeps a refused connection whose client acknowledges nothing.
    close_timeout: Duration,
    counters: Arc<ShardCounters>,
}

#[derive(Debug)]
struct ShardListener {
    socket: TcpListener,
    /// Whether it is one of `--admin-listen`.
    is_admin: bool,
    /// Whether connections may be pending: the poll reports only new ones.
    may_have_pending: bool,
}

/// Why accept(2) returned no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AcceptFailure {
    /// No connection is pending.
    NonePending,
    /// This connection is gone, or its network is. Others may be pending.
    ConnectionFailed,
    /// Nothing can be accepted at present.
    Exhausted,
}

fn classify(error: &io::Error) -> AcceptFailure {
    match error.raw_os_error() {
        Some(libc::EAGAIN) => AcceptFailure::NonePending,
        // accept(2) reports errors of the new connection's network as its own.
        Some(
            libc::EINTR
            | libc::ECONNABORTED
            | libc::ENETDOWN
            | libc::EPROTO
            | libc::ENOPROTOOPT
            | libc::EHOSTDOWN
            | libc::ENONET
            | libc::EHOSTUNREACH
            | libc::EOPNOTSUPP
            | libc::ENETUNREACH
            | libc::EPERM,
        ) => AcceptFailure::ConnectionFailed,
        // EMFILE, ENFILE, ENOBUFS, ENOMEM. After any other error, trying again at once would
        // keep the CPU busy.
        // guard: an unknown accept error pauses accepting [value of the arm above]
        Some(_) | None => AcceptFailure::Exhausted,
    }
}

impl Acceptor {
    /// Accepts from `listeners`. Those from `first_admin` on belong to `--admin-listen`. The poll
    /// reports each by its index.
    pub fn new(
        listeners: Vec<TcpListener>,
        first_admin: usize,
        admission: Arc<Admission>,
        counters: Arc<ShardCounters>,
    ) -> Self {
        let listener = |(index, socket)| ShardListener {
            socket,
            is_admin: index >= first_admin,
            may_have_pending: false,
        };
        Acceptor {
            listeners: listeners.into_iter().enumerate().map(listener).collect(),
            paused_until: None,
            admission,
            close_timeout: DEFAULT_CLOSE_TIMEOUT,
            counters,
        }
    }

    /// Bounds how long a refusal may take to arrive.
    #[must_use]
    pub fn closing_within(self, close_timeout: Duration) -> Self {
        Acceptor { close_timeout, ..self }
    }

    /// The poll reported pending connections.
    pub fn handle_event(&mut self, listener: usize) {
        if let Some(listener) = self.listeners.get_mut(listener) {
            listener.may_have_pending = true;
        }
    }

    /// Whether connections may be pending that can be accepted at once.
    pub fn has_work(&self) -> bool {
        let may_have_pending = |listener: &ShardListener| listener.may_have_pending;
        self.paused_until.is_none() && self.listeners.iter().any(may_have_pending)
    }

    /// When accepting is tried again, if it pauses.
    pub fn next_try(&self) -> Option<Timestamp> {
        self.paused_until
    }

    /// Accepts a bounded number of connections.
    pub fn accept(&mut self, core: &mut SocketCore, now: Timestamp) {
        if self.paused_until.is_some_and(|until| until > now) {
            return;
        }
        for index in 0..self.listeners.len() {
            // guard: an iteration accepts a bounded number of connections [value 0..1_000_000]
            for _ in 0..ACCEPTS_PER_ITERATION {
                if !self.listeners[index].may_have_pending {
                    break;
                }
                match self.listeners[index].socket.accept() {
                    Ok((socket, from)) => {
                        self.resume();
                        match self.listeners[index].is_admin {
                            true => self.admit_admin(core, socket),
                            false => self.admit(core, socket, from.ip(), now),
                        }
                    }
                    Err(error) => match classify(&error) {
                        AcceptFailure::NonePending => {
                            self.resume();
                            self.listeners[index].may_have_pending = false;
                        }
                        AcceptFailure::ConnectionFailed => self.counters.accept_errors.increment(),
                        AcceptFailure::Exhausted => return self.pause(now, &error),
                    },
                }
            }
        }
    }

    fn admit(&mut self, core: &mut SocketCore, socket: TcpStream, from: IpAddr, now: Timestamp) {
        // guard: connections beyond a full table are bounded [false]
        if core.is_far_above_limit() {
            core.make_space(RefusalCause::Connections, None);
            return self.refuse(socket.into(), RefusalCause::Connections);
        }
        let full_here = core.is_full_here().then_some(RefusalCause::Connections);
        let is_from_proxy = core.trusts(from);
        let decision = match is_from_proxy {
            true => self.admission.enter_from_proxy(),
            false => self.admission.enter(from, now),
        };
        match decision {
            AdmissionDecision::Admit { refusal, .. } if is_from_proxy => {
                core.admit_from_proxy(socket.into(), refusal.or(full_here));
            }
            AdmissionDecision::Admit { refusal, counted } => {
                core.admit(socket.into(), refusal.or(full_here), counted);
            }
            AdmissionDecision::Refuse(cause) => {
                core.make_space(cause, (!is_from_proxy).then_some(from));
                self.refuse(socket.into(), cause);
            }
        }
    }

    fn admit_admin(&self, core: &mut SocketCore, socket: TcpStream) {
        if let Err(socket) = core.admit_admin(socket.into()) {
            self.refuse(socket, RefusalCause::AdminConnections);
        }
    }

    /// Answers a connection with a refusal and closes it. It never gets an entry in the table.
    /// Input that has arrived already is read, because closing a socket with unread input sends a
    /// reset, which could overtake the response (RFC 2525 §2.17).
    fn refuse(&self, mut socket: ShardSocket, cause: RefusalCause) {
        let response = refuse_unread(cause, &self.counters);
        // The connection is closed in any case, so failures make no difference.
        let _sent = socket.write(&response);
        let _shut = socket.shutdown(Shutdown::Write);
        let _dropped = socket.read(&mut [0; 4096]);
        let _bounded = send_queue::bound_orphan(&*socket, self.close_timeout);
        socket.close();
    }

    fn pause(&mut self, now: Timestamp, error: &io::Error) {
        self.counters.accept_errors.increment();
        // While descriptors are short, accepting pauses and resumes many times a second.
        if let Some(suppressed) = ACCEPTING_PAUSED.permit(now) {
            tracing::warn!(
                %error,
                suppressed,
                "accepting is paused; if descriptors have run out, raise the limit of open files"
            );
        }
        self.counters.accept_paused.set(1);
        self.paused_until = Some(now + Duration::from_millis(ACCEPT_RETRY_MS));
    }

    /// Accepting works.
    fn resume(&mut self) {
        if self.paused_until.take().is_some() {
            self.counters.accept_paused.set(0);
        }
    }

    /// Accepts the connections that are pending and refuses them, because the server is shutting
    /// down. Their number is bounded, because clients may connect as fast as they are refused.
    pub fn close(self) {
        self.refuse_pending(SHUTDOWN_ACCEPTS);
    }

    fn refuse_pending(mut self, max_per_listener: usize) {
        for listener in std::mem::take(&mut self.listeners) {
            // guard: shutdown accepts a bounded number of pending connections [value 0..9]
            for _ in 0..max_per_listener {
                let Ok((socket, _)) = listener.socket.accept() else { break };
                self.refuse(socket.into(), RefusalCause::Time);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;

    /// New connections do not delay the end of a process that is shutting down.
    #[test]
    fn refuses_a_bounded_number_of_pending_connections_at_shutdown() {
        let listeners: Vec<_> =
            (0..2).map(|_| TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap()).collect();
        let connect = |listener: &TcpListener| {
            std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap()
        };
        // The kernel completes the handshakes, so all are pending when `connect` returns.
        let many: Vec<_> = (0..5).map(|_| connect(&listeners[0])).collect();
        let few: Vec<_> = (0..2).map(|_| connect(&listeners[1])).collect();
        let counters = Arc::new(ShardCounters::new(0));
        let admission = Arc::new(Admission::new(Limits::default().of_connections(), 1));
        Acceptor::new(listeners, 2, admission, Arc::clone(&counters)).refuse_pending(3);
        let is_answered = |mut socket: std::net::TcpStream| {
            let mut response = String::new();
            // A connection that was not accepted is reset.
            let _ended = socket.read_to_string(&mut response);
            response.starts_with("HTTP/1.1 503 ")
        };
        let answered = |sockets: Vec<std::net::TcpStream>| {
            sockets.into_iter().map(is_answered).filter(|answered| *answered).count()
        };
        assert_eq!((answered(many), answered(few)), (3, 2));
        assert_eq!(counters.read().accepted, 5);
    }

    #[test]
    fn tells_exhaustion_from_an_empty_queue_and_a_failed_connection() {
        for (code, failure) in [
            (libc::EAGAIN, AcceptFailure::NonePending),
            (libc::ECONNABORTED, AcceptFailure::ConnectionFailed),
            (libc::EMFILE, AcceptFailure::Exhausted),
            (libc::ENFILE, AcceptFailure::Exhausted),
            (libc::ENOMEM, AcceptFailure::Exhausted),
            (libc::ENOBUFS, AcceptFailure::Exhausted),
        ] {
            assert_eq!(classify(&io::Error::from_raw_os_error(code)), failure);
        }
    }
}
