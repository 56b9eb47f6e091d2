//! `weir dead`: lists, shows and replays the records that could not be processed.
//!
//! Dead letters are in two places: those of producer and enricher in the dead-letter topic, those
//! of a sink in `weir.dead_letters` beside its table. Here they are one list.

mod filter;
mod list;
mod replay;
mod show;
mod text;

use anyhow::Result;
use std::process::ExitCode;

/// The subcommands of `weir dead`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Count the dead letters by stage and reason, or list them one by one.
    List(list::Args),
    /// Show one dead letter with everything that is known about it.
    Show(show::Args),
    /// Write the records of dead letters to the input topic again, each of them once.
    Replay(replay::Args),
}

/// Runs the subcommand.
///
/// # Errors
/// Mistakes in the file or on the command line; broker, registry or database unavailable.
pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    match args.command {
        Command::List(args) => list::run(args).await,
        Command::Show(args) => show::run(args).await,
        Command::Replay(args) => replay::run(args).await,
    }
}
