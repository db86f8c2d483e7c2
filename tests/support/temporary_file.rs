//! A file that exists as long as its value.

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};

/// A file with a path of its own. Dropping it removes the file.
pub(crate) struct TemporaryFile(String);

/// Creates a file with these contents.
pub(crate) fn temporary_file(name: &str, contents: &[u8]) -> TemporaryFile {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder = env!("CARGO_TARGET_TMPDIR");
    let file = TemporaryFile(format!("{folder}/{name}-{}-{number}", std::process::id()));
    file.replace(contents);
    file
}

impl TemporaryFile {
    /// Its path, which is UTF-8.
    pub(crate) fn path(&self) -> &str {
        &self.0
    }

    /// Replaces its contents.
    pub(crate) fn replace(&self, contents: &[u8]) {
        fs::write(&self.0, contents).unwrap();
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _removed = fs::remove_file(&self.0);
    }
}
