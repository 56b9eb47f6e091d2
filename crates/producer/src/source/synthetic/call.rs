//! One call: who, whom, when, how long, what it cost.

use super::draw::{Draw, Purpose, scale};
use super::providers::{PROVIDERS, Provider, SUBSCRIBERS};

/// The total number of subscribers. The same number always belongs to the same person.
const POPULATION: u32 = 1 << 20;
/// 2025-01-01T00:00:00Z in microseconds.
const EPOCH: i64 = 1_735_689_600_000_000;
/// The time between two sequence numbers in microseconds; calls begin up to ten minutes later.
const STEP: i64 = 250_000;
const JITTER_MILLIS: u32 = 600_000;
/// After this many calls the calendar starts over (34 years), so that no sequence exceeds the range
/// of a date.
const CALENDAR: u64 = 1 << 32;
/// The factor by which calls to another country cost more.
const ABROAD: i64 = 4;
/// Durations in seconds, one for each 64th of all calls: log-normal with a median of 95 s, the
/// longest three hours.
const DURATIONS: [u64; 65] = [
    5, 9, 12, 15, 18, 20, 22, 25, 27, 29, 31, 34, 36, 38, 40, 43, 45, 48, 50, 53, 55, 58, 61, 64,
    67, 70, 73, 76, 80, 83, 87, 91, 95, 99, 104, 108, 113, 118, 123, 129, 135, 141, 148, 155, 163,
    171, 180, 189, 200, 211, 223, 237, 252, 269, 289, 311, 337, 367, 405, 452, 514, 600, 737, 1016,
    10800,
];

/// A call as columns and oracle take it; nothing in it is allocated.
pub(super) struct Call {
    pub(super) caller: Person,
    pub(super) receiver: Person,
    /// How the caller's name is written.
    pub(super) name: Name,
    /// Microseconds since 1970, UTC.
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) seconds: i32,
    pub(super) cents: i64,
}

/// A subscriber.
pub(super) struct Person {
    pub(super) provider: &'static Provider,
    first: &'static str,
    last: &'static str,
    number: u64,
}

/// How a name is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    Plain,
    /// With as many last names as make it longer than 50 characters.
    Long,
    /// With U+0000 between first and last name.
    Nul,
}

/// A call record as the schema `weir.telecom.Call` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Name of the subscriber who called.
    pub caller_name: String,
    /// Name of the subscriber who was called.
    pub receiver_name: String,
    /// Number of the caller, E.164.
    pub caller_id: String,
    /// Number of the receiver, E.164.
    pub receiver_id: String,
    /// Microseconds since 1970, UTC.
    pub start_micros: i64,
    /// Microseconds since 1970, UTC.
    pub end_micros: i64,
    /// Seconds.
    pub call_duration: i32,
    /// The caller's provider.
    pub network_provider: &'static str,
    /// In cents, that is the unscaled value of a decimal(10, 2).
    pub total_amount_cents: i64,
}

/// The valid record of a sequence number.
pub fn record(seed: u64, sequence: u64) -> Record {
    Record::new(&call(seed, sequence))
}

impl Record {
    pub(super) fn new(call: &Call) -> Record {
        let text = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = Vec::new();
            write(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        };
        Record {
            caller_name: text(&|out| call.write_caller_name(out)),
            receiver_name: text(&|out| call.receiver.write_name(Name::Plain, out)),
            caller_id: text(&|out| call.caller.write_number(out)),
            receiver_id: text(&|out| call.receiver.write_number(out)),
            start_micros: call.start,
            end_micros: call.end,
            call_duration: call.seconds,
            network_provider: call.caller.provider.name,
            total_amount_cents: call.cents,
        }
    }
}

/// The valid call of a sequence number.
pub(super) fn call(seed: u64, sequence: u64) -> Call {
    let mut draw = Draw::new(seed, Purpose::Call, sequence);
    let people = draw.bits();
    let times = draw.bits();
    let caller = person(seed, scale((people >> 32) as u32, POPULATION));
    let receiver = person(seed, scale(people as u32, POPULATION));
    let seconds = duration((times >> 32) as u32);
    let jitter = i64::from(scale(times as u32, JITTER_MILLIS)) * 1000;
    let start = EPOCH + (sequence % CALENDAR) as i64 * STEP + jitter;
    let cents = price(&caller, &receiver, seconds);
    let end = start + i64::from(seconds) * 1_000_000;
    Call { caller, receiver, name: Name::Plain, start, end, seconds, cents }
}

fn person(seed: u64, id: u32) -> Person {
    let mut draw = Draw::new(seed, Purpose::Person, u64::from(id));
    let names = draw.bits();
    let rest = draw.bits();
    let provider = &PROVIDERS[usize::from(SUBSCRIBERS[scale(rest as u32, 100) as usize])];
    // The lists of the library have a blank or a tab at the end of some names.
    let pick =
        |list: &[&'static str], bits: u32| list[scale(bits, list.len() as u32) as usize].trim();
    let (first, last) =
        (pick(provider.names.first, (names >> 32) as u32), pick(provider.names.last, names as u32));
    // 20 bits of the id and the rest drawn: no two subscribers of a provider are likely to share a
    // number.
    let number = ((rest >> 32) << 20 | u64::from(id)) % 10u64.pow(provider.digits);
    Person { provider, first, last, number }
}

fn duration(bits: u32) -> i32 {
    let (at, within) = ((bits >> 26) as usize, u64::from(bits & 0x03ff_ffff));
    // The last 64th reaches to three hours; its cube keeps most of it short.
    let within = if at == 63 { (((within * within) >> 26) * within) >> 26 } else { within };
    let (low, high) = (DURATIONS[at], DURATIONS[at + 1]);
    (low + (((high - low) * within) >> 26)) as i32
}

fn price(caller: &Person, receiver: &Person, seconds: i32) -> i64 {
    let minutes = i64::from((seconds + 59) / 60);
    let abroad = if caller.provider.prefix.get(..3) == receiver.provider.prefix.get(..3) {
        1
    } else {
        ABROAD
    };
    caller.provider.setup + caller.provider.minute * minutes * abroad
}

impl Call {
    pub(super) fn write_caller_name(&self, out: &mut Vec<u8>) {
        self.caller.write_name(self.name, out);
    }
}

impl Person {
    pub(super) fn write_name(&self, name: Name, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(self.first.as_bytes());
        out.push(if name == Name::Nul { 0 } else { b' ' });
        out.extend_from_slice(self.last.as_bytes());
        while name == Name::Long && String::from_utf8_lossy(&out[start..]).chars().count() <= 50 {
            out.push(b'-');
            out.extend_from_slice(self.last.as_bytes());
        }
    }

    pub(super) fn write_number(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.provider.prefix.as_bytes());
        let digits = self.provider.digits as usize;
        let start = out.len();
        out.resize(start + digits, b'0');
        let mut number = self.number;
        for digit in out[start..].iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
    }
}
