//! The kernel's lockdown, which can forbid programs to read its memory.

use std::{fs, io};

use crate::error::{Error, Result};

/// Where the kernel shows it.
pub const FILE: &str = "/sys/kernel/security/lockdown";

/// How much is locked down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lockdown {
    /// Nothing.
    None,
    /// Nobody may change the running kernel.
    Integrity,
    /// Nor read its memory, so no program may either (`LOCKDOWN_BPF_READ_KERNEL`).
    Confidentiality,
}

/// The level in force.
///
/// # Errors
///
/// When the kernel does not show it: securityfs is not mounted, or the kernel has no lockdown.
pub fn level() -> io::Result<Lockdown> {
    fs::read_to_string(FILE).map(|text| parse(&text))
}

/// The level in brackets is the one in force: `none [integrity] confidentiality`.
fn parse(text: &str) -> Lockdown {
    if text.contains("[confidentiality]") {
        Lockdown::Confidentiality
    } else if text.contains("[integrity]") {
        Lockdown::Integrity
    } else {
        Lockdown::None
    }
}

/// Fails where it is known that the kernel will refuse every program.
///
/// # Errors
///
/// Under confidentiality.
pub(super) fn require() -> Result<()> {
    if level().is_ok_and(|level| level == Lockdown::Confidentiality) {
        return Err(Error::unsupported(
            "the kernel is locked down (confidentiality), so no program may read its memory",
            "boot without lockdown=confidentiality; lockdown=integrity does not matter",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_in_brackets_is_in_force() {
        assert_eq!(parse("[none] integrity confidentiality\n"), Lockdown::None);
        assert_eq!(
            parse("none [integrity] confidentiality\n"),
            Lockdown::Integrity
        );
        assert_eq!(
            parse("none integrity [confidentiality]\n"),
            Lockdown::Confidentiality
        );
    }
}
