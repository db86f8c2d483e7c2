//! Bytes → requests and frames: reading, and the HTTP part of a connection. Pure.

use super::connection::{Connection, Http, Role, Via};
use super::core::Core;
use super::host::{Content, Document, Host, Received};
use crate::ids::{ConnectionKey, Slot};
use crate::limits;
use crate::session::Session;
use crate::telemetry::labels::{EndReason, RejectReason};
use crate::wire::http::{
    self, AfterResponse, HeadScan, HttpError, HttpRequest, HttpResponse, HttpStatus, Method,
    RefusalCause, ResponseFraming, Route, WebSocketKey,
};
use crate::wire::message::server::ServerMessage;
use crate::wire::proxy::{ProxyHeader, read_proxy_header};
use crate::wire::websocket::frame::push_server_text;

impl<H: Host> Core<H> {
    /// Reads a connection until nothing is left, or its share of the turn is used up: so many
    /// bytes in one read, or some reads that were short for another reason, which `read_on` says
    /// there is. How many bytes came.
    pub(super) fn read(&mut self, key: ConnectionKey, share: usize, read_on: bool) -> usize {
        let mut buffer = std::mem::take(&mut self.buffer);
        let (mut reads, mut bytes) = (0, 0);
        let drained = loop {
            if reads == limits::READS_PER_ITERATION {
                break false;
            }
            reads += 1;
            let count = self.read_once(key, &mut buffer[..share]);
            bytes += count.unwrap_or(0);
            match count {
                // guard: a read that fills the share is the last of its iteration [skip]
                Some(count) if count == share => break false,
                Some(_) if read_on => {}
                Some(_) | None => break true,
            }
        };
        if !drained {
            self.go_on_later(key);
        }
        self.buffer = buffer;
        bytes
    }

    /// Goes on with a connection whose reading was cut short. How many bytes that was worth: what
    /// was stored of an echo is as many as a buffer holds.
    pub(super) fn read_on(&mut self, key: ConnectionKey, share: usize) -> usize {
        let (stored, worth) = match self.connections.get(key.slot.index()) {
            Some(Connection { role: Role::User(_), .. }) => (0, limits::SESSION_BYTE_COST_BYTES),
            Some(Connection { role: Role::Echo, extra: Some(extra), .. }) if extra.backlog => {
                (limits::RECEIVE_BUFFER_BYTES, 1)
            }
            Some(_) | None => (0, 1),
        };
        let before = self.counters.http_requests.get();
        let read = self.read(key, share, true);
        let answered = (self.counters.http_requests.get() - before) as usize;
        read * worth + stored + answered * limits::REQUEST_COST_BYTES
    }

    /// One read, and all that it brings. `None`: there is nothing more to read at present.
    #[inline]
    fn read_once(&mut self, key: ConnectionKey, buffer: &mut [u8]) -> Option<usize> {
        if !self.is_current(key)
            || (!self.marked_for_close.is_empty() && self.is_marked_for_close(key.slot))
        {
            return None;
        }
        if self.waits_for_answers(key.slot) && !self.is_ready_for_more(key.slot) {
            return None;
        }
        let connection = &mut self.connections[key.slot.index()];
        match self.host.recv(&mut connection.socket, buffer) {
            Received::Bytes(count) => {
                connection.heard_ms = self.clock.ms();
                self.counters.wire_bytes_received.add(count as u64);
                self.consume(key.slot, &mut buffer[..count]);
                Some(count)
            }
            Received::WouldBlock => None,
            Received::End => {
                self.ended_by_peer(key);
                None
            }
            Received::Broken => {
                self.mark_for_close(key, EndReason::ClientGone);
                None
            }
        }
    }

    /// Whether a connection is one that has to take its answers before it is read again.
    fn waits_for_answers(&self, slot: Slot) -> bool {
        // guard: an echo connection is not read while it has unsent bytes [argument 2 drop term 2]
        matches!(self.connections[slot.index()].role, Role::Http(_) | Role::Echo)
    }

