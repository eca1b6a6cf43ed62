//! Directories to serve.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

/// A directory to serve, and something beside it that must never be served.
pub(crate) struct Site {
    parent: TempDir,
}

/// What no answer may contain.
pub(crate) const SECRET: &str = "this lies outside of the served directory";

impl Site {
    pub(crate) fn new() -> Self {
        let site = Self {
            parent: TempDir::new().expect("a temporary directory"),
        };
        fs::create_dir(site.root()).unwrap();
        fs::write(site.parent.path().join("secret.txt"), SECRET).unwrap();
        site.with("hello.txt", "hello, file\n")
    }

    /// Adds a file, and the directories above it.
    pub(crate) fn with(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    /// Adds a large file whose bytes say where in it they are.
    pub(crate) fn with_blob(self, path: &str, length: usize) -> Self {
        self.with(path, blob(length))
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.parent.path().join("root")
    }
}

/// Bytes in which every part differs from every other.
pub(crate) fn blob(length: usize) -> Vec<u8> {
    let words = (0..length.div_ceil(8) as u64).map(|word| word.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
    let mut bytes = words.collect::<Vec<_>>().into_flattened();
    bytes.truncate(length);
    bytes
}
