//! The stack itself: it comes up, keeps its data over restarts, and leaves nothing behind, however
//! its owner ends.

#![allow(clippy::unwrap_used)] // a test says what went wrong by where it panics

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use weir_testkit::topics::{Record, Topics};
use weir_testkit::{Component, Database, Options, Stack, http, random_name, wait_until};

const GONE_WITHIN: Duration = Duration::from_secs(15);

#[test]
fn data_survives_the_restart_of_every_component() {
    let stack = Stack::start(Options::default()).unwrap();
    let (topics, topic) = (Topics::new(stack.kafka()), random_name("kept"));
    topics.create(&topic, 2).unwrap();
    let record = Record { partition: 1, value: Some(b"value".to_vec()), ..Record::default() };
    topics.write(&topic, &[record]).unwrap();
    let schema = json!({ "schema": r#"{"type":"record","name":"r","fields":[]}"# });
    let subject = format!("{}/subjects/{topic}-value/versions", stack.registry());
    let id = http::send("POST", &subject, &schema).unwrap();
    Database::connect(stack.postgres())
        .unwrap()
        .execute("CREATE TABLE kept AS SELECT 7 AS seven")
        .unwrap();

    for component in [Component::Broker(0), Component::Registry, Component::Postgres] {
        stack.restart(component).unwrap();
    }
    stack.kill(Component::Broker(0)).unwrap();
    stack.resume(Component::Broker(0)).unwrap();

    assert_eq!(topics.read(&topic).unwrap()[0].value.as_deref(), Some(b"value".as_slice()));
    assert_eq!(http::send("POST", &subject, &schema).unwrap(), id);
    assert_eq!(
        Database::connect(stack.postgres()).unwrap().number("SELECT seven FROM kept").unwrap(),
        7
    );
    leaves_nothing_behind(stack);
}

fn leaves_nothing_behind(stack: Stack) {
    let folder = stack.folder().unwrap().to_path_buf();
    let processes = stack.processes();
    assert_eq!(processes.len(), 3);
    drop(stack);
    assert!(!folder.exists(), "{}", folder.display());
    assert_eq!(alive(&folder), Vec::<String>::new());
}

#[test]
fn three_brokers_survive_the_death_of_one() {
    let stack = Stack::start(Options { brokers: 3, registry: false, postgres: false }).unwrap();
    let (topics, topic) = (Topics::new(stack.kafka()), random_name("kept"));
    topics.create_replicated(&topic, 1, 3).unwrap();
    stack.kill(Component::Broker(0)).unwrap();
    topics
        .write(&topic, &[Record { value: Some(b"value".to_vec()), ..Record::default() }])
        .unwrap();
    assert_eq!(topics.count(&topic).unwrap(), 1);
}

#[test]
fn nothing_outlives_an_owner_that_is_killed() {
    ends_with(Signal::SIGKILL);
}

#[test]
fn nothing_outlives_an_owner_that_is_interrupted() {
    ends_with(Signal::SIGINT);
}

#[test]
fn exec_hands_on_the_environment_and_the_exit_code() {
    let script =
        r#"test -n "$WEIR_KAFKA" -a -n "$WEIR_REGISTRY" -a -n "$WEIR_POSTGRES" && exit 42"#;
    let status = Command::new(env!("CARGO_BIN_EXE_weir-stack"))
        .args(["exec", "--", "sh", "-c", script])
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(42));
}

/// Starts `weir-stack up` as a process of its own and ends it with `signal`.
fn ends_with(signal: Signal) {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("env");
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir-stack"));
    command
        .args(["up", "--env-file"])
        .arg(&file)
        .env("TMPDIR", temp.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    std::fs::set_permissions(temp.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711))
        .unwrap();
    let mut owner = command.spawn().unwrap();
    wait_until("the stack", Duration::from_secs(120), || file.exists().then_some(()));
    assert!(alive(temp.path()).len() >= 3, "{:?}", alive(temp.path()));

    kill(Pid::from_raw(i32::try_from(owner.id()).unwrap()), signal).unwrap();
    owner.wait().unwrap();
    wait_until("the end of all processes", GONE_WITHIN, || {
        alive(temp.path()).is_empty().then_some(())
    });
    let left = || {
        std::fs::read_dir(temp.path())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().path().is_dir())
            .count()
    };
    wait_until("the end of all data", GONE_WITHIN, || (left() == 0).then_some(()));
}

/// Command lines of living processes that mention `folder`, or run in it.
fn alive(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    let processes =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    let texts = processes.filter_map(|path| {
        let line =
            String::from_utf8_lossy(&std::fs::read(path.join("cmdline")).ok()?).replace('\0', " ");
        let cwd = std::fs::read_link(path.join("cwd"))
            .map(|cwd| cwd.to_string_lossy().into_owned())
            .unwrap_or_default();
        Some(format!("{line} (in {cwd})"))
            .filter(|text| !line.contains("weir-stack up") && text.contains(folder))
    });
    texts.collect()
}
