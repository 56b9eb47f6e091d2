//! Who carries the calls. Every name is in `deploy/reference/providers.csv`, which a test checks.

use fake::locales::{DE_DE, Data, EN, FR_FR, IT_IT, NL_NL};

pub(super) struct Provider {
    pub(super) name: &'static str,
    /// Country code of its numbers.
    pub(super) prefix: &'static str,
    /// Digits after the prefix.
    pub(super) digits: u32,
    pub(super) names: &'static Names,
    /// Of 100 subscribers.
    weight: usize,
    /// Cents for a call, and for each minute begun.
    pub(super) setup: i64,
    pub(super) minute: i64,
}

/// First and last names of a country's subscribers.
pub(super) struct Names {
    pub(super) first: &'static [&'static str],
    pub(super) last: &'static [&'static str],
}

static ENGLISH: Names = Names { first: EN::NAME_FIRST_NAME, last: EN::NAME_LAST_NAME };
static GERMAN: Names = Names { first: DE_DE::NAME_FIRST_NAME, last: DE_DE::NAME_LAST_NAME };
static FRENCH: Names = Names { first: FR_FR::NAME_FIRST_NAME, last: FR_FR::NAME_LAST_NAME };
static ITALIAN: Names = Names { first: IT_IT::NAME_FIRST_NAME, last: IT_IT::NAME_LAST_NAME };
static DUTCH: Names = Names { first: NL_NL::NAME_FIRST_NAME, last: NL_NL::NAME_LAST_NAME };

const fn provider(
    name: &'static str,
    prefix: &'static str,
    digits: u32,
    names: &'static Names,
    weight: usize,
    tariff: [i64; 2],
) -> Provider {
    Provider { name, prefix, digits, names, weight, setup: tariff[0], minute: tariff[1] }
}

pub(super) static PROVIDERS: [Provider; 22] = [
    provider("AT&T", "+1", 10, &ENGLISH, 10, [0, 12]),
    provider("Verizon", "+1", 10, &ENGLISH, 10, [0, 14]),
    provider("T-Mobile US", "+1", 10, &ENGLISH, 8, [0, 10]),
    provider("Rogers", "+1", 10, &ENGLISH, 3, [0, 15]),
    provider("Bell Mobility", "+1", 10, &ENGLISH, 2, [0, 15]),
    provider("Vodafone UK", "+447", 9, &ENGLISH, 4, [5, 11]),
    provider("O2 UK", "+447", 9, &ENGLISH, 4, [5, 10]),
    provider("EE", "+447", 9, &ENGLISH, 5, [5, 12]),
    provider("Three UK", "+447", 9, &ENGLISH, 2, [0, 8]),
    provider("Deutsche Telekom", "+4915", 9, &GERMAN, 9, [0, 9]),
    provider("Vodafone DE", "+4915", 9, &GERMAN, 7, [0, 9]),
    provider("O2 DE", "+4917", 9, &GERMAN, 6, [0, 9]),
    provider("1&1", "+4917", 9, &GERMAN, 3, [0, 7]),
    provider("Orange", "+336", 8, &FRENCH, 6, [8, 10]),
    provider("SFR", "+336", 8, &FRENCH, 4, [8, 9]),
    provider("Bouygues Telecom", "+337", 8, &FRENCH, 3, [8, 9]),
    provider("Free Mobile", "+337", 8, &FRENCH, 3, [0, 5]),
    provider("TIM", "+393", 9, &ITALIAN, 4, [15, 8]),
    provider("WindTre", "+393", 9, &ITALIAN, 3, [15, 7]),
    provider("KPN", "+316", 8, &DUTCH, 2, [10, 11]),
    provider("Swisscom", "+417", 8, &GERMAN, 1, [0, 29]),
    provider("A1", "+436", 9, &GERMAN, 1, [0, 10]),
];

/// A hundred subscribers by their provider: an even draw from it follows the weights.
pub(super) static SUBSCRIBERS: [u8; 100] = {
    let mut subscribers = [0; 100];
    let (mut next, mut provider) = (0, 0);
    while provider < PROVIDERS.len() {
        let end = next + PROVIDERS[provider].weight;
        while next < end {
            subscribers[next] = provider as u8;
            next += 1;
        }
        provider += 1;
    }
    assert!(next == 100);
    subscribers
};