    /// Whether more may be read from a connection that has to take its answers: what is stored
    /// comes first, and a client that does not take the answers gets no more of them. So never
    /// more than one read's worth is stored.
    fn is_ready_for_more(&mut self, slot: Slot) -> bool {
        let has_backlog = |core: &Self| {
            core.connections[slot.index()].extra.as_ref().is_some_and(|extra| extra.backlog)
        };
        let has_unsent = |core: &Self| core.connections[slot.index()].has_unsent();
        if has_unsent(self) {
            return false;
        }
        if has_backlog(self) {
            self.consume(slot, &mut []);
        }
        // The last answer to what was stored may be unsent in its turn. A session is read on.
        // guard: requests behind an unsent response are not read [false]
        let waits = self.waits_for_answers(slot) && has_unsent(self);
        !waits && !has_backlog(self) && !self.is_marked_for_close(slot)
    }

    /// The peer will send nothing more.
    fn ended_by_peer(&mut self, key: ConnectionKey) {
        let connection = &self.connections[key.slot.index()];
        match connection.role {
            // It may be waiting for what it is owed. When that is sent, the end is read again.
            Role::Http(_) | Role::Echo | Role::Lingering(_) if connection.has_unsent() => {}
            Role::Http(_) => self.mark_for_close(key, EndReason::HttpDone),
            Role::User(_) | Role::Echo | Role::Lingering(_) => {
                self.stop_holding_back(key.slot);
                self.mark_for_close(key, EndReason::ClientGone);
            }
        }
    }

    /// Handles bytes of a connection, whatever it is.
    fn consume(&mut self, slot: Slot, bytes: &mut [u8]) {
        match &mut self.connections[slot.index()].role {
            Role::User(_) => {
                self.current = Some(slot);
                self.consume_frames(slot, bytes);
            }
            // guard: HTTP bytes set no reply target [value { self.current = Some(slot); $ }]
            Role::Http(_) => self.consume_requests(slot, bytes),
            Role::Echo => {
                self.current = Some(slot);
                let (mut stored, _) = self.take_head(slot);
                if stored.is_empty() {
                    self.consume_echo(slot, bytes);
                } else {
                    stored.extend_from_slice(bytes);
                    self.consume_echo(slot, &mut stored);
                }
            }
            Role::Lingering(lingering) => {
                lingering.bytes_left = lingering.bytes_left.saturating_sub(bytes.len() as u32);
                // guard: bytes after a Close frame are bounded [false]
                if lingering.bytes_left == 0 {
                    let reason = lingering.reason;
                    self.mark_slot_for_close(slot, reason);
                }
            }
        }
    }

    /// Handles bytes of a connection that speaks HTTP. Of a proxy's header nothing is answered:
    /// whose answers are collected is said only where requests begin.
    fn consume_requests(&mut self, slot: Slot, fresh: &mut [u8]) {
        let (mut stored, mut scan) = self.take_head(slot);
        let bytes = if stored.is_empty() {
            fresh
        } else {
            stored.extend_from_slice(fresh);
            &mut stored[..]
        };
        if let Some(preface) = self.preface(slot, bytes)
            && (preface == 0 || preface < bytes.len())
        {
            self.requests(slot, &mut bytes[preface..], &mut scan);
        }
        // With the last of a head that came in pieces goes the place where it was kept.
        self.connections[slot.index()].trim();
    }

    pub(super) fn take_head(&mut self, slot: Slot) -> (Vec<u8>, HeadScan) {
        let connection = &mut self.connections[slot.index()];
        let before = connection.held_bytes();
        let taken = connection.extra.as_mut().map_or_else(Default::default, |extra| {
            extra.backlog = false;
            (std::mem::take(&mut extra.head), std::mem::take(&mut extra.scan))
        });
        self.counters.held_bytes.sub((before - connection.held_bytes()) as i64);
        taken
    }

    /// Keeps the beginning of a request until the rest has come.
    pub(super) fn keep_head(&mut self, slot: Slot, bytes: &[u8], scan: HeadScan) {
        if bytes.is_empty() {
            return;
        }
        let connection = &mut self.connections[slot.index()];
        let before = connection.held_bytes();
        let extra = connection.extra();
        extra.head.extend_from_slice(bytes);
        extra.scan = scan;
        self.counters.held_bytes.add((connection.held_bytes() - before) as i64);
    }

