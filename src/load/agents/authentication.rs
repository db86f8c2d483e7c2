//! How coordinator and agent prove to each other that they know the same secret. Pure.
//!
//! Both sides send a random challenge, and answer the other one's with HMAC-SHA-256 over their role
//! and both challenges, keyed with the secret, which is never sent. The messages after that carry a
//! tag with a key derived from both challenges, for each direction, over their number and content:
//! a message that was changed, repeated or left out is refused. Nothing is encrypted.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Shortest secret, in bytes: an eavesdropper can try out short ones.
const MIN_SECRET_BYTES: usize = 16;

/// A random number that is used once.
pub type Challenge = [u8; 32];
/// Proof of the knowledge of the secret, or tag of a message.
pub type Tag = [u8; 32];

/// The secret that a coordinator and its agents share.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedSecret(Vec<u8>);

/// One side of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkRole {
    /// It plans the runs.
    Coordinator,
    /// It drives users.
    Agent,
}

impl LinkRole {
    fn name(self) -> &'static [u8] {
        match self {
            LinkRole::Coordinator => b"coordinator",
            LinkRole::Agent => b"agent",
        }
    }
}

/// The challenges of both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenges {
    /// That of the agent.
    pub of_agent: Challenge,
    /// That of the coordinator.
    pub of_coordinator: Challenge,
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key).expect("because HMAC takes keys of every length");
    for part in parts {
        // With its length, so that no two lists of parts are the same text.
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac
}

impl SharedSecret {
    /// The content of a secret file, without space at its end.
    ///
    /// # Errors
    /// If it is too short to resist guessing.
    pub fn from_file_content(content: &[u8]) -> Result<Self, String> {
        let secret = content.trim_ascii_end();
        match secret.len() >= MIN_SECRET_BYTES {
            true => Ok(SharedSecret(secret.to_owned())),
            false => Err(format!(
                "the secret has {} bytes, and needs {MIN_SECRET_BYTES}; \
                 `head -c 32 /dev/urandom | base64` makes one",
                secret.len()
            )),
        }
    }

    fn proof_mac(&self, role: LinkRole, challenges: &Challenges) -> Hmac<Sha256> {
        let Challenges { of_agent, of_coordinator } = challenges;
        mac(&self.0, &[b"proof", role.name(), of_agent, of_coordinator])
    }

    /// The proof of one side.
    pub fn prove(&self, role: LinkRole, challenges: &Challenges) -> Tag {
        self.proof_mac(role, challenges).finalize().into_bytes().into()
    }

    /// Whether the proof of one side is right. Takes the same time for every wrong proof.
    pub fn accepts(&self, role: LinkRole, challenges: &Challenges, proof: &[u8]) -> bool {
        self.proof_mac(role, challenges).verify_slice(proof).is_ok()
    }

    /// The key for the messages that one side sends.
    pub fn message_key(&self, sender: LinkRole, challenges: &Challenges) -> MessageKey {
        let Challenges { of_agent, of_coordinator } = challenges;
        let key = mac(&self.0, &[b"messages", sender.name(), of_agent, of_coordinator]);
        MessageKey { key: key.finalize().into_bytes().into(), number: 0 }
    }
}

/// Tags the messages of one direction, or checks their tags.
pub struct MessageKey {
    key: Tag,
    /// Number of the next message.
    number: u64,
}

impl MessageKey {
    fn next_mac(&mut self, message: &[u8]) -> Hmac<Sha256> {
        let number = self.number.to_be_bytes();
        self.number += 1;
        mac(&self.key, &[&number, message])
    }

    /// The tag of the next message.
    pub fn tag(&mut self, message: &[u8]) -> Tag {
        self.next_mac(message).finalize().into_bytes().into()
    }

    /// Whether `tag` is that of the next message.
    pub fn accepts(&mut self, message: &[u8], tag: &[u8]) -> bool {
        self.next_mac(message).verify_slice(tag).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SharedSecret {
        SharedSecret::from_file_content(text.as_bytes()).unwrap()
    }

    const CHALLENGES: Challenges = Challenges { of_agent: [1; 32], of_coordinator: [2; 32] };

    #[test]
    fn a_proof_is_accepted_with_the_same_secret_role_and_challenges_only() {
        let known = secret("correct horse battery\n");
        let proof = known.prove(LinkRole::Agent, &CHALLENGES);
        assert!(known.accepts(LinkRole::Agent, &CHALLENGES, &proof));
        assert!(secret("correct horse battery").accepts(LinkRole::Agent, &CHALLENGES, &proof));
        // A proof that is sent back proves nothing.
        assert!(!known.accepts(LinkRole::Coordinator, &CHALLENGES, &proof));
        assert!(!secret("another secret of mine").accepts(LinkRole::Agent, &CHALLENGES, &proof));
        let later = Challenges { of_coordinator: [3; 32], ..CHALLENGES };
        assert!(!known.accepts(LinkRole::Agent, &later, &proof), "a recorded proof");
        assert!(!known.accepts(LinkRole::Agent, &CHALLENGES, &proof[..31]));
        assert!(!known.accepts(LinkRole::Agent, &CHALLENGES, b""));
    }

    #[test]
    fn a_message_that_was_changed_repeated_or_left_out_is_refused() {
        let key = |sender| secret("correct horse battery").message_key(sender, &CHALLENGES);
        let mut sender = key(LinkRole::Agent);
        let tags = [sender.tag(b"one"), sender.tag(b"two")];
        let mut receiver = key(LinkRole::Agent);
        assert!(receiver.accepts(b"one", &tags[0]) && receiver.accepts(b"two", &tags[1]));
        assert!(!receiver.accepts(b"two", &tags[1]), "repeated");
        assert!(!key(LinkRole::Agent).accepts(b"0ne", &tags[0]), "changed");
        assert!(!key(LinkRole::Agent).accepts(b"two", &tags[1]), "the first one left out");
        assert!(!key(LinkRole::Coordinator).accepts(b"one", &tags[0]), "sent back");
    }

    #[test]
    fn a_short_secret_is_refused() {
        assert!(SharedSecret::from_file_content(b"0123456789abcdef\n").is_ok());
        let error = SharedSecret::from_file_content(b"0123456789abcde \n\n").err().unwrap();
        assert!(error.contains("15 bytes"), "{error}");
    }

    /// RFC 4231 §4.2.
    #[test]
    fn the_code_is_hmac_sha_256() {
        let mut mac = Hmac::<Sha256>::new_from_slice(&[0x0b; 20]).unwrap();
        mac.update(b"Hi There");
        let code: Tag = mac.finalize().into_bytes().into();
        assert_eq!(code[..4], [0xb0, 0x34, 0x4c, 0x61]);
    }
}
