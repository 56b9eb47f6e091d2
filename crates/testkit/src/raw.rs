//! Records that no client library writes, byte for byte: a Produce request by hand.

use anyhow::{Context, Result, ensure};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);
const PRODUCE: i16 = 0;
const VERSION: i16 = 7;
const NONE: i64 = -1;

/// A record whose header names are any bytes.
#[derive(Debug, Clone, Default)]
pub struct RawRecord {
    /// Value bytes.
    pub value: Option<Vec<u8>>,
    /// Names and values.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// Writes one batch to the broker at `address`, which leads the partition.
pub fn write(address: &str, topic: &str, partition: i32, records: &[RawRecord]) -> Result<()> {
    let batch = batch(records)?;
    let mut request = Vec::new();
    request.extend(PRODUCE.to_be_bytes());
    request.extend(VERSION.to_be_bytes());
    request.extend(1i32.to_be_bytes()); // correlation id
    request.extend((-1i16).to_be_bytes()); // no client id
    request.extend((-1i16).to_be_bytes()); // no transaction
    request.extend((-1i16).to_be_bytes()); // acks=all
    request.extend(10_000i32.to_be_bytes()); // timeout, ms
    request.extend(1i32.to_be_bytes()); // topics
    request.extend(i16::try_from(topic.len())?.to_be_bytes());
    request.extend(topic.as_bytes());
    request.extend(1i32.to_be_bytes()); // partitions
    request.extend(partition.to_be_bytes());
    request.extend(i32::try_from(batch.len())?.to_be_bytes());
    request.extend(batch);

    let mut stream = TcpStream::connect(address).with_context(|| address.to_string())?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(&i32::try_from(request.len())?.to_be_bytes())?;
    stream.write_all(&request)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut response = vec![0; usize::try_from(i32::from_be_bytes(length))?];
    stream.read_exact(&mut response)?;
    // Correlation id, one topic with its name, one partition with its number.
    let at = 4 + 4 + 2 + topic.len() + 4 + 4;
    let code = response.get(at..at + 2).context("the response is short")?;
    ensure!(code == [0, 0], "write to {topic}: the broker's error code is {code:?}");
    Ok(())
}

/// A batch of format 2, uncompressed.
fn batch(records: &[RawRecord]) -> Result<Vec<u8>> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let now = i64::try_from(now.as_millis())?;
    let count = i32::try_from(records.len())?;
    let mut checked = Vec::new();
    checked.extend(0i16.to_be_bytes()); // attributes
    checked.extend((count - 1).to_be_bytes()); // last offset, relative
    checked.extend(now.to_be_bytes());
    checked.extend(now.to_be_bytes());
    checked.extend(NONE.to_be_bytes()); // producer
    checked.extend((-1i16).to_be_bytes());
    checked.extend((-1i32).to_be_bytes());
    checked.extend(count.to_be_bytes());
    for (offset, record) in (0..).zip(records) {
        let mut body = vec![0];
        varint(0, &mut body); // timestamp, relative
        varint(offset, &mut body);
        bytes(None, &mut body); // key
        bytes(record.value.as_deref(), &mut body);
        varint(i64::try_from(record.headers.len())?, &mut body);
        for (name, value) in &record.headers {
            bytes(Some(name), &mut body);
            bytes(value.as_deref(), &mut body);
        }
        varint(i64::try_from(body.len())?, &mut checked);
        checked.extend(body);
    }
    let mut batch = Vec::new();
    batch.extend(0i64.to_be_bytes()); // first offset
    batch.extend(i32::try_from(checked.len() + 9)?.to_be_bytes());
    batch.extend((-1i32).to_be_bytes()); // leader epoch
    batch.push(2);
    batch.extend(crc32c(&checked).to_be_bytes());
    batch.extend(checked);
    Ok(batch)
}

fn bytes(bytes: Option<&[u8]>, into: &mut Vec<u8>) {
    varint(bytes.map_or(NONE, |bytes| bytes.len() as i64), into);
    into.extend(bytes.unwrap_or_default());
}

fn varint(value: i64, into: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        into.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    into.push(rest as u8);
}

/// Castagnoli's, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 }
        })
    })
}
