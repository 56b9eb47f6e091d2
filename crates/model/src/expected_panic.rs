//! Panics of libraries that a record's content can cause: caught, silent, and an ordinary result.
//!
//! A panic that is not expected stays what it is: it ends its thread and is reported.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static IS_EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`; `None` when it panics, which nothing reports. What `work` changes must be whole, or
/// not be used, after a panic.
pub fn catch<T>(work: impl FnOnce() -> T) -> Option<T> {
    // A panic is reported before it is caught, by the hook of the process: by default with several
    // lines, for each of what may be thousands in one record.
    static SILENCE: Once = Once::new();
    SILENCE.call_once(|| {
        let report = take_hook();
        set_hook(Box::new(move |panic| {
            if !IS_EXPECTED.get() {
                report(panic);
            }
        }));
    });
    let before = IS_EXPECTED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    IS_EXPECTED.set(before);
    result.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn an_expected_panic_is_a_result_and_only_others_are_reported() {
        static NUM_REPORTED: AtomicUsize = AtomicUsize::new(0);
        const NAME: &str = "panics on purpose";
        let others = take_hook();
        set_hook(Box::new(move |panic| match std::thread::current().name() == Some(NAME) {
            true => drop(NUM_REPORTED.fetch_add(1, Ordering::SeqCst)),
            false => others(panic),
        }));
        let work = || {
            assert_eq!(catch(|| 7), Some(7));
            for _ in 0..1000 {
                assert_eq!(catch(|| -> usize { panic!("expected") }), None);
            }
            assert_eq!(NUM_REPORTED.load(Ordering::SeqCst), 0);
            panic!("unexpected");
        };
        let thread = std::thread::Builder::new().name(NAME.into()).spawn(work).unwrap();
        assert!(thread.join().is_err());
        assert_eq!(NUM_REPORTED.load(Ordering::SeqCst), 1);
    }
}
