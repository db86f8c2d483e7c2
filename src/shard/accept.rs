//! Newcomers: taking them from the kernel. An [`Acceptor`] belongs to one shard; how many there
//! may be, all shards count together in [`Admission`].

use super::core::Core;
use super::driver::Sockets;
use super::socket::ShardSocket;
use crate::access::admission::{Admission, AdmissionDecision};
use crate::limits::{
    ACCEPT_RETRY_MS, ACCEPTS_PER_ITERATION, SHUTDOWN_ACCEPTS, TABLE_SURPLUS_CONNECTIONS,
};
use crate::logging::throttle::LogThrottle;
use crate::telemetry::counters::ShardCounters;
use crate::telemetry::labels::{EndReason, RejectReason};
use crate::timestamp::Timestamp;
use crate::wire::http::{self, HttpError, RefusalCause, ResponseFraming};
use mio::net::{TcpListener, TcpStream};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown};
use std::sync::Arc;
use std::time::Duration;

/// What all shards together may say once a minute.
static PAUSES: LogThrottle = LogThrottle::new();

/// A shard's listeners.
#[derive(Debug)]
pub struct Acceptor {
    listeners: Vec<Listener>,
    /// Descriptors or memory have run out: accepting is tried again then.
    paused_until: Option<Timestamp>,
    admission: Arc<Admission>,
    /// Connections that the shard's own descriptor table is meant to hold.
    most_here: usize,
    counters: Arc<ShardCounters>,
}

#[derive(Debug)]
struct Listener {
    socket: TcpListener,
    /// Whether it is one of `--admin-listen`.
    admin: bool,
    /// Whether connections may be waiting: the poll tells only of new ones.
    pending: bool,
}

/// What accept(2) came to when it did not bring a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// Nobody is waiting.
    Nobody,
    /// That one has gone, or its network has; others may wait.
    ThatOne,
    /// Nothing can be accepted at present.
    Exhausted,
}

fn classify(error: &io::Error) -> Failure {
    match error.raw_os_error() {
        Some(libc::EAGAIN) => Failure::Nobody,
        // accept(2): errors of the new socket's network are reported by accept.
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
        ) => Failure::ThatOne,
        // EMFILE, ENFILE, ENOBUFS, ENOMEM; whatever else it is, trying at once would spin.
        // guard: an unknown accept error pauses accepting [value of the arm above]
        Some(_) | None => Failure::Exhausted,
    }
}

impl Acceptor {
    /// Accepts from `listeners`, of which those from `first_admin` on are of `--admin-listen`. The
    /// poll watches each under its place in the list.
    pub fn new(
        listeners: Vec<TcpListener>,
        first_admin: usize,
        admission: Arc<Admission>,
        counters: Arc<ShardCounters>,
    ) -> Self {
        let listener = |(at, socket)| Listener { socket, admin: at >= first_admin, pending: false };
        Acceptor {
            listeners: listeners.into_iter().enumerate().map(listener).collect(),
            paused_until: None,
            admission,
            most_here: usize::MAX,
            counters,
        }
    }

    /// The shard itself takes no more than so many, whatever the process may still have.
    #[must_use]
    pub fn at_most(self, most_here: usize) -> Self {
        Acceptor { most_here, ..self }
    }

    /// The poll reported newcomers.
    pub fn ready(&mut self, listener: usize) {
        if let Some(listener) = self.listeners.get_mut(listener) {
            listener.pending = true;
        }
    }

    /// Whether newcomers may be waiting that can be accepted at once.
    pub fn has_work(&self) -> bool {
        self.paused_until.is_none() && self.listeners.iter().any(|listener| listener.pending)
    }

    /// When accepting is to be tried again.
    pub fn next_try(&self) -> Option<Timestamp> {
        self.paused_until
    }

    /// Takes newcomers in, a bounded number of them.
    pub fn accept(&mut self, core: &mut Core<Sockets>, now: Timestamp) {
        if self.paused_until.is_some_and(|until| until > now) {
            return;
        }
        for at in 0..self.listeners.len() {
            // guard: an iteration accepts a bounded number of connections [value 0..1_000_000]
            for _ in 0..ACCEPTS_PER_ITERATION {
                if !self.listeners[at].pending {
                    break;
                }
                match self.listeners[at].socket.accept() {
                    Ok((socket, from)) => {
                        self.resume();
                        match self.listeners[at].admin {
                            true => self.admit_admin(core, socket),
                            false => self.admit(core, socket, from.ip(), now),
                        }
                    }
                    Err(error) => match classify(&error) {
                        Failure::Nobody => {
                            self.resume();
                            self.listeners[at].pending = false;
                        }
                        Failure::ThatOne => self.counters.accept_errors.increment(),
                        Failure::Exhausted => return self.pause(now, &error),
                    },
                }
            }
        }
    }

