//! A temporary file to its place, in pieces, with a hash of what was sent.

use crate::files::error::{failed, local};
use crate::files::hash;
use crate::files::location::Location;
use object_store::{ObjectStoreExt, PutPayload, WriteMultipart};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

/// A piece. S3 takes up to 10,000 of at least 5 MiB.
const PIECE: usize = 8 << 20;
const LARGE_PIECE: usize = 32 << 20;
const MAX_PIECES: u64 = 9_000;
/// Pieces that are on their way at a time.
const CONCURRENT_PIECES: usize = 2;

/// Sends `file`, which has `bytes` bytes, and returns its hash. Nothing has this name until all of it
/// has been sent.
///
/// # Errors
/// The store does not take it, or the file cannot be read.
pub(crate) async fn send(
    location: &Location,
    path: &str,
    mut file: File,
    bytes: u64,
) -> Result<String, crate::Error> {
    let at = location.at(path)?;
    let fail = |e: object_store::Error| failed("writing a file", location.name(), &e);
    let size = if bytes / PIECE as u64 > MAX_PIECES { LARGE_PIECE } else { PIECE };
    let mut hash = Sha256::new();
    file.seek(SeekFrom::Start(0)).map_err(|e| local("reading a temporary file", &e))?;
    if bytes <= size as u64 {
        let piece = read(&mut file, size)?;
        hash.update(&piece);
        location.store.put(&at, PutPayload::from(piece)).await.map_err(fail)?;
        return Ok(hash::finish(hash));
    }
    let upload = location.store.put_multipart(&at).await.map_err(fail)?;
    let mut upload = WriteMultipart::new_with_chunk_size(upload, size);
    let sent = async {
        loop {
            let piece = read(&mut file, size)?;
            if piece.is_empty() {
                return Ok(());
            }
            hash.update(&piece);
            upload.wait_for_capacity(CONCURRENT_PIECES).await.map_err(fail)?;
            upload.put(piece.into());
        }
    };
    if let Err(error) = sent.await {
        if let Err(error) = upload.abort().await {
            tracing::debug!(%error, "an upload that is not complete was left to the store");
        }
        return Err(error);
    }
    upload.finish().await.map_err(fail)?;
    Ok(hash::finish(hash))
}

/// The next piece; empty at the end.
fn read(file: &mut impl Read, size: usize) -> Result<Vec<u8>, crate::Error> {
    let mut piece = Vec::with_capacity(size.min(1 << 20));
    let read = file.take(size as u64).read_to_end(&mut piece);
    read.map_err(|e| local("reading a temporary file", &e))?;
    Ok(piece)
}
