//! A strict JSON parser (RFC 8259) of the simplest kind, independent of the server and of serde.

use std::ops::Range;

/// A value, as far as messages need it.
#[derive(Clone, Debug)]
pub(crate) enum JsonValue {
    /// Unicode code points; a lone surrogate counts as one.
    String(Vec<u32>),
    Object(Vec<(Vec<u32>, JsonValue)>),
    /// Any other value, and its position in the text.
    Other(Range<usize>),
}

/// A parsed text.
pub(crate) struct Document {
    pub(crate) value: JsonValue,
    /// How deeply brackets nest.
    pub(crate) depth: usize,
    /// The position of each member's value, if the text is an object.
    pub(crate) positions: Vec<Range<usize>>,
}

/// Parses a text; `None` if it is not strict JSON.
pub(crate) fn parse_json(text: &[u8]) -> Option<Document> {
    let mut parser = Parser { text, at: 0, depth: 0, deepest: 0, positions: Vec::new() };
    let value = parser.value()?;
    parser.skip_white_space();
    let Parser { at, deepest, positions, .. } = parser;
    (at == text.len()).then_some(Document { value, depth: deepest, positions })
}

/// The code points as bytes, if all are ASCII.
pub(crate) fn ascii(characters: &[u32]) -> Option<Vec<u8>> {
    characters.iter().map(|one| u8::try_from(*one).ok().filter(u8::is_ascii)).collect()
}

struct Parser<'t> {
    text: &'t [u8],
    at: usize,
    depth: usize,
    deepest: usize,
    positions: Vec<Range<usize>>,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn accept(&mut self, what: &[u8]) -> Option<()> {
        let there = self.text[self.at..].starts_with(what);
        self.at += if there { what.len() } else { 0 };
        there.then_some(())
    }

    fn skip_white_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self) -> Option<JsonValue> {
        self.skip_white_space();
        let start = self.at;
        match self.peek()? {
            b'"' => return self.string().map(JsonValue::String),
            b'{' => return self.object().map(JsonValue::Object),
            b'[' => self.array()?,
            b't' => self.accept(b"true")?,
            b'f' => self.accept(b"false")?,
            b'n' => self.accept(b"null")?,
            _ => self.number()?,
        }
        Some(JsonValue::Other(start..self.at))
    }

    fn enter(&mut self) {
        self.at += 1;
        self.depth += 1;
        self.deepest = self.deepest.max(self.depth);
        self.skip_white_space();
    }

    /// Reads the separator after an element. Returns whether another element follows.
    fn has_next(&mut self, end: u8) -> Option<bool> {
        self.skip_white_space();
        let byte = self.peek()?;
        self.at += 1;
        match byte {
            b',' => Some(true),
            _ if byte == end => {
                self.depth -= 1;
                Some(false)
            }
            _ => None,
        }
    }

    fn array(&mut self) -> Option<()> {
        self.enter();
        if self.accept(b"]").is_some() {
            self.depth -= 1;
            return Some(());
        }
        loop {
            self.value()?;
            if !self.has_next(b']')? {
                return Some(());
            }
        }
    }

    fn object(&mut self) -> Option<Vec<(Vec<u32>, JsonValue)>> {
        self.enter();
        let outermost = self.depth == 1;
        let mut members = Vec::new();
        if self.accept(b"}").is_some() {
            self.depth -= 1;
            return Some(members);
        }
        loop {
            self.skip_white_space();
            let name = self.string()?;
            self.skip_white_space();
            self.accept(b":")?;
            self.skip_white_space();
            let start = self.at;
            let value = self.value()?;
            if outermost {
                self.positions.push(start..self.at);
            }
            members.push((name, value));
            if !self.has_next(b'}')? {
                return Some(members);
            }
        }
    }

    fn number(&mut self) -> Option<()> {
        let _sign = self.accept(b"-");
        if self.accept(b"0").is_none() {
            self.digits()?;
        }
        if self.accept(b".").is_some() {
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn string(&mut self) -> Option<Vec<u32>> {
        self.accept(b"\"")?;
        let mut characters = Vec::new();
        loop {
            let rest = std::str::from_utf8(&self.text[self.at..]).ok()?;
            let character = rest.chars().next()?;
            self.at += character.len_utf8();
            characters.push(match character {
                '"' => return Some(characters),
                '\0'..='\x1f' => return None,
                '\\' => self.escape()?,
                other => u32::from(other),
            });
        }
    }

    fn escape(&mut self) -> Option<u32> {
        let byte = self.peek()?;
        self.at += 1;
        Some(match byte {
            b'"' | b'\\' | b'/' => u32::from(byte),
            b'b' => 8,
            b'f' => 12,
            b'n' => 10,
            b'r' => 13,
            b't' => 9,
            b'u' => {
                let high = self.code_unit()?;
                let before = self.at;
                if (0xd800..0xdc00).contains(&high) && self.accept(b"\\u").is_some() {
                    match self.code_unit()? {
                        low @ 0xdc00..0xe000 => {
                            return Some(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00));
                        }
                        _ => self.at = before,
                    }
                }
                high
            }
            _ => return None,
        })
    }

    fn code_unit(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        self.at += 4;
        digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?))
    }
}
