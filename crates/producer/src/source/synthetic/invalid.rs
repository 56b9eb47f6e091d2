//! Records that are wrong on purpose, each in one way and with one known fate.

use super::call::{Call, Name};
use super::draw::{Draw, Purpose, scale};
use weir_model::fault::Stage;
use weir_model::mistake::Mistake;
use weir_model::pipeline::Synthetic;

/// A schema id that no registry gives out.
const UNKNOWN_ID: u32 = 2_000_000_000;

/// In which way a record is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `call_duration` below 0.
    NegativeDuration,
    /// `end_datetime` before `start_datetime`.
    EndsBeforeStart,
    /// `call_duration` longer than from start to end.
    DurationMismatch,
    /// `total_amount` below 0.
    NegativeAmount,
    /// The bytes end before the record does.
    Truncated,
    /// The first byte is not the registry's.
    WrongMagic,
    /// The registry has no schema of that id.
    UnknownSchema,
    /// Bytes follow the record.
    TrailingBytes,
    /// No bytes at all.
    EmptyPayload,
    /// `caller_id` is not UTF-8.
    InvalidUtf8,
    /// `caller_name` has more than 50 characters.
    NameTooLong,
    /// `caller_name` contains U+0000.
    NulInText,
}

impl Kind {
    /// Every kind, in the order that `invalid_kinds = []` stands for.
    pub const ALL: [Kind; 12] = [
        Kind::NegativeDuration,
        Kind::EndsBeforeStart,
        Kind::DurationMismatch,
        Kind::NegativeAmount,
        Kind::Truncated,
        Kind::WrongMagic,
        Kind::UnknownSchema,
        Kind::TrailingBytes,
        Kind::EmptyPayload,
        Kind::InvalidUtf8,
        Kind::NameTooLong,
        Kind::NulInText,
    ];

    /// Its name in `invalid_kinds`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::NegativeDuration => "negative_duration",
            Kind::EndsBeforeStart => "ends_before_start",
            Kind::DurationMismatch => "duration_mismatch",
            Kind::NegativeAmount => "negative_amount",
            Kind::Truncated => "truncated",
            Kind::WrongMagic => "wrong_magic",
            Kind::UnknownSchema => "unknown_schema",
            Kind::TrailingBytes => "trailing_bytes",
            Kind::EmptyPayload => "empty_payload",
            Kind::InvalidUtf8 => "invalid_utf8",
            Kind::NameTooLong => "name_too_long",
            Kind::NulInText => "nul_in_text",
        }
    }

    /// Where such a record is refused in the pipeline `telecom`, and the reason that its dead
    /// letter gives.
    pub fn fate(self) -> (Stage, &'static str) {
        match self {
            Kind::NegativeDuration
            | Kind::EndsBeforeStart
            | Kind::DurationMismatch
            | Kind::NegativeAmount => (Stage::Rule, self.name()),
            Kind::NameTooLong => (Stage::Sink, "value_too_long"),
            Kind::NulInText => (Stage::Sink, "character_not_storable"),
            _ => (Stage::Decode, self.name()),
        }
    }

    /// Makes a valid call wrong in this way; kinds that concern the bytes leave it as it is.
    pub(super) fn distort(self, call: &mut Call, seed: u64, sequence: u64) {
        let mut draw = Draw::new(seed, Purpose::Distortion, sequence);
        match self {
            Kind::NegativeDuration => call.seconds = -1 - draw.below(3600) as i32,
            Kind::EndsBeforeStart => {
                call.end = call.start - i64::from(1 + draw.below(3600)) * 1_000_000
            }
            Kind::DurationMismatch => call.seconds += 1 + draw.below(300) as i32,
            Kind::NegativeAmount => call.cents = -1 - call.cents,
            Kind::NameTooLong => call.name = Name::Long,
            Kind::NulInText => call.name = Name::Nul,
            Kind::Truncated
            | Kind::WrongMagic
            | Kind::UnknownSchema
            | Kind::TrailingBytes
            | Kind::EmptyPayload
            | Kind::InvalidUtf8 => {}
        }
    }

    /// What is done to the encoded bytes; nothing for kinds that concern the values.
    pub(super) fn corruption(self, call: &Call) -> Option<Corruption> {
        // Where the cut or the added bytes fall follows from the call, so that the bytes too are a
        // function of seed and sequence.
        let some = (call.start / 1000) as u32;
        match self {
            Kind::Truncated => Some(Box::new(move |bytes| {
                let datum = bytes.len().saturating_sub(5) as u32;
                bytes.truncate(5 + scale(some.wrapping_mul(0x9e37_79b9), datum) as usize);
            })),
            Kind::WrongMagic => Some(Box::new(|bytes| bytes[..1].fill(b'{'))),
            Kind::UnknownSchema => {
                Some(Box::new(|bytes| bytes[1..5].copy_from_slice(&UNKNOWN_ID.to_be_bytes())))
            }
            Kind::TrailingBytes => Some(Box::new(move |bytes| {
                bytes.extend(std::iter::repeat_n(b'!', 1 + some as usize % 8))
            })),
            Kind::EmptyPayload => Some(Box::new(Vec::clear)),
            Kind::InvalidUtf8 => {
                let mut number = Vec::new();
                call.caller.write_number(&mut number);
                Some(Box::new(move |bytes| {
                    if let Some(at) =
                        bytes.windows(number.len()).position(|window| window == number)
                    {
                        bytes[at] = 0xff;
                    }
                }))
            }
            _ => None,
        }
    }
}

/// Changes the bytes of an encoded record.
pub(super) type Corruption = Box<dyn Fn(&mut Vec<u8>) + Send>;

/// Which sequence numbers are invalid, and how.
#[derive(Clone)]
pub(super) struct Invalid {
    /// Of 2⁶⁴ draws.
    threshold: u128,
    kinds: Vec<Kind>,
}

impl Invalid {
    pub(super) fn new(config: &Synthetic) -> Result<Invalid, Box<Mistake>> {
        let kinds =
            config.invalid_kinds.iter().map(|name| parse(name)).collect::<Result<Vec<_>, _>>()?;
        let kinds = if kinds.is_empty() { Kind::ALL.into() } else { kinds };
        // 2^64 is exact as a float; the share is clamped so that no cast can surprise.
        let threshold =
            (config.invalid_share.clamp(0.0, 1.0) * 18_446_744_073_709_551_616.0) as u128;
        Ok(Invalid { threshold, kinds })
    }

    pub(super) fn kind(&self, seed: u64, sequence: u64) -> Option<Kind> {
        if self.threshold == 0 {
            return None;
        }
        let mut draw = Draw::new(seed, Purpose::Kind, sequence);
        let invalid = u128::from(draw.bits()) < self.threshold;
        invalid.then(|| self.kinds[draw.below(self.kinds.len() as u32) as usize])
    }
}

fn parse(name: &str) -> Result<Kind, Box<Mistake>> {
    let names = || Kind::ALL.map(Kind::name).join(", ");
    let known = Kind::ALL.into_iter().find(|kind| kind.name() == name);
    known.ok_or_else(|| {
        Box::new(
            Mistake::new("source.invalid_kinds", format!("unknown kind `{name}`"))
                .hint(format!("there are {}", names())),
        )
    })
}
