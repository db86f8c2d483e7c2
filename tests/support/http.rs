//! Plain requests and their answers.

use super::Raw;
use serde_json::Value;
use std::net::SocketAddr;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The head that `bytes` begin with, and its length; `None` while it is incomplete.
    pub(crate) fn parse_head(bytes: &[u8]) -> Option<(Response, usize)> {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut head = httparse::Response::new(&mut fields);
        let httparse::Status::Complete(length) = head.parse(bytes).unwrap() else { return None };
        assert_eq!(head.version, Some(1), "the server speaks HTTP/1.1");
        let fields = head.headers.iter().map(|field| {
            let value = String::from_utf8(field.value.to_vec()).unwrap();
            (field.name.to_ascii_lowercase(), value)
        });
        let response =
            Response { status: head.code.unwrap(), fields: fields.collect(), body: Vec::new() };
        Some((response, length))
    }

    /// A field's value; it may stand there once.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(field, _)| field == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert_eq!(values.next(), None, "{name} twice in {self:?}");
        value
    }

    /// Whether `Connection` names this option.
    pub(crate) fn connection(&self, option: &str) -> bool {
        let options = self.field("connection").unwrap_or_default().split(',');
        options.into_iter().any(|one| one.trim().eq_ignore_ascii_case(option))
    }

    /// The body's announced length.
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

/// Asks for one document on a connection of its own.
pub(crate) fn get(address: SocketAddr, path: &str) -> Response {
    once(address, &format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"))
}

/// Sends one request on a connection of its own, which has to end after the answer.
pub(crate) fn once(address: SocketAddr, request: &str) -> Response {
    let mut raw = Raw::connect(address);
    raw.send(request.as_bytes());
    let response = raw.response();
    raw.expect_end();
    response
}

/// Asks for the head of a document.
pub(crate) fn head(address: SocketAddr, path: &str) -> Response {
    let mut raw = Raw::connect(address);
    raw.send(format!("HEAD {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").as_bytes());
    let response = raw.response_head();
    raw.expect_end();
    response
}