    /// Keeps bytes that were read until what went before them has been sent, or until the
    /// connection's next turn if nothing is in the way.
    pub(super) fn keep_backlog(&mut self, slot: Slot, bytes: &[u8]) {
        self.keep_head(slot, bytes, HeadScan::default());
        self.connections[slot.index()].extra().backlog = true;
        if let Some(key) = self.key_at(slot.index())
            && !self.connections[slot.index()].has_unsent()
        {
            self.go_on_later(key);
        }
    }

    /// Answers the requests in `bytes`, one after the other.
    fn requests(&mut self, slot: Slot, bytes: &mut [u8], scan: &mut HeadScan) {
        self.current = Some(slot);
        let mut at = 0;
        let mut answered = 0;
        let max = self.setup.limits.max_head_bytes;
        loop {
            let next = match http::parse_request(&bytes[at..], scan, max) {
                Ok(None) => {
                    self.keep_head(slot, &bytes[at..], *scan);
                    break;
                }
                Ok(Some((request, length))) => {
                    at += length;
                    self.counters.http_requests.increment();
                    self.answer(slot, &request)
                }
                Err(error) => {
                    self.counters.http_requests.increment();
                    let is_first = self.via(slot) == Some(Via::Newcomer);
                    let reason = match is_first && is_proxy_header(&bytes[at..], max) {
                        true => RejectReason::UntrustedProxy,
                        false => reject_reason(error),
                    };
                    // RFC 9110 §9.3.2: no content, whatever is wrong with the rest.
                    let head_only = http::is_head_request(&bytes[at..]);
                    self.reject_as(
                        slot,
                        error,
                        reason,
                        ResponseFraming { head_only, ..ResponseFraming::LAST },
                    )
                }
            };
            match next {
                Next::Request => {
                    answered += 1;
                    self.requests_left = self.requests_left.saturating_sub(1);
                }
                Next::Session => {
                    if at < bytes.len() {
                        // What comes glued to the handshake is answered within the bound; only
                        // the handshake itself must not be cut.
                        self.send_answers();
                        self.current = Some(slot);
                    }
                    return self.consume_frames(slot, &mut bytes[at..]);
                }
                Next::Echo => return self.consume_echo(slot, &mut bytes[at..]),
                Next::Nothing(reason) => {
                    self.send_answers();
                    self.linger(slot, reason);
                    return self.shut_when_sent(slot);
                }
            }
            // One answer at a time, and not many in one turn: what the client does not read, it
            // does not get more of, and others come to their turn.
            self.send_answers();
            self.current = Some(slot);
            let unsent = self.connections[slot.index()].has_unsent();
            // guard: a connection has few requests answered in an iteration [operand 1 false]
            // guard: all connections have few requests answered in an iteration [operand 2 false]
            let enough = answered == limits::REQUESTS_PER_ITERATION || self.requests_left == 0;
            if at < bytes.len() && (unsent || enough) {
                self.keep_backlog(slot, &bytes[at..]);
                break;
            }
        }
        self.send_answers();
    }

    /// Answers one request.
    fn answer(&mut self, slot: Slot, request: &HttpRequest<'_>) -> Next {
        if let Role::Http(http) = &mut self.connections[slot.index()].role {
            http.since_ms = self.clock.ms();
            if http.via == Via::Newcomer {
                http.via = Via::Direct;
            }
        }
        let framing = request.framing();
        let document = match self.here(slot, request.route) {
            Ok(Route::Session(key)) => {
                return match self.may_enter(slot, request) {
                    Ok(()) => self.upgrade(slot, key),
                    Err(error) => self.reject(slot, error, framing),
                };
            }
            // guard: `/echo` exists only when it is enabled [true]
            Ok(Route::Echo(key)) if self.setup.echo => {
                return match key.and_then(|key| self.may_enter(slot, request).map(|()| key)) {
                    Ok(key) => self.upgrade_to_echo(slot, key),
                    Err(error) => self.reject(slot, error, framing),
                };
            }
            Ok(Route::Echo(_)) => return self.reject(slot, HttpError::NotFound, framing),
            Ok(Route::Health) => Document::Health { draining: self.drain.is_some() },
            Ok(Route::Stats) => Document::Stats,
            Ok(Route::Metrics) => Document::Metrics,
            Ok(Route::Page(path)) => {
                let found = self.host.document(Document::Page(path));
                return match (request.allow_page(found.is_some()), found) {
                    (Ok(()), Some(content)) => self.show(request, &content),
                    (Ok(()), None) => self.reject(slot, HttpError::NotFound, framing),
                    (Err(error), _) => self.reject(slot, error, framing),
                };
            }
            Err(error) => return self.reject(slot, error, framing),
        };
        match self.host.document(document) {
            Some(content) => self.show(request, &content),
            None => self.reject(slot, HttpError::NotFound, framing),
        }
    }

