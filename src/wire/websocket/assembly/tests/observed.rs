//! What a reader sees in some reads, for the tests beside this file and for the fuzz target
//! `frames`, which has this file as a module too. So what it needs is named by who has it.

use super::{IncomingItem, MessageError, MessageReader, PayloadLocation, ReceiveLimits};

/// An item with its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ObservedItem {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>),
    Error(MessageError),
}

/// What is seen in `reads`, one after the other, up to a fault or a Close frame. With `short` text
/// is looked for by [`MessageReader::next_text`] first, as a shard does.
pub(super) fn observe<'p>(
    reads: impl IntoIterator<Item = &'p [u8]>,
    rules: &ReceiveLimits,
    short: bool,
) -> Vec<ObservedItem> {
    let mut seen = Vec::new();
    let mut held = None;
    for read in reads {
        let mut buffer = read.to_vec();
        let mut reader = MessageReader::new(&mut buffer, held, rules);
        loop {
            seen.push(match next(&mut reader, short) {
                Ok(Some(item)) => match &item {
                    IncomingItem::Text(place) => ObservedItem::Text(reader.bytes(place).to_vec()),
                    IncomingItem::Binary(place) => {
                        ObservedItem::Binary(reader.bytes(place).to_vec())
                    }
                    IncomingItem::Ping(place) => ObservedItem::Ping(reader.bytes(place).to_vec()),
                    IncomingItem::Pong(place) => ObservedItem::Pong(reader.bytes(place).to_vec()),
                    IncomingItem::Close(code) => ObservedItem::Close(*code),
                },
                Ok(None) => break,
                Err(fault) => ObservedItem::Error(fault),
            });
            if let Some(ObservedItem::Close(_) | ObservedItem::Error(_)) = seen.last() {
                return seen;
            }
        }
        held = reader.finish();
    }
    seen
}

fn next(reader: &mut MessageReader<'_>, short: bool) -> Result<Option<IncomingItem>, MessageError> {
    if short && let Some(range) = reader.next_text()? {
        return Ok(Some(IncomingItem::Text(PayloadLocation::ReceiveBuffer(range))));
    }
    reader.next()
}
