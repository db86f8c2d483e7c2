//! System calls: the only module with `unsafe` code, all of it behind safe functions that return
//! [`std::io::Result`] or an enum. Any thread may call it. Nothing here knows what a connection or a
//! session is.

pub mod affinity;
pub mod clock;
pub mod descriptor_tables;
pub mod descriptors;
pub mod lock;
pub mod machine;
pub mod memory;
pub mod notify;
pub mod outbound;
pub mod prefetch;
pub mod process;
pub mod send_queue;
pub mod sockets;
pub mod steering;
pub mod timerfd;

use std::io;

/// Sixteen unguessable bytes from the kernel (getrandom(2)), for instance for
/// [`crate::ids::TokenMint::new`]. Blocks only while the machine is still booting.
///
/// # Errors
/// When the kernel lacks the call; Linux has it since 3.17.
pub fn entropy() -> io::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::from)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #[test]
    fn entropy_does_not_repeat() {
        assert_ne!(super::entropy().unwrap(), super::entropy().unwrap());
    }
}
