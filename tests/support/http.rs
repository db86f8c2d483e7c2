//! Plain HTTP requests and responses.

use super::RawClient;
use serde_json::Value;
use std::net::SocketAddr;

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HttpResponse {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl HttpResponse {
    /// The response head at the start of `bytes`, and its length; `None` while it is incomplete.
    pub(crate) fn parse_head(bytes: &[u8]) -> Option<(HttpResponse, usize)> {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut head = httparse::Response::new(&mut fields);
        let httparse::Status::Complete(length) = head.parse(bytes).unwrap() else { return None };
        assert_eq!(head.version, Some(1), "the server speaks HTTP/1.1");
        let fields = head.headers.iter().map(|field| {
            let value = String::from_utf8(field.value.to_vec()).unwrap();
            (field.name.to_ascii_lowercase(), value)
        });
        let response =
            HttpResponse { status: head.code.unwrap(), fields: fields.collect(), body: Vec::new() };
        Some((response, length))
    }

    /// The value of a field, which must not occur twice.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(field, _)| field == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert_eq!(values.next(), None, "{name} twice in {self:?}");
        value
    }

    /// Whether the `Connection` field lists this option.
    pub(crate) fn has_connection_option(&self, option: &str) -> bool {
        let options = self.field("connection").unwrap_or_default().split(',');
        options.into_iter().any(|one| one.trim().eq_ignore_ascii_case(option))
    }

    /// The value of `Content-Length`.
    pub(crate) fn content_length(&self) -> Option<usize> {
        self.field("content-length").map(|length| length.parse().unwrap())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Requests a path on a new connection.
pub(crate) fn get(address: SocketAddr, path: &str) -> HttpResponse {
    request_once(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"),
    )
}

/// Sends one request on a new connection, which the server must close after its response.
pub(crate) fn request_once(address: SocketAddr, request: &str) -> HttpResponse {
    let mut client = RawClient::connect(address);
    client.send(request.as_bytes());
    let response = client.read_response();
    client.expect_end();
    response
}

/// Requests a path with HEAD on a new connection.
pub(crate) fn head(address: SocketAddr, path: &str) -> HttpResponse {
    let mut client = RawClient::connect(address);
    client.send(
        format!("HEAD {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").as_bytes(),
    );
    let response = client.read_response_head();
    client.expect_end();
    response
}
