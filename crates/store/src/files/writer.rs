//! One file that is being written, into a temporary file of this machine. So a transaction takes
//! little memory, and nothing is in the sink's folder before the file is complete.

use crate::files::error::{bug, local};
use crate::files::log::entry::Sources;
use crate::files::text;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use flate2::write::GzEncoder;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{self, ZstdLevel};
use parquet::file::properties::WriterProperties;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use weir_model::pipeline::{Compression, FilesFormat};

/// Rows of a row group, which is also ended when the transaction has too much in memory.
const ROW_GROUP_ROWS: usize = 1 << 20;
const BUFFER: usize = 1 << 16;

/// See the module.
pub(crate) struct FileWriter {
    /// `None` after an error.
    inner: Option<Inner>,
    pub(crate) rows: u64,
    /// Where the rows come from.
    pub(crate) sources: Vec<Sources>,
}

#[allow(clippy::large_enum_variant, reason = "there are few of them")]
enum Inner {
    Parquet(ArrowWriter<Counted>),
    Plain(Counted),
    Gzip(GzEncoder<Counted>),
    Zstd(zstd::Encoder<'static, Counted>),
}

/// A temporary file without a name: it is gone with the process.
struct Counted {
    file: BufWriter<File>,
    bytes: u64,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A complete file.
pub(crate) struct Finished {
    pub(crate) file: File,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) sources: Vec<Sources>,
}

const TEMPORARY: &str = "writing a temporary file";

impl FileWriter {
    /// An empty file; of CSV, with its header.
    ///
    /// # Errors
    /// There is no place for a temporary file.
    pub(crate) fn new(
        format: FilesFormat,
        compression: Compression,
        schema: &SchemaRef,
    ) -> Result<FileWriter, crate::Error> {
        let file = tempfile::tempfile().map_err(|e| local("creating a temporary file", &e))?;
        let file = Counted { file: BufWriter::with_capacity(BUFFER, file), bytes: 0 };
        let mut inner = match (format, compression) {
            (FilesFormat::Parquet, _) => {
                // The types of the file say everything; Arrow's own schema beside them would not be
                // read by others.
                let options = ArrowWriterOptions::new()
                    .with_properties(properties(compression))
                    .with_skip_arrow_metadata(true);
                let writer = ArrowWriter::try_new_with_options(file, schema.clone(), options);
                Inner::Parquet(writer.map_err(bug)?)
            }
            (_, Compression::Gzip) => {
                Inner::Gzip(GzEncoder::new(file, flate2::Compression::default()))
            }
            (_, Compression::Zstd) => {
                let level = zstd::DEFAULT_COMPRESSION_LEVEL;
                Inner::Zstd(zstd::Encoder::new(file, level).map_err(|e| local(TEMPORARY, &e))?)
            }
            (_, Compression::None | Compression::Snappy) => Inner::Plain(file),
        };
        if format == FilesFormat::Csv {
            inner.write(&text::header(schema))?;
        }
        Ok(FileWriter { inner: Some(inner), rows: 0, sources: Vec::new() })
    }

    /// Adds rows to a Parquet file.
    pub(crate) fn add_batch(&mut self, batch: &RecordBatch) -> Result<(), crate::Error> {
        match &mut self.inner {
            Some(Inner::Parquet(writer)) => writer.write(batch).map_err(|e| parquet(&e)),
            _ => Err(bug("rows for a file of text")),
        }
    }

    /// Adds lines to a file of text.
    pub(crate) fn add_lines(&mut self, lines: &[u8]) -> Result<(), crate::Error> {
        match &mut self.inner {
            Some(inner) => inner.write(lines),
            None => Err(bug("a file that is complete")),
        }
    }

    /// About the bytes that the file will have.
    pub(crate) fn size(&self) -> u64 {
        match &self.inner {
            Some(Inner::Parquet(writer)) => {
                writer.bytes_written() as u64 + writer.in_progress_size() as u64
            }
            Some(Inner::Plain(file)) => file.bytes,
            Some(Inner::Gzip(file)) => file.get_ref().bytes,
            Some(Inner::Zstd(file)) => file.get_ref().bytes,
            None => 0,
        }
    }

    /// The bytes in memory that [`FileWriter::flush`] would free.
    pub(crate) fn memory(&self) -> usize {
        match &self.inner {
            Some(Inner::Parquet(writer)) => writer.memory_size(),
            _ => 0,
        }
    }

    /// Ends the row group.
    pub(crate) fn flush(&mut self) -> Result<(), crate::Error> {
        match &mut self.inner {
            Some(Inner::Parquet(writer)) => writer.flush().map_err(|e| parquet(&e)),
            _ => Ok(()),
        }
    }

    /// Completes the file.
    pub(crate) fn finish(mut self) -> Result<Finished, crate::Error> {
        let file = match self.inner.take() {
            Some(Inner::Parquet(writer)) => writer.into_inner().map_err(|e| parquet(&e))?,
            Some(Inner::Plain(file)) => file,
            Some(Inner::Gzip(file)) => file.finish().map_err(|e| local(TEMPORARY, &e))?,
            Some(Inner::Zstd(file)) => file.finish().map_err(|e| local(TEMPORARY, &e))?,
            None => return Err(bug("a file that is complete")),
        };
        let bytes = file.bytes;
        let file = file.file.into_inner().map_err(|e| local(TEMPORARY, e.error()))?;
        Ok(Finished { file, rows: self.rows, bytes, sources: self.sources })
    }
}

impl Inner {
    fn write(&mut self, bytes: &[u8]) -> Result<(), crate::Error> {
        let file: &mut dyn Write = match self {
            Inner::Plain(file) => file,
            Inner::Gzip(file) => file,
            Inner::Zstd(file) => file,
            Inner::Parquet(_) => return Err(bug("lines for a Parquet file")),
        };
        file.write_all(bytes).map_err(|e| local(TEMPORARY, &e))
    }
}

/// A full disk passes; everything else is a bug.
fn parquet(error: &parquet::errors::ParquetError) -> crate::Error {
    if let parquet::errors::ParquetError::External(cause) = error
        && let Some(cause) = cause.downcast_ref::<io::Error>()
    {
        return local(TEMPORARY, cause);
    }
    bug(error)
}

/// The names of lists and maps inside are those of Parquet's specification.
fn properties(compression: Compression) -> WriterProperties {
    let compression = match compression {
        Compression::None => basic::Compression::UNCOMPRESSED,
        Compression::Gzip => basic::Compression::GZIP(basic::GzipLevel::default()),
        Compression::Snappy => basic::Compression::SNAPPY,
        Compression::Zstd => basic::Compression::ZSTD(ZstdLevel::default()),
    };
    WriterProperties::builder()
        .set_compression(compression)
        .set_coerce_types(true)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_created_by(format!("weir {}", env!("CARGO_PKG_VERSION")))
        .build()
}
