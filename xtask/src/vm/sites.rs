//! Where this machine gets Debian from, and the sources list that the matrix uses of it. No mirror is named here: it is
//! read from apt's own configuration.

use std::process::Command;

use anyhow::{Context as _, Result};

use super::{
    command::stdout,
    series::{SUITES, Suite},
};
use crate::process::{as_root, run};

/// The keys that every suite is checked with.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Where this machine gets Debian from.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sites {
    main: String,
    security: Option<String>,
}

/// Asks apt.
pub(super) fn of_this_machine() -> Result<Sites> {
    let ask = || {
        stdout(Command::new("apt-get").args([
            "indextargets",
            "--format",
            "$(SITE) $(RELEASE)",
            "Created-By: Packages",
        ]))
    };
    if let Some(sites) = read_sites(&ask()?) {
        return Ok(sites);
    }
    // apt tells only of lists that it has.
    run(as_root("apt-get")?.args(["-qq", "update"]))?;
    read_sites(&ask()?).context(
        "apt's configuration names no Debian archive (a suite called bookworm or trixie): the matrix kernels are \
         Debian's, so this needs a Debian machine",
    )
}

/// Reads lines of site and suite.
fn read_sites(text: &str) -> Option<Sites> {
    let is_debian = |suite: &str| {
        [
            "bullseye", "bookworm", "trixie", "forky", "sid", "stable", "testing",
        ]
        .contains(&suite)
    };
    let lines = || text.lines().filter_map(|line| line.split_once(' '));
    let (main, _) = lines().find(|(_, suite)| is_debian(suite))?;
    let security =
        lines().find(|(_, suite)| suite.strip_suffix("-security").is_some_and(is_debian));
    Some(Sites {
        main: main.to_owned(),
        security: security.map(|(site, _)| site.to_owned()),
    })
}

/// The sources list with every suite that the sites have.
pub(super) fn sources(sites: &Sites) -> String {
    let line = |suite: &Suite| {
        let site = if suite.security {
            sites.security.as_ref()?
        } else {
            &sites.main
        };
        let dated = if suite.archived {
            " check-valid-until=no"
        } else {
            ""
        };
        Some(format!(
            "deb [signed-by={KEYRING} target=Packages arch=amd64{dated}] {site} {} main\n",
            suite.name
        ))
    };
    SUITES.iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGETS: &str = "\
http://other.example/apt nodistro
http://mirror.example/debian bookworm
http://mirror.example/debian bookworm-updates
http://mirror.example/debian-security bookworm-security
";

    #[test]
    fn both_archives_are_found_among_other_sources() {
        let sites = read_sites(TARGETS).unwrap();
        assert_eq!(sites.main, "http://mirror.example/debian");
        assert_eq!(
            sites.security.as_deref(),
            Some("http://mirror.example/debian-security")
        );
    }

    #[test]
    fn a_machine_without_debian_has_no_sites() {
        assert_eq!(read_sites("http://other.example/apt nodistro\n"), None);
    }

    #[test]
    fn a_mirror_without_the_security_archive_gives_the_other_suites() {
        let list = sources(&Sites {
            main: "http://mirror.example/debian".to_owned(),
            security: None,
        });
        assert!(list.contains(" trixie-backports main\n"));
        assert!(!list.contains("security"));
    }

    #[test]
    fn every_source_is_signed_and_only_archived_ones_may_be_old() {
        for line in sources(&read_sites(TARGETS).unwrap()).lines() {
            assert!(line.contains(&format!("signed-by={KEYRING} ")), "{line}");
            assert_eq!(
                line.contains("check-valid-until=no"),
                line.contains(" bullseye"),
                "{line}"
            );
        }
    }
}
