//! Everything that a [`MessageReader`] returns for a sequence of reads. The fuzz target `frames`
//! also includes this file as a module, so the parent module imports the types that it needs.

use super::{IncomingItem, MessageError, MessageReader, PayloadLocation, ReceiveLimits};

/// An item with its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ObservedItem {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>),
    Error(MessageError),
}

/// The items of `reads`, up to an error or a Close frame. With `fast_path`,
/// [`MessageReader::next_text`] is tried first, as a shard does.
pub(super) fn observe<'p>(
    reads: impl IntoIterator<Item = &'p [u8]>,
    limits: &ReceiveLimits,
    fast_path: bool,
) -> Vec<ObservedItem> {
    let mut items = Vec::new();
    let mut partial = None;
    for read in reads {
        let mut buffer = read.to_vec();
        let mut reader = MessageReader::new(&mut buffer, partial, limits);
        loop {
            items.push(match next(&mut reader, fast_path) {
                Ok(Some(item)) => match &item {
                    IncomingItem::Text(location) => {
                        ObservedItem::Text(reader.bytes(location).to_vec())
                    }
                    IncomingItem::Binary(location) => {
                        ObservedItem::Binary(reader.bytes(location).to_vec())
                    }
                    IncomingItem::Ping(location) => {
                        ObservedItem::Ping(reader.bytes(location).to_vec())
                    }
                    IncomingItem::Pong(location) => {
                        ObservedItem::Pong(reader.bytes(location).to_vec())
                    }
                    IncomingItem::Close(code) => ObservedItem::Close(*code),
                },
                Ok(None) => break,
                Err(error) => ObservedItem::Error(error),
            });
            if let Some(ObservedItem::Close(_) | ObservedItem::Error(_)) = items.last() {
                return items;
            }
        }
        partial = reader.finish();
    }
    items
}

fn next(
    reader: &mut MessageReader<'_>,
    fast_path: bool,
) -> Result<Option<IncomingItem>, MessageError> {
    if fast_path && let Some(range) = reader.next_text()? {
        return Ok(Some(IncomingItem::Text(PayloadLocation::ReceiveBuffer(range))));
    }
    reader.next()
}
