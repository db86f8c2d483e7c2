//! Connections that a trusted proxy passes on: which client they are for. Pure.
//!
//! When such a connection is accepted, its client is unknown, so it counts for no address. It
//! counts for the client's as soon as the client is named: by a PROXY protocol header before the
//! first request, which is valid for the whole connection; or by `X-Forwarded-For` in the request
//! for an upgrade, because until then the proxy may send requests of several clients through the
//! connection.

use super::core::Core;
use super::entry::{ClientSource, HttpState, Role};
use super::host::Host;
use super::replies::Replies;
use crate::access::admission::AdmissionDecision;
use crate::ids::Slot;
use crate::telemetry::labels::EndReason;
use crate::wire::http::{HeadScan, HttpError, HttpRequest, RefusalCause};
use crate::wire::proxy::{ProxyHeader, ProxyHeaderError, client_behind, read_proxy_header};
use std::net::IpAddr;

impl<H: Host> Core<H> {
    /// Whether this is the address of a trusted proxy.
    pub fn trusts(&self, address: IpAddr) -> bool {
        // guard: only configured addresses are trusted proxies [true]
        self.setup.access.trusted_proxies.contain(address)
    }

    /// The length of the PROXY protocol header that the first bytes of a connection begin with; 0
    /// without one. `None` if the header is incomplete, or was refused.
    pub(super) fn read_proxy_header(
        &mut self,
        bytes: &[u8],
        replies: &mut Replies,
    ) -> Option<usize> {
        let slot = replies.slot();
        if self.client_source(slot) != Some(ClientSource::NewProxy) {
            return Some(0);
        }
        match read_proxy_header(bytes, self.setup.limits.max_head_bytes) {
            Ok(ProxyHeader::Incomplete) => {
                self.store(slot, bytes, HeadScan::default());
                None
            }
            Ok(ProxyHeader::Absent) => {
                self.set_client_source(slot, ClientSource::ForwardedFor);
                Some(0)
            }
            Ok(ProxyHeader::Complete { length, client }) => {
                // Requests through a second trusted proxy name the client themselves.
                // guard: a trusted proxy is not counted as a client [skip]
                let client = client.filter(|client| !self.trusts(*client));
                // guard: a PROXY header overrides X-Forwarded-For [condition false]
                let source = if client.is_some() {
                    ClientSource::Settled
                } else {
                    ClientSource::ForwardedFor
                };
                self.set_client_source(slot, source);
                if client.is_some()
                    && let Err(cause) = self.count_client(slot, client)
                {
                    let error = HttpError::Unavailable(cause);
                    self.refuse_head(replies, error, EndReason::Refused);
                    return None;
                }
                Some(length)
            }
            Err(fault) => {
                let error = match fault {
                    ProxyHeaderError::Malformed => HttpError::BadProxyHeader,
                    ProxyHeaderError::TooLong => HttpError::HeadTooLarge,
                };
                self.refuse_head(replies, error, EndReason::Refused);
                None
            }
        }
    }

    /// Counts the connection for the client that a request for an upgrade names, if it comes from
    /// a trusted proxy that names clients in requests.
    pub(super) fn identify_client(
        &mut self,
        slot: Slot,
        request: &HttpRequest<'_>,
    ) -> Result<(), RefusalCause> {
        if self.client_source(slot) != Some(ClientSource::ForwardedFor) {
            return Ok(());
        }
        let client = client_behind(request.forwarded_for(), &self.setup.access.trusted_proxies);
        self.count_client(slot, client)
    }

    /// From now on the connection counts for this client's address, or for its peer's if none is
    /// named, and no longer for any other.
    fn count_client(&mut self, slot: Slot, client: Option<IpAddr>) -> Result<(), RefusalCause> {
        let before = self.table.take_counted_address(slot);
        let connection = self.table.connection(slot);
        let client = client.or_else(|| self.host.peer_address(&connection?.socket));
        self.note_client(slot, client);
        let decision = match client {
            Some(client) => self.host.count_client(client, before),
            // The connection is gone, as the next read will show.
            None => AdmissionDecision::Admit { refusal: None, counted: before },
        };
        match decision {
            AdmissionDecision::Admit { refusal, counted } => {
                self.table.set_counted_address(slot, counted);
                if let Role::Http(http) = &mut self.table[slot].role {
                    // A refusal on account of another client's address does not hold for this one.
                    http.refusal = match http.refusal {
                        Some(RefusalCause::Connections) => http.refusal,
                        Some(_) | None => refusal,
                    };
                }
                Ok(())
            }
            AdmissionDecision::Refuse(cause) => {
                self.make_space(cause, client);
                Err(cause)
            }
        }
    }

    /// Where the client's address comes from, while the connection speaks HTTP.
    pub(super) fn client_source(&self, slot: Slot) -> Option<ClientSource> {
        match self.table[slot].role {
            Role::Http(HttpState { source, .. }) => Some(source),
            Role::Session(_) | Role::Echo | Role::Lingering(_) => None,
        }
    }

    fn set_client_source(&mut self, slot: Slot, to: ClientSource) {
        if let Role::Http(HttpState { source, .. }) = &mut self.table[slot].role {
            *source = to;
        }
    }
}
