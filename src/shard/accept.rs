//! Newcomers: how many there may be, and taking them from the kernel. [`Admission`] is shared
//! by all shards; an [`Acceptor`] belongs to one of them.

use super::core::Core;
use super::driver::Sockets;
use crate::limits::{
    ACCEPT_RETRY_MS, ACCEPT_WARNING_S, ACCEPTS_PER_TURN, SURPLUS_CONNECTIONS,
    TABLE_SURPLUS_CONNECTIONS,
};
use crate::moment::Moment;
use crate::telemetry::counters::ShardCounters;
use crate::telemetry::labels::{EndReason, RejectReason};
use crate::wire::http::{self, Framing, HttpError, Shortage};
use mio::net::{TcpListener, TcpStream};
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv6Addr, Shutdown};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How many connections the process has, in all and from each address. Touched when a
/// connection begins and when it ends, and at no other time.
#[derive(Debug)]
pub struct Admission {
    open: AtomicUsize,
    most: usize,
    by_address: Option<ByAddress>,
}

/// Connections counted by address, in parts that are locked one at a time.
#[derive(Debug)]
struct ByAddress {
    most: NonZeroU32,
    parts: Vec<Mutex<HashMap<IpAddr, u32>>>,
    hasher: RandomState,
}

/// What is to become of a newcomer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It comes in. It may not become a session if there is a shortage. Its address is given
    /// if it was counted.
    Welcome(Option<Shortage>, Option<IpAddr>),
    /// There are so many that it is refused unheard. It has not been counted.
    Refuse,
}

impl Admission {
    /// Nobody is here yet.
    pub fn new(most: usize, most_per_address: Option<NonZeroU32>) -> Self {
        let by_address = most_per_address.map(|most| ByAddress {
            most,
            parts: (0..64).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        });
        Admission { open: AtomicUsize::new(0), most, by_address }
    }

    /// A newcomer from `address`. Unless it is refused, [`Admission::leave`] is due when it goes.
    pub fn enter(&self, address: IpAddr) -> Verdict {
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        if before >= self.most + SURPLUS_CONNECTIONS {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return Verdict::Refuse;
        }
        let too_many = (before >= self.most).then_some(Shortage::Connections);
        let Some(by_address) = &self.by_address else { return Verdict::Welcome(too_many, None) };
        let address = prefix(address);
        let mut part = by_address.part(address);
        let count = part.entry(address).or_default();
        *count += 1;
        let too_many_here =
            (*count > by_address.most.get()).then_some(Shortage::ConnectionsOfAddress);
        Verdict::Welcome(too_many.or(too_many_here), Some(address))
    }

    /// One who came in has gone. `address` is what [`Verdict::Welcome`] gave.
    pub fn leave(&self, address: Option<IpAddr>) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        let (Some(by_address), Some(address)) = (&self.by_address, address) else { return };
        let mut part = by_address.part(address);
        if let Some(count) = part.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                part.remove(&address);
            }
        }
    }
}

impl ByAddress {
    fn part(&self, address: IpAddr) -> std::sync::MutexGuard<'_, HashMap<IpAddr, u32>> {
        let at = self.hasher.hash_one(address) as usize % self.parts.len();
        self.parts[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What counts as one address: whoever has an IPv6 address has a whole /64 of them
/// (RFC 6177 §2).
fn prefix(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None => IpAddr::V6(Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX))),
        },
    }
}

/// A shard's listeners.
#[derive(Debug)]
pub struct Acceptor {
    listeners: Vec<Listener>,
    /// Descriptors or memory have run out: accepting is tried again then.
    paused_until: Option<Moment>,
    /// The operator is not told of it again before then.
    next_warning: Option<Moment>,
    admission: Arc<Admission>,
    /// Connections that the shard's own descriptor table is meant to hold.
    most_here: usize,
    counters: Arc<ShardCounters>,
}

#[derive(Debug)]
struct Listener {
    socket: TcpListener,
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
        Some(_) | None => Failure::Exhausted,
    }
}

