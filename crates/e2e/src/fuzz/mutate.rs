//! Mutation of examples: bits, numbers, pieces of other examples, and pieces of the formats.

use rand::seq::IndexedRandom;
use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// Longest input, in bytes.
const MAX_BYTES: usize = 1 << 16;
/// What formats give a meaning to.
const PIECES: &[&[u8]] = &[
    b"\"",
    b"'",
    b",",
    b"\n",
    b"\r\n",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b"=",
    b"#",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"null",
    b"true",
    b"NaN",
    b"-0",
    b"1e999",
    b"9223372036854775808",
    b"-9223372036854775809",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\x00",
    b"${X}",
    b"${X:-",
    b"\"type\"",
    b"\"record\"",
    b"\"fields\"",
    b"\"array\"",
    b"\"items\"",
    b"\"map\"",
    b"\"enum\"",
    b"\"symbols\"",
    b"\"fixed\"",
    b"\"size\"",
    b"\"logicalType\"",
    b"\"decimal\"",
    b"\"precision\"",
    b"\"name\"",
    b"\"R\"",
    b"\"default\"",
    b"\"int\"",
    b"\"null\"",
    b"\"uuid\"",
    b"\"duration\"",
    b"\"schema\"",
    b"\"references\"",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\xfe\xff\xff\xff\x0f",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80",
];

/// Makes inputs, always the same for the same seed.
pub(crate) struct Mutator {
    random: Pcg64Mcg,
    examples: Vec<Vec<u8>>,
}

impl Mutator {
    pub(crate) fn new(seed: u64, examples: Vec<Vec<u8>>) -> Mutator {
        Mutator { random: Pcg64Mcg::seed_from_u64(seed), examples }
    }

    /// An example with one to eight changes; seldom bytes without any meaning.
    pub(crate) fn next(&mut self) -> Vec<u8> {
        if self.random.random_ratio(1, 50) {
            let mut bytes = vec![0; self.random.random_range(0..200)];
            self.random.fill_bytes(&mut bytes);
            return bytes;
        }
        let mut input = self.example();
        for _ in 0..self.random.random_range(1..=8) {
            self.change(&mut input);
            input.truncate(MAX_BYTES);
        }
        input
    }

    fn example(&mut self) -> Vec<u8> {
        self.examples.choose(&mut self.random).cloned().unwrap_or_default()
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.random.random_range(0..=input.len());
        let end = (at + self.random.random_range(0..32)).min(input.len());
        match self.random.random_range(0..9) {
            0 => input.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << (at % 8)),
            1 => {
                let byte = self.random.random();
                input.iter_mut().skip(at).take(1).for_each(|b| *b = byte);
            }
            2 => drop(input.drain(at..end)),
            3 => input.truncate(at),
            4 => self.repeat(input, at, end),
            5 => {
                let other = self.example();
                let from = self.random.random_range(0..=other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            6 => self.number(input),
            _ => {
                let piece = PIECES.choose(&mut self.random).copied().unwrap_or_default();
                drop(input.splice(at..at, piece.iter().copied()));
            }
        }
    }

    fn repeat(&mut self, input: &mut Vec<u8>, at: usize, end: usize) {
        let part = input[at..end].to_vec();
        let times = 1 << self.random.random_range(0..10);
        drop(input.splice(at..at, part.repeat(times)));
    }

    /// Another number in place of one in the text.
    fn number(&mut self, input: &mut Vec<u8>) {
        let Some(start) = input.iter().position(u8::is_ascii_digit) else { return };
        let len = input[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = match self.random.random_range(0..4) {
            0 => "0".to_string(),
            1 => u64::MAX.to_string(),
            2 => self.random.random_range(0..1000).to_string(),
            _ => "1".repeat(self.random.random_range(1..400)),
        };
        drop(input.splice(start..start + len, number.into_bytes()));
    }
}
