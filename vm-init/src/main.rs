//! The first process of a matrix VM. It sets the machine up, runs the tests of the plan, reports each on the console
//! and powers off. `init check NAME` instead runs one of the tests that it carries itself.

mod check;
mod machine;
mod modules;
mod runner;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use vm_init::plan::{self, Plan};
use vm_init::report::{Line, Outcome};

fn main() -> ExitCode {
    if std::process::id() == 1 {
        if let Err(error) = first_process() {
            say(&Line::Note {
                text: format!("the init failed: {error:#}"),
            });
        }
        machine::power_off();
        return ExitCode::FAILURE;
    }
    let name = std::env::args()
        .skip_while(|argument| argument != "check")
        .nth(1)
        .unwrap_or_default();
    match check::run(&name) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            exit_code(&error)
        }
    }
}

/// The tracer's own code where it did not start: 3 says that the kernel refused it.
fn exit_code(error: &anyhow::Error) -> ExitCode {
    let code = error
        .downcast_ref::<check::Refused>()
        .and_then(|refused| refused.0.code());
    code.and_then(|code| u8::try_from(code).ok())
        .filter(|code| *code != 0)
        .map_or(ExitCode::FAILURE, ExitCode::from)
}

fn first_process() -> Result<()> {
    machine::mount_all()?;
    say(&Line::Booted {
        release: machine::release()?,
    });
    machine::set_name("matrix")?;
    machine::loopback_up()?;
    let text =
        std::fs::read_to_string(plan::PATH).with_context(|| format!("reading {}", plan::PATH))?;
    let plan = Plan::parse(&text)?;
    for module in &plan.modules {
        if let Err(error) = modules::load(module) {
            say(&Line::Note {
                text: format!("{error:#}"),
            });
        }
    }
    let (mut passed, mut failed) = (0, 0);
    for test in &plan.tests {
        say(&Line::Begin {
            rung: test.rung.clone(),
            name: test.name.clone(),
        });
        let run = runner::run(test, &plan.env);
        if run.outcome == Outcome::Passed {
            passed += 1
        } else {
            failed += 1
        }
        for line in run.output.lines() {
            println!("    {line}");
        }
        say(&Line::End {
            rung: test.rung.clone(),
            name: test.name.clone(),
            outcome: run.outcome,
            took: run.took,
        });
    }
    say(&Line::Done { passed, failed });
    Ok(())
}

/// The leading line break ends whatever the kernel or a test left unfinished.
fn say(line: &Line) {
    println!("\n{line}");
}
