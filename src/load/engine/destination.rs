//! The server that a run connects to, and what each connection tells it about its client.

use super::{GeneratorShare, SourceAddresses};
use crate::wire::proxy::write_proxy_header;
use mio::net::TcpStream;
use serde::{Deserialize, Serialize};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;

/// The server to connect to, and the addresses to connect from.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The server's addresses, used in turn; at least one.
    pub addresses: Arc<[SocketAddr]>,
    /// Value of the `Host` field.
    pub host: String,
    /// Path and query of the upgrade.
    pub path: String,
    /// Local addresses to connect from.
    pub sources: SourceAddresses,
    /// What the connections tell the server about their clients.
    pub identity: Arc<ClientIdentity>,
    /// Which of several generators this is: their connections have different clients.
    pub share: GeneratorShare,
}

/// What the connections tell the server about their clients, beside the protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientIdentity {
    /// Fields of every request: names and values.
    pub fields: Vec<(String, String)>,
    /// Values of `Authorization`, used in turn, one for each connection.
    pub credentials: Vec<String>,
    /// Whether each connection begins with a PROXY protocol header.
    pub proxy_protocol: bool,
}

/// The first made-up client address and their number: 198.18.0.0/15, which RFC 2544 §C.2.2 reserves
/// for benchmarks.
const FIRST_CLIENT: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const CLIENTS: u64 = (1 << 17) - 2;
/// Made-up client ports begin here.
const FIRST_CLIENT_PORT: u64 = 1024;
/// The destination in a header if the server's address is IPv6 (RFC 5737).
const DOCUMENTATION_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

impl ClientIdentity {
    /// The fields of the requests of connection number `number`.
    fn fields_of(&self, number: u64) -> Vec<(&str, &str)> {
        let credential = match self.credentials.len() as u64 {
            0 => None,
            count => self.credentials.get((number % count) as usize),
        };
        let own = credential.map(|value| ("Authorization", value.as_str()));
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain(own).collect()
    }

    /// The made-up client of connection number `number`.
    fn client(number: u64) -> SocketAddrV4 {
        let address = FIRST_CLIENT.to_bits().wrapping_add((number % CLIENTS) as u32);
        let ports = u64::from(u16::MAX) - FIRST_CLIENT_PORT;
        let port = FIRST_CLIENT_PORT + number / CLIENTS % ports;
        SocketAddrV4::new(Ipv4Addr::from_bits(address), port as u16)
    }
}

impl Destination {
    /// Begins to open connection number `number` of this generator, without waiting for it.
    pub(super) fn connect(&self, number: u64) -> io::Result<TcpStream> {
        // Every address is reached from every source in turn.
        let count = self.addresses.len() as u64;
        self.sources.connect(self.address_of(number), number / count)
    }

    fn address_of(&self, number: u64) -> SocketAddr {
        self.addresses[(number % self.addresses.len() as u64) as usize]
    }

    /// Appends what precedes the first request of connection number `number`.
    pub(super) fn write_preamble(&self, out: &mut Vec<u8>, number: u64) {
        if self.identity.proxy_protocol {
            let server = match self.address_of(number) {
                SocketAddr::V4(address) => address,
                SocketAddr::V6(address) => SocketAddrV4::new(DOCUMENTATION_ADDRESS, address.port()),
            };
            let client = ClientIdentity::client(self.share.number_of(number));
            write_proxy_header(out, client, server);
        }
    }

    /// The fields of the requests of connection number `number`.
    pub(super) fn fields_of(&self, number: u64) -> Vec<(&str, &str)> {
        self.identity.fields_of(self.share.number_of(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::net::TcpListener;

    fn destination(addresses: &[SocketAddr], identity: ClientIdentity) -> Destination {
        Destination {
            addresses: addresses.into(),
            host: String::new(),
            path: String::new(),
            sources: SourceAddresses::System,
            identity: Arc::new(identity),
            share: GeneratorShare::WHOLE,
        }
    }

    #[test]
    fn connections_use_the_addresses_of_the_server_in_turn() {
        let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let addresses = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
        let destination = destination(&addresses, ClientIdentity::default());
        let _open: Vec<_> = (0..6).map(|number| destination.connect(number).unwrap()).collect();
        for listener in &listeners {
            listener.accept().unwrap();
            listener.accept().unwrap();
            listener.set_nonblocking(true).unwrap();
            assert!(listener.accept().is_err(), "two of six connections");
        }
    }

    #[test]
    fn each_connection_has_its_own_credential_and_made_up_client() {
        let identity = ClientIdentity {
            fields: vec![("X-Test".to_owned(), "1".to_owned())],
            credentials: vec!["Bearer a".to_owned(), "Bearer b".to_owned()],
            proxy_protocol: true,
        };
        let destination = destination(&[SocketAddr::from(([127, 0, 0, 1], 80))], identity);
        assert_eq!(destination.fields_of(1), [("X-Test", "1"), ("Authorization", "Bearer b")]);
        assert_eq!(destination.fields_of(2)[1], ("Authorization", "Bearer a"));
        // The connections of two generators have those of the connections of one.
        let shared =
            Destination { share: GeneratorShare { index: 1, of: 2 }, ..destination.clone() };
        let mut headers = [Vec::new(), Vec::new()];
        shared.write_preamble(&mut headers[0], 0);
        destination.write_preamble(&mut headers[1], 2);
        assert_eq!(headers[0], headers[1]);
        assert_eq!(shared.fields_of(3), destination.fields_of(7));
        let clients: BTreeSet<_> = (0..CLIENTS * 2).map(ClientIdentity::client).collect();
        assert_eq!(clients.len() as u64, CLIENTS * 2);
        let network = |client: &SocketAddrV4| client.ip().to_bits() >> 17;
        assert!(clients.iter().all(|client| network(client) == FIRST_CLIENT.to_bits() >> 17));
    }
}
