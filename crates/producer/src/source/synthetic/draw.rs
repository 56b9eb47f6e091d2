//! Random numbers that depend on nothing but (seed, what for, number).

use rand::Rng;
use rand_pcg::Pcg64Mcg;

/// What a draw is for; different purposes never share numbers.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    Call = 1,
    Person = 2,
    Kind = 3,
    Distortion = 4,
}

pub(super) struct Draw(Pcg64Mcg);

impl Draw {
    pub(super) fn new(seed: u64, purpose: Purpose, number: u64) -> Draw {
        // A PCG's first outputs are alike when its states are; so the state is mixed.
        let high = mix(seed ^ mix(purpose as u64));
        let low = mix(number ^ high);
        Draw(Pcg64Mcg::new((u128::from(high) << 64) | u128::from(low)))
    }

    pub(super) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Evenly from 0 to `limit` − 1, as far as 32 bits can.
    pub(super) fn below(&mut self, limit: u32) -> u32 {
        scale((self.bits() >> 32) as u32, limit)
    }
}

/// `bits`, a fraction of 2³², of `limit`.
pub(super) fn scale(bits: u32, limit: u32) -> u32 {
    ((u64::from(bits) * u64::from(limit)) >> 32) as u32
}

/// The finaliser of SplitMix64: a bijection whose output looks random for any two different inputs.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
