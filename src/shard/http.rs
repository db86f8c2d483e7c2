//! The HTTP part of a connection: requests, responses, refusals and upgrades. Pure.

use super::core::Core;
use super::entry::{ClientSource, HttpState, LingerEnd, Role};
use super::host::{Document, DocumentContent, Host};
use super::message_rate::RateState;
use super::refusal::reject_reason;
use super::replies::Replies;
use crate::ids::{ConnectionKey, Slot};
use crate::limits;
use crate::telemetry::labels::{EndReason, RejectReason};
use crate::wire::http::{
    self, AfterResponse, HeadScan, HttpError, HttpRequest, HttpResponse, HttpStatus, Method,
    RefusalCause, ResponseFraming, Route, WebSocketKey,
};
use crate::wire::message::server::ServerMessage;
use crate::wire::proxy::{ProxyHeader, read_proxy_header};

/// What a connection is used for after a request.
enum AfterRequest {
    /// Further requests.
    Http,
    /// The messages of a session.
    Session,
    /// Messages that are sent back.
    Echo,
    /// Nothing: it is closed.
    Close(EndReason),
}

impl<H: Host> Core<H> {
    /// Handles input of a connection that speaks HTTP.
    pub(super) fn handle_requests(&mut self, fresh: &mut [u8], replies: &mut Replies) {
        let slot = replies.slot();
        let (mut stored, mut scan) = self.take_stored(slot);
        let bytes = if stored.is_empty() {
            // guard: the time for a head begins with its first byte [skip]
            self.begin_head(slot);
            fresh
        } else {
            stored.extend_from_slice(fresh);
            &mut stored[..]
        };
        if let Some(header_len) = self.read_proxy_header(bytes, replies)
            && (header_len == 0 || header_len < bytes.len())
        {
            self.answer_requests(&mut bytes[header_len..], &mut scan, replies);
        }
        // Frees the storage of a head that came in parts and is complete now.
        if let Some(connection) = self.table.connection_mut(slot) {
            connection.free_idle_pending();
        }
    }

    /// The first bytes of a request have come. The time for the first head of a connection begins
    /// when the connection is accepted, so only that of a later one begins here.
    fn begin_head(&mut self, slot: Slot) {
        if let Role::Http(http) = &mut self.table[slot].role
            && http.has_answered
        {
            http.since_ms = self.timeouts.now_ms();
        }
    }

    /// Answers the requests in `bytes`, one after the other.
    fn answer_requests(&mut self, bytes: &mut [u8], scan: &mut HeadScan, replies: &mut Replies) {
        let slot = replies.slot();
        let mut at = 0;
        let mut answered = 0;
        while let Some((length, after)) = self.answer_first(&bytes[at..], scan, replies) {
            at += length;
            match after {
                AfterRequest::Http => {
                    answered += 1;
                    self.reads.count_request();
                }
                AfterRequest::Session => {
                    if at < bytes.len() {
                        // The upgrade response must not be cut, so it is exempt from the limit on
                        // unsent bytes; the replies to frames behind the request are not.
                        self.send_replies(replies);
                    }
                    return self.handle_frames(&mut bytes[at..], replies);
                }
                AfterRequest::Echo => {
                    self.send_replies(replies);
                    return self.handle_echo(replies, &mut bytes[at..]);
                }
                AfterRequest::Close(reason) => return self.close_http(replies, reason),
            }
            // One response at a time, and a bounded number of them in an iteration: a client that
            // does not read gets no more of them, and other connections are not delayed.
            self.send_replies(replies);
            let has_unsent = self.table[slot].has_unsent();
            // guard: a connection has few requests answered in an iteration [operand 1 false]
            // guard: all connections have few requests answered in an iteration [operand 2 false]
            let enough =
                answered == limits::REQUESTS_PER_ITERATION || !self.reads.has_requests_left();
            if at < bytes.len() && (has_unsent || enough) {
                return self.store_backlog(slot, &bytes[at..]);
            }
        }
        self.store(slot, &bytes[at..], *scan);
    }

    /// Answers the request that `bytes` begin with. Returns its length; `None` if it is not
    /// complete.
    fn answer_first(
        &mut self,
        bytes: &[u8],
        scan: &mut HeadScan,
        replies: &mut Replies,
    ) -> Option<(usize, AfterRequest)> {
        let max_head_bytes = self.setup.limits.max_head_bytes;
        match http::parse_request(bytes, scan, max_head_bytes) {
            Ok(None) => None,
            Ok(Some((request, length))) => {
                self.counters.http_requests.increment();
                Some((length, self.answer(&request, replies)))
            }
            Err(error) => {
                self.counters.http_requests.increment();
                let is_first = self.client_source(replies.slot()) == Some(ClientSource::NewPeer);
                let reason = match is_first && is_proxy_header(bytes, max_head_bytes) {
                    true => RejectReason::UntrustedProxy,
                    false => reject_reason(error),
                };
                // RFC 9110 §9.3.2: a HEAD gets no content, even if the rest of it is malformed.
                let head_only = http::is_head_request(bytes);
                let framing = ResponseFraming { head_only, ..ResponseFraming::LAST };
                Some((0, self.reject_as(replies, error, reason, framing)))
            }
        }
    }

