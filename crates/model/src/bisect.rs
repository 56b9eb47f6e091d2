//! Singles out the items that an operation refuses, when it only accepts or refuses a whole range
//! at once: a COPY into a table, a vectorised expression, a library that decodes batches.
//!
//! The caller makes the attempts, so that they may be async and may collect what they produce:
//!
//! ```
//! # use weir_model::bisect::Bisection;
//! # fn attempt(range: std::ops::Range<usize>) -> Result<std::ops::Range<usize>, &'static str> {
//! #     if range.contains(&2) { Err("bad") } else { Ok(range) }
//! # }
//! let (mut accepted, mut refused) = (Vec::new(), Vec::new());
//! let mut bisection = Bisection::new(5);
//! while let Some(range) = bisection.next_range() {
//!     match attempt(range.clone()) {
//!         Ok(items) => accepted.extend(items),
//!         Err(reason) => refused.extend(bisection.split(range, None).map(|item| (item, reason))),
//!     }
//! }
//! assert_eq!((accepted, refused), (vec![0, 1, 3, 4], vec![(2, "bad")]));
//! ```

use std::ops::Range;

/// The ranges that remain to be attempted. They come in ascending order and without gaps, so
/// results can be appended as they arrive.
#[derive(Debug)]
pub struct Bisection {
    /// A stack: the first range to attempt is the last element.
    open: Vec<Range<usize>>,
}

impl Bisection {
    /// Starts with one range of all `num_items` items; without items there is nothing to attempt.
    pub fn new(num_items: usize) -> Bisection {
        let mut bisection = Bisection { open: Vec::new() };
        bisection.push(0..num_items);
        bisection
    }

    /// The next range to attempt. A range that is refused must be given to [`Bisection::split`].
    pub fn next_range(&mut self) -> Option<Range<usize>> {
        self.open.pop()
    }

    /// Splits a refused range into smaller ones to attempt; returns the item when there is only
    /// one left, which is then singled out.
    ///
    /// `suspect` is the item that the refusal named, if any. It only affects the number of
    /// attempts: `1 + 2 × refused × ⌈log₂ num_items⌉` at most without a suspect, about four for
    /// each refused item when the first bad one is named. What follows the suspect is halved at
    /// once, because bad items often occur together and a refused attempt is wasted work.
    pub fn split(&mut self, range: Range<usize>, suspect: Option<usize>) -> Option<usize> {
        if range.len() <= 1 {
            return (!range.is_empty()).then_some(range.start);
        }
        let Range { start, end } = range;
        match suspect.filter(|item| range.contains(item)) {
            Some(item) => {
                let middle = item + 1 + (end - item - 1) / 2;
                self.push(middle..end);
                self.push(item + 1..middle);
                self.push(item..item + 1);
                self.push(start..item);
            }
            None => {
                let middle = start + (end - start) / 2;
                self.push(middle..end);
                self.push(start..middle);
            }
        }
        None
    }

    fn push(&mut self, range: Range<usize>) {
        if !range.is_empty() {
            self.open.push(range);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// What an operation that refuses the items in `bad` leads to.
    #[derive(Debug, Default)]
    struct Run {
        accepted: Vec<usize>,
        refused: Vec<usize>,
        num_attempts: usize,
    }

    /// `suspect` gets the refused range and its first bad item.
    fn run(
        num_items: usize,
        bad: &BTreeSet<usize>,
        suspect: impl Fn(&Range<usize>, usize) -> Option<usize>,
    ) -> Run {
        let mut run = Run::default();
        let mut bisection = Bisection::new(num_items);
        while let Some(range) = bisection.next_range() {
            run.num_attempts += 1;
            match bad.range(range.clone()).next() {
                None => run.accepted.extend(range),
                Some(first) => {
                    let suspect = suspect(&range, *first);
                    run.refused.extend(bisection.split(range, suspect));
                }
            }
        }
        run
    }

    fn items() -> impl Strategy<Value = (usize, BTreeSet<usize>)> {
        (0usize..3000).prop_flat_map(|num_items| {
            let bad =
                proptest::collection::btree_set(0..num_items.max(1), 0..num_items.clamp(1, 20));
            (Just(num_items), bad)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None, ..ProptestConfig::default()
        })]

        #[test]
        fn exactly_the_bad_items_are_singled_out_in_few_attempts((num_items, bad) in items()) {
            let good: Vec<usize> = (0..num_items).filter(|item| !bad.contains(item)).collect();
            let bad_list: Vec<usize> = bad.iter().copied().collect();
            let unnamed = run(num_items, &bad, |_, _| None);
            let named = run(num_items, &bad, |_, first| Some(first));
            let depth = num_items.max(1).next_power_of_two().ilog2() as usize;
            let limit = 1 + 2 * bad.len() * depth;
            for run in [&unnamed, &named] {
                prop_assert_eq!(&run.accepted, &good);
                prop_assert_eq!(&run.refused, &bad_list);
            }
            prop_assert!(unnamed.num_attempts <= limit, "{:?}, limit {limit}", unnamed);
            let limit = 1 + 4 * bad.len();
            prop_assert!(named.num_attempts <= limit, "{:?}, limit {limit}", named);
        }

        #[test]
        fn a_wrong_suspect_changes_nothing_but_the_number_of_attempts(
            (num_items, bad) in items(),
            offset in -30i64..30,
        ) {
            let suspect = |first: usize| usize::try_from(first as i64 + offset).ok();
            let wrong = run(num_items, &bad, |_, first| suspect(first));
            let good: Vec<usize> = (0..num_items).filter(|item| !bad.contains(item)).collect();
            prop_assert_eq!(wrong.accepted, good);
            prop_assert_eq!(wrong.refused, bad.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn without_items_there_is_no_attempt() {
        assert_eq!(Bisection::new(0).next_range(), None);
    }
}
