//! What a reader sees in some reads, for the tests beside this file and for the fuzz target
//! `frames`, which has this file as a module too. So what it needs is named by who has it.

use super::{Fault, Item, Place, Reader, Rules};

/// An item with its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>),
    Fault(Fault),
}

/// What is seen in `reads`, one after the other, up to a fault or a Close frame. With `short` text
/// is looked for by [`Reader::next_text`] first, as a shard does.
pub(super) fn seen_in<'p>(
    reads: impl IntoIterator<Item = &'p [u8]>,
    rules: &Rules,
    short: bool,
) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut held = None;
    for read in reads {
        let mut buffer = read.to_vec();
        let mut reader = Reader::new(&mut buffer, held, rules);
        loop {
            seen.push(match next(&mut reader, short) {
                Ok(Some(item)) => match &item {
                    Item::Text(place) => Seen::Text(reader.bytes(place).to_vec()),
                    Item::Binary(place) => Seen::Binary(reader.bytes(place).to_vec()),
                    Item::Ping(place) => Seen::Ping(reader.bytes(place).to_vec()),
                    Item::Pong(place) => Seen::Pong(reader.bytes(place).to_vec()),
                    Item::Close(code) => Seen::Close(*code),
                },
                Ok(None) => break,
                Err(fault) => Seen::Fault(fault),
            });
            if let Some(Seen::Close(_) | Seen::Fault(_)) = seen.last() {
                return seen;
            }
        }
        held = reader.finish();
    }
    seen
}

fn next(reader: &mut Reader<'_>, short: bool) -> Result<Option<Item>, Fault> {
    if short && let Some(range) = reader.next_text()? {
        return Ok(Some(Item::Text(Place::Buffer(range))));
    }
    reader.next()
}