    /// What is asked for, if it is to be had where the connection came to: with `--admin-listen`,
    /// figures are there and nowhere else, and all the rest is elsewhere but `/health`.
    fn here<'b>(
        &self,
        slot: Slot,
        route: Result<Route<'b>, HttpError>,
    ) -> Result<Route<'b>, HttpError> {
        let admin = self.connections[slot.index()].is_admin();
        let apart = !self.setup.access.admin_listen.is_empty();
        match route {
            // guard: figures are served only at the administration address [false]
            Ok(Route::Stats | Route::Metrics) if apart && !admin => Err(HttpError::NotFound),
            Ok(Route::Session(_) | Route::Echo(_) | Route::Page(_))
            | Err(HttpError::UpgradeRequired | HttpError::UnsupportedWebSocketVersion)
                if admin =>
            {
                Err(HttpError::NotFound)
            }
            route => route,
        }
    }

    fn show(&mut self, request: &HttpRequest<'_>, content: &Content) -> Next {
        let known = content.etag.is_some_and(|etag| request.has_representation(etag));
        let response = HttpResponse {
            status: if known { HttpStatus::NotModified } else { content.status },
            content_type: content.content_type,
            fields: &content.fields,
            body: &content.body,
        };
        let framing = ResponseFraming {
            head_only: request.method == Method::Head,
            // While it shuts down, a connection is not kept for what may not come.
            keep_alive: request.keep_alive && self.drain.is_none(),
            ..request.framing()
        };
        self.answers.opaque = true;
        let date = self.host.http_date();
        match http::write_response(&mut self.answers.bytes, &response, framing, date) {
            AfterResponse::KeepOpen => Next::Request,
            AfterResponse::Close => Next::Nothing(EndReason::HttpDone),
        }
    }

    fn reject(&mut self, slot: Slot, error: HttpError, framing: ResponseFraming) -> Next {
        self.reject_as(slot, error, reject_reason(error), framing)
    }

    fn reject_as(
        &mut self,
        slot: Slot,
        error: HttpError,
        reason: RejectReason,
        framing: ResponseFraming,
    ) -> Next {
        self.counters.rejected.increment(reason);
        self.answers.opaque = true;
        self.current = Some(slot);
        let date = self.host.http_date();
        match http::write_error(&mut self.answers.bytes, error, framing, date) {
            AfterResponse::KeepOpen => Next::Request,
            AfterResponse::Close => Next::Nothing(EndReason::Refused),
        }
    }

    /// Makes a session of the connection: both answers leave as one.
    fn upgrade(&mut self, slot: Slot, key: WebSocketKey) -> Next {
        let number = self.new_session_no();
        let session_id = self.setup.mint.session(number);
        self.switch_protocols(slot, key, Role::User(Session::new(number)));
        let ice_servers = &*self.host.ice_servers(session_id);
        let session = ServerMessage::Session { session_id, ice_servers };
        push_server_text(&mut self.answers.bytes, |out| session.write(out));
        self.counters.sessions_opened.increment();
        self.counters.sessions.increment();
        Next::Session
    }

    fn upgrade_to_echo(&mut self, slot: Slot, key: WebSocketKey) -> Next {
        self.switch_protocols(slot, key, Role::Echo);
        Next::Echo
    }

    fn switch_protocols(&mut self, slot: Slot, key: WebSocketKey, role: Role) {
        http::write_switching_protocols(&mut self.answers.bytes, key.accept());
        self.answers.opaque = true;
        self.connections[slot.index()].role = role;
    }

    /// Whether the upgrade that a request asks for is granted.
    fn may_enter(&mut self, slot: Slot, request: &HttpRequest<'_>) -> Result<(), HttpError> {
        // guard: pages of other origins are refused [false]
        if !self.setup.access.admits_origin(request.origin) {
            return Err(HttpError::OriginRefused);
        }
        self.find_client(slot, request).map_err(HttpError::Unavailable)?;
        self.shortage(slot).map_or(Ok(()), |shortage| Err(HttpError::Unavailable(shortage)))
    }

    /// What there is too little of to upgrade this connection.
    fn shortage(&self, slot: Slot) -> Option<RefusalCause> {
        match self.connections[slot.index()].role {
            _ if self.drain.is_some() => Some(RefusalCause::Time),
            Role::Http(Http { surplus, .. }) => surplus,
            Role::User(_) | Role::Echo | Role::Lingering(_) => None,
        }
    }

    /// A request head has taken too long, or none came.
    pub(super) fn head_timeout(&mut self, key: ConnectionKey) {
        let connection = &self.connections[key.slot.index()];
        let begun = connection.extra.as_ref().is_some_and(|extra| !extra.head.is_empty());
        if !begun || connection.has_unsent() {
            return self.mark_for_close(key, EndReason::HttpIdle);
        }
        self.refuse_head(key.slot, HttpError::HeadTimeout, EndReason::HeadTimeout);
    }

    /// Answers what never became a request, and ends the connection.
    pub(super) fn refuse_head(&mut self, slot: Slot, error: HttpError, reason: EndReason) {
        self.counters.http_requests.increment();
        let _closes = self.reject(slot, error, ResponseFraming::LAST);
        self.send_answers();
        self.linger(slot, reason);
        self.shut_when_sent(slot);
    }
}