impl Acceptor {
    /// Accepts from `listeners`, which the poll watches under their place in the list.
    pub fn new(
        listeners: Vec<TcpListener>,
        admission: Arc<Admission>,
        counters: Arc<ShardCounters>,
    ) -> Self {
        let listeners =
            listeners.into_iter().map(|socket| Listener { socket, pending: false }).collect();
        let (paused_until, next_warning, most_here) = (None, None, usize::MAX);
        Acceptor { listeners, paused_until, next_warning, admission, most_here, counters }
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
    pub fn next_try(&self) -> Option<Moment> {
        self.paused_until
    }

    /// Takes newcomers in, a bounded number of them.
    pub fn accept(&mut self, core: &mut Core<Sockets>, now: Moment) {
        if self.paused_until.is_some_and(|until| until > now) {
            return;
        }
        for at in 0..self.listeners.len() {
            for _ in 0..ACCEPTS_PER_TURN {
                if !self.listeners[at].pending {
                    break;
                }
                match self.listeners[at].socket.accept() {
                    Ok((socket, from)) => {
                        self.resume();
                        self.admit(core, socket, from.ip());
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

    fn admit(&mut self, core: &mut Core<Sockets>, socket: TcpStream, from: IpAddr) {
        let (here, most) = (core.alive(), self.most_here);
        if here >= most.saturating_add(TABLE_SURPLUS_CONNECTIONS) {
            return self.refuse(socket, Shortage::Connections);
        }
        let full_here = (here >= most).then_some(Shortage::Connections);
        match self.admission.enter(from) {
            Verdict::Welcome(shortage, address) => {
                core.admit(socket.into(), shortage.or(full_here), address);
            }
            Verdict::Refuse => self.refuse(socket, Shortage::Connections),
        }
    }

    /// Answers and closes, without a place in the slab. What the client has sent by now is
    /// read, so that the close is no reset that could overtake the answer.
    fn refuse(&self, mut socket: TcpStream, shortage: Shortage) {
        self.counters.accepted.increment();
        self.counters.closed.increment(EndReason::Refused);
        self.counters.rejected.increment(match shortage {
            Shortage::Connections => RejectReason::ConnectionLimit,
            Shortage::ConnectionsOfAddress => RejectReason::AddressLimit,
            Shortage::Time => RejectReason::Draining,
        });
        let mut answer = Vec::new();
        let error = HttpError::Unavailable(shortage);
        let _closes = http::write_error(&mut answer, error, Framing::LAST, None);
        // It is gone in any case; if the client cannot be told, it cannot.
        let _told = socket.write(&answer);
        let _shut = socket.shutdown(Shutdown::Write);
        let _dropped = socket.read(&mut [0; 4096]);
    }

    fn pause(&mut self, now: Moment, error: &io::Error) {
        self.counters.accept_errors.increment();
        // While descriptors are short it pauses and goes on many times a second.
        if self.next_warning.is_none_or(|next| next <= now) {
            self.next_warning = Some(now + Duration::from_secs(ACCEPT_WARNING_S));
            tracing::warn!(%error, "accepting pauses; connections that are open go on");
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

    /// Empties the listeners, telling everybody that the server shuts down.
    pub fn close(mut self) {
        for listener in std::mem::take(&mut self.listeners) {
            while let Ok((socket, _)) = listener.socket.accept() {
                self.refuse(socket, Shortage::Time);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn surplus_connections_are_heard_and_those_beyond_are_not() {
        let admission = Admission::new(1, None);
        assert_eq!(admission.enter(v4(1)), Verdict::Welcome(None, None));
        for _ in 0..SURPLUS_CONNECTIONS {
            let verdict = admission.enter(v4(1));
            assert_eq!(verdict, Verdict::Welcome(Some(Shortage::Connections), None));
        }
        assert_eq!(admission.enter(v4(1)), Verdict::Refuse);
        for _ in 0..=SURPLUS_CONNECTIONS {
            admission.leave(None);
        }
        assert_eq!(admission.enter(v4(1)), Verdict::Welcome(None, None));
    }

    #[test]
    fn each_address_has_its_own_count_and_gets_it_back() {
        let admission = Admission::new(100, NonZeroU32::new(1));
        assert_eq!(admission.enter(v4(1)), Verdict::Welcome(None, Some(v4(1))));
        let surplus = Verdict::Welcome(Some(Shortage::ConnectionsOfAddress), Some(v4(1)));
        assert_eq!(admission.enter(v4(1)), surplus);
        assert_eq!(admission.enter(v4(2)), Verdict::Welcome(None, Some(v4(2))));
        admission.leave(Some(v4(1)));
        admission.leave(Some(v4(1)));
        assert_eq!(admission.enter(v4(1)), Verdict::Welcome(None, Some(v4(1))));
    }

    #[test]
    fn an_ipv6_user_is_a_whole_64() {
        let parse = |text: &str| prefix(text.parse().unwrap());
        assert_eq!(parse("2001:db8::1"), parse("2001:db8::ffff:1:2:3"));
        assert_ne!(parse("2001:db8:0:1::1"), parse("2001:db8:0:2::1"));
        assert_eq!(parse("::ffff:10.0.0.1"), v4(1));
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
