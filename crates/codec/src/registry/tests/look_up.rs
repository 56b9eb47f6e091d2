//! Look-ups of many schemas: side by side, bounded in time, and never from the beginning.

use super::*;
use std::sync::Condvar;

/// How long requests wait for each other before the test fails.
const BOUND: Duration = Duration::from_secs(20);

/// Holds answers until so many requests wait for one at the same time, and none afterwards.
struct Meeting {
    num_expected: usize,
    state: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    now: usize,
    /// The most at the same time.
    peak: usize,
}

impl Meeting {
    fn of(num_expected: usize) -> Arc<Meeting> {
        let (state, changed) = (Mutex::default(), Condvar::new());
        Arc::new(Meeting { num_expected, state, changed })
    }

    fn attend(&self) {
        let mut waiting = self.state.lock().unwrap();
        waiting.now += 1;
        waiting.peak = waiting.peak.max(waiting.now);
        self.changed.notify_all();
        let alone = |waiting: &mut Waiting| waiting.peak < self.num_expected;
        let (mut waiting, _) = self.changed.wait_timeout_while(waiting, BOUND, alone).unwrap();
        waiting.now -= 1;
    }

    fn peak(&self) -> usize {
        self.state.lock().unwrap().peak
    }
}

#[tokio::test]
async fn unknown_ids_are_looked_up_side_by_side_and_then_remembered() {
    let meeting = Meeting::of(16);
    let attended = meeting.clone();
    let scripted = Scripted::new(move |_, _| {
        attended.attend();
        missing()
    });
    let registry = scripted.registry();
    let ids: Vec<SchemaId> = (0..2000).map(|n| SchemaId::Number(n * 1_000_003)).collect();
    let errors = registry.look_up(&ids, LONG).await.unwrap();
    assert!((16..=MAX_CONCURRENT).contains(&meeting.peak()), "{} at once", meeting.peak());
    let num_asked = scripted.num_requests();
    assert!(errors.len() == 2000 && num_asked <= 2 * 2000, "{} {num_asked}", errors.len());
    assert_eq!(registry.look_up(&ids, LONG).await.unwrap(), errors);
    assert_eq!(scripted.num_requests(), num_asked, "no id is asked for again");
}

#[tokio::test]
async fn a_look_up_ends_in_time_and_repeated_ones_come_to_an_end() {
    // A few requests of each call are never answered.
    let scripted = Scripted::new(|_, number| match number % 40 {
        39 => Reply::Silence,
        _ => missing(),
    });
    let registry = scripted.registry();
    let ids: Vec<SchemaId> = (1..=1000).map(SchemaId::Number).collect();
    let within = Duration::from_millis(200);
    let mut num_calls = 0;
    let errors = loop {
        num_calls += 1;
        let started = Instant::now();
        match registry.look_up(&ids, within).await {
            Ok(errors) => break errors,
            Err(error) => {
                assert_eq!(error.class(), Class::Environment);
                assert!(error.to_string().contains("1000 schema ids within 0.2 s"), "{error}");
            }
        }
        assert!(started.elapsed() < within * 10, "{:?}", started.elapsed());
        assert!(num_calls < 100, "it asks again and again: {}", scripted.num_requests());
    };
    assert!(num_calls > 1 && errors.len() == 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_meet_the_same_ids_fetch_each_once() {
    let meeting = Meeting::of(16);
    let attended = meeting.clone();
    let scripted = Scripted::new(move |_, _| {
        attended.attend();
        stored(SCHEMA)
    });
    let registry = scripted.registry();
    let ids: Vec<SchemaId> = (1..=300).map(SchemaId::Number).collect();
    let workers: Vec<_> = (0..4)
        .map(|_| (registry.clone(), ids.clone()))
        .map(|(registry, ids)| {
            tokio::spawn(async move { registry.look_up(&ids, LONG).await.unwrap().len() })
        })
        .collect();
    for worker in workers {
        assert_eq!(worker.await.unwrap(), 0);
    }
    assert_eq!(scripted.num_requests(), ids.len());
    assert!(meeting.peak() >= 16, "{} at once", meeting.peak());
}