    /// Answers one request.
    fn answer(&mut self, request: &HttpRequest<'_>, replies: &mut Replies) -> AfterRequest {
        let slot = replies.slot();
        if let Role::Http(http) = &mut self.table[slot].role {
            http.since_ms = self.timeouts.now_ms();
            http.has_answered = true;
            if http.source == ClientSource::NewPeer {
                http.source = ClientSource::Settled;
            }
        }
        let framing = request.framing();
        let document = match self.offered(slot, request.route) {
            Ok(Route::Session(key)) => {
                return match self.may_upgrade(slot, request) {
                    Ok(()) => self.upgrade(replies, key),
                    Err(error) => self.reject(replies, error, framing),
                };
            }
            // guard: `/echo` exists only when it is enabled [true]
            Ok(Route::Echo(key)) if self.setup.echo => {
                return match key.and_then(|key| self.may_upgrade(slot, request).map(|()| key)) {
                    Ok(key) => self.upgrade_to_echo(replies, key),
                    Err(error) => self.reject(replies, error, framing),
                };
            }
            Ok(Route::Echo(_)) => return self.reject(replies, HttpError::NotFound, framing),
            Ok(Route::SessionCheck) => match self.may_another_upgrade(slot, request) {
                Ok(()) => Document::Health { draining: false },
                Err(error) => return self.reject(replies, error, framing),
            },
            Ok(Route::Health) => Document::Health { draining: self.shutdown.is_draining() },
            Ok(Route::Stats) => Document::Stats,
            Ok(Route::Metrics) => Document::Metrics,
            Ok(Route::Page(path)) => {
                let found =
                    self.host.document(Document::Page { path, gzip: request.accepts_gzip() });
                return match (request.allow_page(found.is_some()), found) {
                    (Ok(()), Some(content)) => self.respond(request, &content, replies),
                    (Ok(()), None) => self.reject(replies, HttpError::NotFound, framing),
                    (Err(error), _) => self.reject(replies, error, framing),
                };
            }
            Err(error) => return self.reject(replies, error, framing),
        };
        match self.host.document(document) {
            Some(content) => self.respond(request, &content, replies),
            None => self.reject(replies, HttpError::NotFound, framing),
        }
    }

