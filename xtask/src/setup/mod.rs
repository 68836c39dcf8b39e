//! `cargo xtask setup`: installs what is missing, and nothing else.

mod apt;
pub(crate) mod ebpf_toolchain;
mod linker;
mod need;
mod programs;
mod python;
mod rust;

use anyhow::{Result, bail};
use need::Need;

/// What the machine must be ready for; each but the first includes [`Scope::Build`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Build,
    Lint,
    Test,
    /// With [`Scope::Test`].
    Bench,
    All,
}

/// Installs what is missing for `scope`, and says for each step what is there.
///
/// # Errors
///
/// When something is missing that cannot be installed; the error says how to install it by hand.
pub(crate) fn ensure(scope: Scope) -> Result<()> {
    let missing = missing(scope);
    if !missing.is_empty() {
        apt::install(&missing)?;
    }
    rust::ensure()?;
    linker::ensure()?;
    let missing: Vec<_> = programs::missing(scope).collect();
    if !missing.is_empty() {
        bail!("still missing:\n{}", need::by_hand(&missing));
    }
    if matches!(scope, Scope::Test | Scope::All) {
        python::ensure()?;
    }
    if matches!(scope, Scope::Test | Scope::Bench | Scope::All) {
        step(
            "programs",
            "all those that are run beside tcptrace are there",
        );
    }
    Ok(())
}

/// The names of the programs that the tests run.
pub(crate) fn programs_of_tests() -> impl Iterator<Item = &'static str> {
    programs::of_tests()
}

fn missing(scope: Scope) -> Vec<Need> {
    let mut missing: Vec<_> = rust::missing()
        .into_iter()
        .chain(linker::missing())
        .collect();
    if matches!(scope, Scope::Lint | Scope::All) {
        missing.extend(rust::missing_clippy());
    }
    missing.extend(programs::missing(scope));
    if matches!(scope, Scope::Test | Scope::All) {
        missing.extend(python::missing());
    }
    missing
}

/// One line about a step, laid out like cargo's own.
fn step(name: &str, text: &str) {
    eprintln!("{name:>12} {text}");
}