/// What follows an answer.
enum Next {
    /// Another request.
    Request,
    /// Frames of a user.
    Session,
    /// Frames to be sent back.
    Echo,
    /// Nothing: the connection ends.
    Nothing(EndReason),
}

/// Whether what was no request is a proxy's header. Where a newcomer begins with one its proxy is
/// not trusted, and an operator has to hear of that before all users are refused.
fn is_proxy_header(bytes: &[u8], most_bytes: usize) -> bool {
    !matches!(read_proxy_header(bytes, most_bytes), Ok(ProxyHeader::Absent))
}

/// The reason under which a refusal is counted.
fn reject_reason(error: HttpError) -> RejectReason {
    match error {
        HttpError::BadRequest(_) | HttpError::UnsupportedVersion => RejectReason::BadRequest,
        HttpError::HeadTooLarge | HttpError::TooManyFields => RejectReason::HeadTooLarge,
        HttpError::HeadTimeout => RejectReason::HeadTimeout,
        HttpError::BodyRefused => RejectReason::BodyRefused,
        HttpError::MethodNotAllowed => RejectReason::MethodNotAllowed,
        HttpError::NotFound => RejectReason::NotFound,
        HttpError::UpgradeRequired => RejectReason::UpgradeRequired,
        HttpError::UnsupportedWebSocketVersion => RejectReason::UnsupportedVersion,
        HttpError::BadProxyHeader => RejectReason::ProxyHeader,
        HttpError::OriginRefused => RejectReason::Origin,
        HttpError::Unavailable(RefusalCause::Connections) => RejectReason::ConnectionLimit,
        HttpError::Unavailable(RefusalCause::ConnectionsOfAddress) => RejectReason::AddressLimit,
        HttpError::Unavailable(RefusalCause::NewConnectionsOfAddress) => RejectReason::AddressRate,
        HttpError::Unavailable(RefusalCause::AdminConnections) => RejectReason::AdminLimit,
        HttpError::Unavailable(RefusalCause::Time) => RejectReason::Draining,
    }
}
