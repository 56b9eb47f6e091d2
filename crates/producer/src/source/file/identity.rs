//! Whether a file is still the one that was read.
//!
//! A name says little: a nightly export may replace a file by another one under the same name. So a
//! position holds a digest of all bytes before it, and of the files that were finished before. Size
//! and time of modification decide only whether the digest of a large file has to be computed again.

use super::unavailable;
use crate::source::Error;
use serde_json::{Value, json};
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use twox_hash::XxHash64;

const BLOCK: u64 = 1 << 20;
/// Content up to here is always compared; beyond, only when size or time of modification changed.
const ALWAYS_COMPARED: u64 = 64 << 20;

/// The content of a file up to a byte, as far as it was read.
pub(super) struct Prefix {
    file: File,
    path: PathBuf,
    /// Where it begins: 0, but see [`Prefix::footer`].
    from: u64,
    /// Blocks that are in `blocks`.
    num_blocks: u64,
    /// A digest chained over whole blocks, so that it goes on without reading the file again.
    blocks: u64,
}

impl Prefix {
    /// Of a file that is read from its beginning.
    pub(super) fn new(file: &File, path: &Path) -> Result<Prefix, Error> {
        let file = file.try_clone().map_err(|e| unavailable(path, &e))?;
        Ok(Prefix { file, path: path.into(), from: 0, num_blocks: 0, blocks: 0 })
    }

    /// Of a file whose end describes all of it, as in Parquet, which is never appended to: all of
    /// it when it is small, the end otherwise.
    pub(super) fn footer(file: &File, path: &Path) -> Result<Prefix, Error> {
        let mut prefix = Prefix::new(file, path)?;
        let size = prefix.size()?;
        if size > ALWAYS_COMPARED {
            prefix.from = size - BLOCK;
        }
        Ok(prefix)
    }

    pub(super) fn size(&self) -> Result<u64, Error> {
        let metadata = self.file.metadata().map_err(|e| unavailable(&self.path, &e))?;
        Ok(metadata.len())
    }

    /// Size and time of modification.
    fn stat(&self) -> Result<Value, Error> {
        let metadata = self.file.metadata().map_err(|e| unavailable(&self.path, &e))?;
        let modified = format!("{}.{:09}", metadata.mtime(), metadata.mtime_nsec());
        Ok(json!({ "size": metadata.len(), "modified": modified }))
    }

    /// What a position says of the content before `byte`.
    pub(super) fn identity(&mut self, byte: u64) -> Result<Value, Error> {
        let mut identity = self.stat()?;
        let (blocks, rest) = self.digests(byte)?;
        identity["blocks"] = format!("{blocks:016x}").into();
        identity["rest"] = format!("{rest:016x}").into();
        Ok(identity)
    }

    /// Compares with what [`Prefix::identity`] returned for `byte`, and goes on from there.
    ///
    /// # Errors
    /// [`Error::Lost`] when the content is another one.
    pub(super) fn resume(&mut self, byte: u64, identity: &Value) -> Result<(), Error> {
        let digest = |name: &str| u64::from_str_radix(identity[name].as_str()?, 16).ok();
        // Positions of older versions hold none.
        let (Some(blocks), Some(rest)) = (digest("blocks"), digest("rest")) else { return Ok(()) };
        let stat = self.stat()?;
        let unchanged = ["size", "modified"].iter().all(|key| stat[*key] == identity[*key]);
        if unchanged && byte - self.from > ALWAYS_COMPARED {
            (self.num_blocks, self.blocks) = ((byte - self.from) / BLOCK, blocks);
        }
        if self.size()? < byte || self.digests(byte)? != (blocks, rest) {
            return Err(Error::Lost(format!(
                "{} is not the file that was read before: its first {byte} bytes differ from \
                 those; give a new export a name of its own, sorted behind the old ones, or put \
                 the old file back",
                self.path.display()
            )));
        }
        Ok(())
    }

    /// The digests of whole blocks and of the rest, up to `byte`.
    fn digests(&mut self, byte: u64) -> Result<(u64, u64), Error> {
        let length = byte - self.from.min(byte);
        let mut block = vec![0; BLOCK.min(length) as usize];
        while (self.num_blocks + 1) * BLOCK <= length {
            self.fill(&mut block, self.num_blocks * BLOCK)?;
            self.blocks = XxHash64::oneshot(self.blocks, &block);
            self.num_blocks += 1;
        }
        let start = self.num_blocks * BLOCK;
        block.truncate((length - start) as usize);
        self.fill(&mut block, start)?;
        Ok((self.blocks, XxHash64::oneshot(self.blocks, &block)))
    }

    fn fill(&self, block: &mut [u8], at: u64) -> Result<(), Error> {
        let read = self.file.read_exact_at(block, self.from + at);
        read.map_err(|e| unavailable(&self.path, &e))
    }
}

/// The files that a partition has finished, in order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Finished {
    num_files: u64,
    /// Digest of names, sizes and times of modification.
    stats: u64,
    /// Digest of names, sizes and contents.
    contents: u64,
}

impl Finished {
    /// Adds a file by the identity of all of it.
    pub(super) fn add(&mut self, name: &str, identity: &Value) {
        let chain = |digest, keys: &[&str]| {
            let values = keys.iter().map(|key| format!(" {}", identity[*key])).collect::<String>();
            XxHash64::oneshot(digest, format!("{name}{values}").as_bytes())
        };
        self.num_files += 1;
        self.stats = chain(self.stats, &["size", "modified"]);
        self.contents = chain(self.contents, &["size", "blocks", "rest"]);
    }

    pub(super) fn to_json(self) -> Value {
        json!({
            "files": self.num_files,
            "stats": format!("{:016x}", self.stats),
            "contents": format!("{:016x}", self.contents),
        })
    }

    /// Compares with what a position says. Large contents are read again only when their sizes or
    /// times of modification are not those of then. `files` are name and path of each.
    ///
    /// # Errors
    /// [`Error::Lost`] when a content is another one.
    pub(super) fn resume<'a>(
        recorded: &Value,
        files: impl Iterator<Item = (&'a str, &'a Path)> + Clone,
        prefix: impl Fn(&Path) -> Result<Prefix, Error>,
    ) -> Result<Finished, Error> {
        let digest = |name: &str| u64::from_str_radix(recorded[name].as_str()?, 16).ok();
        let (mut now, mut num_bytes) = (Finished::default(), 0);
        for (name, path) in files.clone() {
            let prefix = prefix(path)?;
            num_bytes += prefix.size()?;
            now.add(name, &prefix.stat()?);
        }
        let (Some(stats), Some(contents)) = (digest("stats"), digest("contents")) else {
            return Ok(now);
        };
        if now.stats == stats && num_bytes > ALWAYS_COMPARED {
            return Ok(Finished { contents, ..now });
        }
        if num_bytes > ALWAYS_COMPARED {
            tracing::info!(
                files = now.num_files,
                num_bytes,
                "files that were read have other times; comparing their contents"
            );
        }
        let mut now = Finished::default();
        for (name, path) in files {
            let mut prefix = prefix(path)?;
            let size = prefix.size()?;
            now.add(name, &prefix.identity(size)?);
        }
        if now.contents != contents {
            return Err(Error::Lost(format!(
                "one of the {} files that were read to their end is not the same file any more; \
                 give a new export a name of its own, sorted behind the old ones, or put the old \
                 file back",
                now.num_files
            )));
        }
        Ok(now)
    }
}
