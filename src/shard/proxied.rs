//! Connections that a trusted proxy passes on: whose they are. Pure.
//!
//! When one is accepted its client is unknown, so it counts for no address. Its client's counts
//! as soon as it is named: by a PROXY protocol header before the first request, which makes the
//! whole connection that client's; or else by `X-Forwarded-For` when a session is asked for,
//! since until then the proxy may send requests of several clients through it.

use super::connection::{Http, Role, Via};
use super::core::Core;
use super::host::Host;
use crate::access::admission::AdmissionDecision;
use crate::ids::Slot;
use crate::telemetry::labels::EndReason;
use crate::wire::http::{HeadScan, HttpError, HttpRequest, RefusalCause};
use crate::wire::proxy::{ProxyHeader, ProxyHeaderError, client_behind, read_proxy_header};
use std::net::IpAddr;

impl<H: Host> Core<H> {
    /// Whether this address is a trusted proxy's.
    pub fn trusts(&self, address: IpAddr) -> bool {
        // guard: only configured addresses are trusted proxies [true]
        self.setup.access.trusted_proxies.contain(address)
    }

    /// The length of the PROXY protocol header that `bytes`, the first of a connection, begin
    /// with; 0 where there is none. `None` if that is not known yet, or has been answered.
    pub(super) fn preface(&mut self, slot: Slot, bytes: &[u8]) -> Option<usize> {
        if self.via(slot) != Some(Via::Proxy) {
            return Some(0);
        }
        match read_proxy_header(bytes, self.setup.limits.max_head_bytes) {
            Ok(ProxyHeader::Incomplete) => {
                self.keep_head(slot, bytes, HeadScan::default());
                None
            }
            Ok(ProxyHeader::Absent) => {
                self.set_via(slot, Via::Forwarding);
                Some(0)
            }
            Ok(ProxyHeader::Complete { length, client }) => {
                // Another proxy's connection is whose its requests say, like this one's own.
                // guard: a trusted proxy is not counted as a client [skip]
                let client = client.filter(|client| !self.trusts(*client));
                // guard: a PROXY header overrides X-Forwarded-For [condition false]
                self.set_via(slot, if client.is_some() { Via::Direct } else { Via::Forwarding });
                if client.is_some()
                    && let Err(shortage) = self.count_client(slot, client)
                {
                    self.refuse_head(slot, HttpError::Unavailable(shortage), EndReason::Refused);
                    return None;
                }
                Some(length)
            }
            Err(fault) => {
                let error = match fault {
                    ProxyHeaderError::Malformed => HttpError::BadProxyHeader,
                    ProxyHeaderError::TooLong => HttpError::HeadTooLarge,
                };
                self.refuse_head(slot, error, EndReason::Refused);
                None
            }
        }
    }

    /// Finds out whose session a request asks for, where only the request tells.
    pub(super) fn find_client(
        &mut self,
        slot: Slot,
        request: &HttpRequest<'_>,
    ) -> Result<(), RefusalCause> {
        if self.via(slot) != Some(Via::Forwarding) {
            return Ok(());
        }
        let client = client_behind(request.forwarded_for(), &self.setup.access.trusted_proxies);
        self.count_client(slot, client)
    }

    /// From now on the connection counts for this client's address, or for its peer's if there
    /// is none, and no longer for any other.
    fn count_client(&mut self, slot: Slot, client: Option<IpAddr>) -> Result<(), RefusalCause> {
        let before = self.connections[slot.index()].address.take();
        let before = before.and_then(|address| self.drop_address(address));
        let socket = &self.connections[slot.index()].socket;
        match self.host.count_client(socket, client, before) {
            AdmissionDecision::Admit { refusal, counted: address } => {
                let address = address.map(|address| self.keep_address(address));
                let connection = &mut self.connections[slot.index()];
                connection.address = address;
                if let Role::Http(http) = &mut connection.role {
                    // What another client was short of, this one is not.
                    http.surplus = match http.surplus {
                        Some(RefusalCause::Connections) => http.surplus,
                        Some(_) | None => refusal,
                    };
                }
                Ok(())
            }
            AdmissionDecision::Refuse(cause) => Err(cause),
        }
    }

    pub(super) fn via(&self, slot: Slot) -> Option<Via> {
        match self.connections[slot.index()].role {
            Role::Http(Http { via, .. }) => Some(via),
            Role::User(_) | Role::Echo | Role::Lingering(_) => None,
        }
    }

    fn set_via(&mut self, slot: Slot, to: Via) {
        if let Role::Http(Http { via, .. }) = &mut self.connections[slot.index()].role {
            *via = to;
        }
    }
}