    /// What a request asks for, if it is offered at the address that the connection came to. With
    /// `--admin-listen`, `/stats` and `/metrics` are offered there only, `/health` everywhere,
    /// and everything else at the public addresses.
    fn offered<'b>(
        &self,
        slot: Slot,
        route: Result<Route<'b>, HttpError>,
    ) -> Result<Route<'b>, HttpError> {
        let is_admin = self.table[slot].role.is_admin();
        let is_separate = !self.setup.access.admin_listen.is_empty();
        match route {
            // guard: figures are served only at the administration address [false]
            Ok(Route::Stats | Route::Metrics) if is_separate && !is_admin => {
                Err(HttpError::NotFound)
            }
            Ok(Route::Session(_) | Route::SessionCheck | Route::Echo(_) | Route::Page(_))
            | Err(HttpError::UpgradeRequired | HttpError::UnsupportedWebSocketVersion)
                if is_admin =>
            {
                Err(HttpError::NotFound)
            }
            route => route,
        }
    }

    fn respond(
        &mut self,
        request: &HttpRequest<'_>,
        content: &DocumentContent,
        replies: &mut Replies,
    ) -> AfterRequest {
        let is_cached = content.etag.is_some_and(|etag| request.has_representation(etag));
        let response = HttpResponse {
            status: if is_cached { HttpStatus::NotModified } else { content.status },
            content_type: content.content_type,
            fields: &content.fields,
            body: &content.body,
        };
        let framing = ResponseFraming {
            head_only: request.method == Method::Head,
            // During a shutdown no connection is kept open for a request that may not come.
            keep_alive: request.keep_alive && !self.shutdown.is_draining(),
            ..request.framing()
        };
        let date = self.host.http_date();
        match replies.push_response(|out| http::write_response(out, &response, framing, date)) {
            AfterResponse::KeepOpen => AfterRequest::Http,
            AfterResponse::Close => AfterRequest::Close(EndReason::HttpDone),
        }
    }

    fn reject(
        &mut self,
        replies: &mut Replies,
        error: HttpError,
        framing: ResponseFraming,
    ) -> AfterRequest {
        self.reject_as(replies, error, reject_reason(error), framing)
    }

    fn reject_as(
        &mut self,
        replies: &mut Replies,
        error: HttpError,
        reason: RejectReason,
        framing: ResponseFraming,
    ) -> AfterRequest {
        self.counters.rejected.increment(reason);
        let date = self.host.http_date();
        match replies.push_response(|out| http::write_error(out, error, framing, date)) {
            AfterResponse::KeepOpen => AfterRequest::Http,
            AfterResponse::Close => AfterRequest::Close(EndReason::Refused),
        }
    }

    /// Attaches a new session to the connection. The response and the `session` message leave
    /// with one send.
    fn upgrade(&mut self, replies: &mut Replies, key: WebSocketKey) -> AfterRequest {
        let session = self.open_session();
        let session_id = self.setup.mint.session(session.number());
        self.sessions.rates.set(replies.slot(), RateState::default());
        self.switch_protocols(replies, key, Role::Session(session));
        self.note_session_begin(replies.slot());
        let ice_servers = &*self.host.ice_servers(session_id);
        let relay_only = self.setup.relay_only;
        replies.push_message(ServerMessage::Session { session_id, ice_servers, relay_only });
        AfterRequest::Session
    }

    fn upgrade_to_echo(&mut self, replies: &mut Replies, key: WebSocketKey) -> AfterRequest {
        self.switch_protocols(replies, key, Role::Echo);
        AfterRequest::Echo
    }

    fn switch_protocols(&mut self, replies: &mut Replies, key: WebSocketKey, role: Role) {
        replies.push_response(|out| http::write_switching_protocols(out, key.accept()));
        self.table[replies.slot()].role = role;
    }

    /// Whether the upgrade that a request asks for is granted.
    fn may_upgrade(&mut self, slot: Slot, request: &HttpRequest<'_>) -> Result<(), HttpError> {
        self.check_client(slot, request)?;
        match self.refusal_cause(slot) {
            None => Ok(()),
            Some(cause) => {
                self.make_space(cause, self.table.counted_address(slot));
                Err(HttpError::Unavailable(cause))
            }
        }
    }

    /// Whether an upgrade of one more connection of this client would be granted now. What was
    /// decided when the connection of this request was accepted may be long out of date.
    fn may_another_upgrade(
        &mut self,
        slot: Slot,
        request: &HttpRequest<'_>,
    ) -> Result<(), HttpError> {
        self.check_client(slot, request)?;
        let counted = self.table.counted_address(slot);
        let cause = match self.shutdown.is_draining() {
            true => Some(RefusalCause::Time),
            false => self.host.refusal_of_another(counted),
        };
        cause.map_or(Ok(()), |cause| Err(HttpError::Unavailable(cause)))
    }

    /// Checks the origin of a request, and counts its connection for the client behind a proxy.
    fn check_client(&mut self, slot: Slot, request: &HttpRequest<'_>) -> Result<(), HttpError> {
        // guard: pages of other origins are refused [false]
        if !self.setup.access.admits_origin(request.origin) {
            return Err(HttpError::OriginRefused);
        }
        self.identify_client(slot, request).map_err(HttpError::Unavailable)
    }

    /// Why the connection must not be upgraded at present.
    fn refusal_cause(&self, slot: Slot) -> Option<RefusalCause> {
        match self.table[slot].role {
            _ if self.shutdown.is_draining() => Some(RefusalCause::Time),
            Role::Http(HttpState { refusal, .. }) => refusal,
            Role::Session(_) | Role::Echo | Role::Lingering(_) => None,
        }
    }

    /// A request head has taken too long, or none came.
    pub(super) fn time_out_head(&mut self, key: ConnectionKey) {
        let Some(connection) = self.table.connection(key.slot) else { return };
        let has_begun =
            connection.pending.as_ref().is_some_and(|pending| !pending.stored.is_empty());
        if !has_begun || connection.has_unsent() {
            let until = LingerEnd::PeerEnds;
            return self.end_when_acknowledged(key.slot, EndReason::HttpIdle, until);
        }
        let mut replies = Replies::new(key.slot, Vec::new());
        self.refuse_head(&mut replies, HttpError::HeadTimeout, EndReason::HeadTimeout);
    }

    /// Answers input that has not become a request, and closes the connection.
    pub(super) fn refuse_head(
        &mut self,
        replies: &mut Replies,
        error: HttpError,
        reason: EndReason,
    ) {
        self.counters.http_requests.increment();
        let _closes = self.reject(replies, error, ResponseFraming::LAST);
        self.close_http(replies, reason);
    }

    /// Sends the last response and closes the connection.
    fn close_http(&mut self, replies: &mut Replies, reason: EndReason) {
        self.send_replies(replies);
        self.linger(replies.slot(), reason);
        self.half_close_when_sent(replies.slot());
    }
}

/// Whether input that is no request is a PROXY protocol header. A new connection that begins with
/// one comes from a proxy that is not trusted. It is counted and logged apart, so that the operator
/// can correct `--trusted-proxy` before all users are refused.
fn is_proxy_header(bytes: &[u8], max_bytes: usize) -> bool {
    !matches!(read_proxy_header(bytes, max_bytes), Ok(ProxyHeader::Absent))
}
