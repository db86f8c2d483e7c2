//! One HTTP connection and the request that is pending on it. Owned by the thread's HTTP client.

use super::Destination;
use super::connection::connect_fault;
use crate::load::measure::LoadFault;
use crate::timestamp::Timestamp;
use crate::wire::http::{Body, HeadScan, parse_response, write_get_request};
use mio::net::TcpStream;
use std::io::{self, Read, Write};

/// Longest response head.
const MAX_HEAD_BYTES: usize = 16 * 1024;
const READ_BYTES: usize = 16 * 1024;
/// How much of the body of an error is kept, to name its cause.
const MAX_ERROR_TEXT_BYTES: usize = 256;

pub(super) struct HttpLoadConnection {
    socket: TcpStream,
    /// Number of the connection, over all threads.
    number: u64,
    /// Whether a request has been sent.
    is_used: bool,
    /// The pending request, if any.
    pub(super) exchange: Option<HttpExchange>,
    /// Bytes of the request that the kernel has not accepted.
    unsent: Vec<u8>,
    /// The part of the response head that has arrived.
    head: Vec<u8>,
    scan: HeadScan,
}

/// A request that is due.
#[derive(Clone, Copy)]
pub(super) struct DueRequest {
    /// Planned time.
    pub(super) intended: Timestamp,
    /// When the generator was ready to send the request. It may have waited for a free connection
    /// after that, which is not the generator's delay but the server's.
    pub(super) started: Timestamp,
    /// Number of the phase of requests that it belongs to.
    pub(super) phase: usize,
}

/// A request and its response.
pub(super) struct HttpExchange {
    pub(super) request: DueRequest,
    /// Set when the response head is complete.
    pub(super) response: Option<ResponseProgress>,
}

/// A response with a complete head.
pub(super) struct ResponseProgress {
    pub(super) status: u16,
    /// The rest of the body.
    body: Body,
    /// Whether the connection ends after the response.
    closes: bool,
    /// The beginning of the body of an error.
    pub(super) error_text: Vec<u8>,
}

/// What follows from reading or writing.
pub(super) enum ExchangeStep {
    Wait,
    Done { reusable: bool },
    Failed(LoadFault),
}

impl HttpLoadConnection {
    pub(super) fn new(socket: TcpStream, number: u64) -> Self {
        HttpLoadConnection {
            socket,
            number,
            is_used: false,
            exchange: None,
            unsent: Vec::new(),
            head: Vec::new(),
            scan: HeadScan::default(),
        }
    }

    /// Sends a request for `path`.
    pub(super) fn start(
        &mut self,
        exchange: HttpExchange,
        destination: &Destination,
        path: &str,
    ) -> ExchangeStep {
        self.exchange = Some(exchange);
        self.unsent.clear();
        if !std::mem::replace(&mut self.is_used, true) {
            destination.write_preamble(&mut self.unsent, self.number);
        }
        let fields = destination.fields_of(self.number);
        write_get_request(&mut self.unsent, &destination.host, path, &fields);
        self.write()
    }

    /// Sends the rest of the request.
    pub(super) fn write(&mut self) -> ExchangeStep {
        while !self.unsent.is_empty() {
            match self.socket.write(&self.unsent) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected => break,
                    io::ErrorKind::Interrupted => {}
                    _ => return ExchangeStep::Failed(connect_fault(&error)),
                },
            }
        }
        ExchangeStep::Wait
    }

    /// Reads until the response is complete or no bytes are left.
    pub(super) fn read(&mut self) -> ExchangeStep {
        let mut buffer = [0; READ_BYTES];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return self.on_end_of_stream(),
                Ok(len) => match self.on_bytes(&buffer[..len]) {
                    ExchangeStep::Wait => {}
                    step => return step,
                },
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected => {
                        return ExchangeStep::Wait;
                    }
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::ConnectionRefused => {
                        return ExchangeStep::Failed(LoadFault::ConnectRefused);
                    }
                    _ => return ExchangeStep::Failed(LoadFault::HttpBroken),
                },
            }
        }
    }

    /// The server closed the connection, which ends a response without a length.
    fn on_end_of_stream(&self) -> ExchangeStep {
        match self.exchange.as_ref().and_then(|exchange| exchange.response.as_ref()) {
            Some(ResponseProgress { body: Body::UntilClose, .. }) => {
                ExchangeStep::Done { reusable: false }
            }
            Some(_) | None => ExchangeStep::Failed(LoadFault::HttpBroken),
        }
    }

    fn on_bytes(&mut self, bytes: &[u8]) -> ExchangeStep {
        let Some(exchange) = &mut self.exchange else {
            return ExchangeStep::Failed(LoadFault::HttpBroken);
        };
        let mut body_bytes = bytes;
        if exchange.response.is_none() {
            self.head.extend_from_slice(bytes);
            match parse_response(&self.head, &mut self.scan, MAX_HEAD_BYTES) {
                Err(_) => return ExchangeStep::Failed(LoadFault::HttpBroken),
                Ok(None) => return ExchangeStep::Wait,
                Ok(Some((head, end))) => {
                    // The bytes after the head are the last of those just read.
                    body_bytes = &bytes[bytes.len() - (self.head.len() - end)..];
                    let (status, closes) = (head.status, head.closes);
                    let body = Body::new(head.body);
                    let error_text = Vec::new();
                    exchange.response = Some(ResponseProgress { status, body, closes, error_text });
                }
            }
            self.head.clear();
            self.scan = HeadScan::default();
        }
        let Some(response) = &mut exchange.response else { return ExchangeStep::Wait };
        let (status, text) = (response.status, &mut response.error_text);
        let keep_text = |data: &[u8]| {
            let space = MAX_ERROR_TEXT_BYTES.saturating_sub(text.len());
            if status != 200 {
                text.extend_from_slice(&data[..data.len().min(space)]);
            }
        };
        match response.body.read(body_bytes, keep_text) {
            Ok(false) => ExchangeStep::Wait,
            Ok(true) => ExchangeStep::Done { reusable: !response.closes },
            Err(_) => ExchangeStep::Failed(LoadFault::HttpBroken),
        }
    }
}
