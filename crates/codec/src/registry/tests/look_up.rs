//! Look-ups of many schemas: side by side, bounded in time, and never from the beginning.

use super::*;
use std::thread;

const LATENCY: Duration = Duration::from_millis(20);

/// The time that an answer takes, on a thread of the scripted server.
#[allow(clippy::disallowed_methods)] // it is the latency that is tested
fn take_time() {
    thread::sleep(LATENCY);
}

/// A registry that takes its time and has no schema.
fn slow_and_empty() -> Scripted {
    Scripted::new(|_, _| {
        take_time();
        missing()
    })
}

#[tokio::test]
async fn unknown_ids_are_looked_up_side_by_side_and_then_remembered() {
    let scripted = slow_and_empty();
    let registry = scripted.registry();
    let ids: Vec<u32> = (0..2000).map(|n| n * 1_000_003).collect();
    let started = Instant::now();
    let errors = registry.look_up(&ids, LONG).await.unwrap();
    let one_after_another = LATENCY * 2 * 2000;
    assert!(started.elapsed() < one_after_another / 4, "{:?}", started.elapsed());
    let num_asked = scripted.num_requests();
    assert!(errors.len() == 2000 && num_asked <= 2 * 2000, "{} {num_asked}", errors.len());
    assert_eq!(registry.look_up(&ids, LONG).await.unwrap(), errors);
    assert_eq!(scripted.num_requests(), num_asked, "no id is asked for again");
}

#[tokio::test]
async fn a_look_up_ends_in_time_and_repeated_ones_come_to_an_end() {
    let scripted = slow_and_empty();
    let registry = scripted.registry();
    let ids: Vec<u32> = (1..=1000).collect();
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
    let scripted = Scripted::new(|_, _| {
        take_time();
        stored(SCHEMA)
    });
    let registry = scripted.registry();
    let ids: Vec<u32> = (1..=300).collect();
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
}
