//! SHA-256 as text.

use sha2::{Digest, Sha256};

/// Of some bytes.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    finish(Sha256::new_with_prefix(bytes))
}

/// Of all that was added.
pub(crate) fn finish(hash: Sha256) -> String {
    hex::encode(hash.finalize())
}
