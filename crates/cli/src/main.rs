//! `weir`: the operator's tool.

mod audit;
mod check;
mod dead;
mod files;
mod init;
mod run;
mod schema;
mod skip;
mod table;
mod topics;

use clap::Parser;
use std::process::ExitCode;
use weir_model::mistake::Mistakes;

/// The exit code for configuration mistakes (`EX_CONFIG`).
const CONFIGURATION: u8 = 78;

/// Records from Kafka into a warehouse, with nothing lost, doubled or stuck.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "A pipeline is one TOML file; every command but `init` and `schema` takes it as its \
        argument.\n\
    Start with: weir check deploy/pipelines/telecom.toml"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Write a first pipeline for files, guessed from a sample.
    Init(init::Args),
    /// Check the whole path of a pipeline before anything is deployed.
    Check(check::Args),
    /// Compare the counts of all services: is every record accounted for?
    Audit(audit::Args),
    /// Show the content of the topics and the lag of each service.
    Topics(topics::Args),
    /// Show positions outside their log, and accept the records lost there.
    Skip(skip::Args),
    /// List, show and replay the records that could not be processed.
    Dead(dead::Args),
    /// List the files of a sink that count, and delete what killed writers left.
    Files(files::Args),
    /// Run all services of one pipeline in this process.
    Run(run::Args),
    /// Register the pipeline's schemas, ask for compatibility, show differences.
    Schema(schema::Args),
}

/// Ends quietly when what reads the output has ended first, as in `weir dead list … | head`.
fn end_with_the_reader() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload().downcast_ref::<String>();
        if text.is_some_and(|text| text.starts_with("failed printing to stdout: Broken pipe")) {
            std::process::exit(0);
        }
        report(panic);
    }));
}

#[tokio::main]
async fn main() -> ExitCode {
    end_with_the_reader();
    let result = match Cli::parse().command {
        Command::Init(args) => init::run(&args),
        Command::Check(args) => check::run(args).await,
        Command::Audit(args) => audit::run(args).await,
        Command::Topics(args) => topics::run(args).await,
        Command::Skip(args) => skip::run(args).await,
        Command::Dead(args) => dead::run(args).await,
        Command::Files(args) => files::run(args).await,
        Command::Run(args) => run::run(args).await,
        Command::Schema(args) => schema::run(args).await,
    };
    result.unwrap_or_else(|error| {
        let mistakes = match error.downcast_ref::<weir_audit::Error>() {
            Some(weir_audit::Error::Mistakes(mistakes)) => Some(mistakes),
            _ => error.downcast_ref::<Mistakes>(),
        };
        if let Some(mistakes) = mistakes {
            eprint!("{mistakes}");
            return ExitCode::from(CONFIGURATION);
        }
        eprintln!("weir: {}", weir_service::start::chain(error.as_ref()));
        ExitCode::FAILURE
    })
}
