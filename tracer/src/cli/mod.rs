//! The command line: a file per command.

mod watch;

mod record;
mod replay;

mod diagnose;
mod report;

mod check;
mod diff;

mod export;

mod doctor;

mod filters;
mod kernel;
mod live;
mod output;
mod recorded;
mod screen;

use std::{env, io::ErrorKind, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::error::{Error, Result};

/// Shows what happens to TCP connections in the kernel, and which process it happened to.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Stream events as they happen.
    Watch(watch::Args),
    /// Name what is wrong, how that is known, and what to do.
    Diagnose(diagnose::Args),
    /// Say what happened, by process, peer and listener.
    Report(report::Args),
    /// Record a trace into a file, while a command runs or until it is ended.
    Record(record::Args),
    /// Show a recorded trace.
    Replay(replay::Args),
    /// Say what changed between recorded traces.
    Diff(diff::Args),
    /// Say whether a recorded trace keeps its budgets, for a CI job.
    Check(check::Args),
    /// Make a recorded trace readable for other programs.
    Export(export::Args),
    /// Say what works on this machine, and what is in the way.
    Doctor(doctor::Args),
}

/// Runs the program. Exit codes: 0 done, 1 a budget is violated, 2 usage, 3 no privilege or no kernel
/// support, 4 a check is inconclusive, 5 any other error; `record` has those of its command.
#[must_use]
pub fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(error) => return refused(&error),
    };
    let result = match command {
        Command::Watch(args) => watch::run(args).map(|()| ExitCode::SUCCESS),
        Command::Diagnose(args) => diagnose::run(args).map(|()| ExitCode::SUCCESS),
        Command::Report(args) => report::run(args).map(|()| ExitCode::SUCCESS),
        Command::Record(args) => record::run(args),
        Command::Replay(args) => replay::run(args).map(|()| ExitCode::SUCCESS),
        Command::Diff(args) => diff::run(args).map(|()| ExitCode::SUCCESS),
        Command::Check(args) => check::run(args).map(|outcome| ExitCode::from(outcome.exit_code())),
        Command::Export(args) => export::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Doctor(args) => doctor::run(&args),
    };
    match result {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

/// The command line is wrong, or asks for help. Around a command the code is none that the command could
/// have meant.
fn refused(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    let is_around = env::args_os().nth(1).is_some_and(|name| name == "record")
        && env::args_os().any(|argument| argument == "--");
    match u8::try_from(error.exit_code()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) if is_around => ExitCode::from(record::FAILED),
        code => ExitCode::from(code.unwrap_or(2)),
    }
}

fn fail(error: &Error) -> ExitCode {
    eprintln!("tcptrace: {error}");
    ExitCode::from(error.kind.exit_code())
}

/// A failure to write to a reader that has gone, as `head` does, is none: `None`.
fn unless_reader_left<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Err(error) if error.io == Some(ErrorKind::BrokenPipe) => Ok(None),
        result => result.map(Some),
    }
}
