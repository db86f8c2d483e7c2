//! JSON as RFC 8259 has it, read in the plainest way; nothing of it is the product's or serde's.

use std::ops::Range;

/// A value. Only what messages are made of is kept.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// As characters; half a surrogate pair is one of its own.
    String(Vec<u32>),
    Object(Vec<(Vec<u32>, Value)>),
    /// Anything else, and where it stands.
    Other(Range<usize>),
}

/// A text.
pub(crate) struct Document {
    pub(crate) value: Value,
    /// How deep brackets nest.
    pub(crate) depth: usize,
    /// Where each member's value stands, if it is an object.
    pub(crate) places: Vec<Range<usize>>,
}

/// Reads a text; `None` if it is not strict JSON.
pub(crate) fn read(text: &[u8]) -> Option<Document> {
    let mut parser = Parser { text, at: 0, depth: 0, deepest: 0, places: Vec::new() };
    let value = parser.value()?;
    parser.space();
    let Parser { at, deepest, places, .. } = parser;
    (at == text.len()).then_some(Document { value, depth: deepest, places })
}

/// Characters that are ASCII, as bytes; others are `None`.
pub(crate) fn ascii(characters: &[u32]) -> Option<Vec<u8>> {
    characters.iter().map(|one| u8::try_from(*one).ok().filter(u8::is_ascii)).collect()
}

struct Parser<'t> {
    text: &'t [u8],
    at: usize,
    depth: usize,
    deepest: usize,
    places: Vec<Range<usize>>,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn eat(&mut self, what: &[u8]) -> Option<()> {
        let there = self.text[self.at..].starts_with(what);
        self.at += if there { what.len() } else { 0 };
        there.then_some(())
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self) -> Option<Value> {
        self.space();
        let start = self.at;
        match self.peek()? {
            b'"' => return self.string().map(Value::String),
            b'{' => return self.object().map(Value::Object),
            b'[' => self.array()?,
            b't' => self.eat(b"true")?,
            b'f' => self.eat(b"false")?,
            b'n' => self.eat(b"null")?,
            _ => self.number()?,
        }
        Some(Value::Other(start..self.at))
    }

    fn enter(&mut self) {
        self.at += 1;
        self.depth += 1;
        self.deepest = self.deepest.max(self.depth);
        self.space();
    }

    /// After an element: whether another one follows.
    fn more(&mut self, end: u8) -> Option<bool> {
        self.space();
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
        if self.eat(b"]").is_some() {
            self.depth -= 1;
            return Some(());
        }
        loop {
            self.value()?;
            if !self.more(b']')? {
                return Some(());
            }
        }
    }

    fn object(&mut self) -> Option<Vec<(Vec<u32>, Value)>> {
        self.enter();
        let outermost = self.depth == 1;
        let mut members = Vec::new();
        if self.eat(b"}").is_some() {
            self.depth -= 1;
            return Some(members);
        }
        loop {
            self.space();
            let name = self.string()?;
            self.space();
            self.eat(b":")?;
            self.space();
            let start = self.at;
            let value = self.value()?;
            if outermost {
                self.places.push(start..self.at);
            }
            members.push((name, value));
            if !self.more(b'}')? {
                return Some(members);
            }
        }
    }

    fn number(&mut self) -> Option<()> {
        let _sign = self.eat(b"-");
        if self.eat(b"0").is_none() {
            self.digits()?;
        }
        if self.eat(b".").is_some() {
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
        self.eat(b"\"")?;
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
                let high = self.unit()?;
                let before = self.at;
                if (0xd800..0xdc00).contains(&high) && self.eat(b"\\u").is_some() {
                    match self.unit()? {
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

    fn unit(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        self.at += 4;
        digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?))
    }
}