    fn admit(&mut self, core: &mut Core<Sockets>, socket: TcpStream, from: IpAddr, now: Timestamp) {
        let (here, most) = (core.alive_in_public(), self.most_here);
        // guard: connections beyond a full table are bounded [false]
        if here >= most.saturating_add(TABLE_SURPLUS_CONNECTIONS) {
            return self.refuse(socket.into(), RefusalCause::Connections);
        }
        let full_here = (here >= most).then_some(RefusalCause::Connections);
        let from_proxy = core.trusts(from);
        let decision = match from_proxy {
            true => self.admission.enter_from_proxy(),
            false => self.admission.enter(from, now),
        };
        match decision {
            AdmissionDecision::Admit { refusal, .. } if from_proxy => {
                core.admit_from_proxy(socket.into(), refusal.or(full_here));
            }
            AdmissionDecision::Admit { refusal, counted } => {
                core.admit(socket.into(), refusal.or(full_here), counted);
            }
            AdmissionDecision::Refuse(cause) => self.refuse(socket.into(), cause),
        }
    }

    fn admit_admin(&self, core: &mut Core<Sockets>, socket: TcpStream) {
        if let Err(socket) = core.admit_admin(socket.into()) {
            self.refuse(socket, RefusalCause::AdminConnections);
        }
    }

    /// Answers and closes, without a place in the slab. What the client has sent by now is
    /// read, so that the close is no reset that could overtake the answer.
    fn refuse(&self, mut socket: ShardSocket, shortage: RefusalCause) {
        self.counters.accepted.increment();
        self.counters.closed.increment(EndReason::Refused);
        self.counters.rejected.increment(match shortage {
            RefusalCause::Connections => RejectReason::ConnectionLimit,
            RefusalCause::ConnectionsOfAddress => RejectReason::AddressLimit,
            RefusalCause::NewConnectionsOfAddress => RejectReason::AddressRate,
            RefusalCause::AdminConnections => RejectReason::AdminLimit,
            RefusalCause::Time => RejectReason::Draining,
        });
        let mut answer = Vec::new();
        let error = HttpError::Unavailable(shortage);
        let _closes = http::write_error(&mut answer, error, ResponseFraming::LAST, None);
        // It is gone in any case; if the client cannot be told, it cannot.
        let _told = socket.write(&answer);
        let _shut = socket.shutdown(Shutdown::Write);
        let _dropped = socket.read(&mut [0; 4096]);
        socket.close();
    }

    fn pause(&mut self, now: Timestamp, error: &io::Error) {
        self.counters.accept_errors.increment();
        // While descriptors are short it pauses and goes on many times a second.
        if let Some(suppressed) = PAUSES.permit(now) {
            tracing::warn!(%error, suppressed, "accepting pauses; connections that are open go on");
        }
        self.counters.accept_paused.set(1);
        self.paused_until = Some(now + Duration::from_millis(ACCEPT_RETRY_MS));
    }

    /// Accepting works, or works again.
    fn resume(&mut self) {
        if self.paused_until.take().is_some() {
            self.counters.accept_paused.set(0);
        }
    }

    /// Empties the listeners, telling everybody that the server shuts down; up to a bound, for
    /// newcomers may come as fast as they are refused.
    pub fn close(self) {
        self.close_after(SHUTDOWN_ACCEPTS);
    }

    fn close_after(mut self, most: usize) {
        for listener in std::mem::take(&mut self.listeners) {
            // guard: shutdown accepts a bounded number of pending connections [value 0..9]
            for _ in 0..most {
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

    /// A storm of connections does not keep a process alive that shuts down.
    #[test]
    fn the_end_takes_a_bounded_number_of_those_who_wait_at_each_listener() {
        let listeners: Vec<_> =
            (0..2).map(|_| TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap()).collect();
        let connect = |listener: &TcpListener| {
            std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap()
        };
        // All of them wait when `connect` returns: the handshake is the kernel's.
        let crowd: Vec<_> = (0..5).map(|_| connect(&listeners[0])).collect();
        let few: Vec<_> = (0..2).map(|_| connect(&listeners[1])).collect();
        let counters = Arc::new(ShardCounters::new(0));
        let admission = Arc::new(Admission::new(Limits::default().of_connections()));
        Acceptor::new(listeners, 2, admission, Arc::clone(&counters)).close_after(3);
        let answered = |sockets: Vec<std::net::TcpStream>| {
            let told = |mut socket: std::net::TcpStream| {
                let mut answer = String::new();
                // Who is not taken is reset.
                let _ended = socket.read_to_string(&mut answer);
                answer.starts_with("HTTP/1.1 503 ")
            };
            sockets.into_iter().map(told).filter(|told| *told).count()
        };
        assert_eq!((answered(crowd), answered(few)), (3, 2));
        assert_eq!(counters.read().accepted, 5);
    }

    #[test]
    fn running_out_is_told_from_nobody_and_from_one_who_left() {
        for (code, failure) in [
            (libc::EAGAIN, Failure::Nobody),
            (libc::ECONNABORTED, Failure::ThatOne),
            (libc::EMFILE, Failure::Exhausted),
            (libc::ENFILE, Failure::Exhausted),
            (libc::ENOMEM, Failure::Exhausted),
            (libc::ENOBUFS, Failure::Exhausted),
        ] {
            assert_eq!(classify(&io::Error::from_raw_os_error(code)), failure);
        }
    }
}
