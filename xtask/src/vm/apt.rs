//! The Debian archive, through apt with a sources list, a state folder and a cache of our own: nothing of the
//! machine's apt is changed. The mirror, and how to reach it, are those of the machine's own configuration.
//!
//! apt checks the signatures with the machine's Debian keyring. Debian 12's has the keys of 11 to 13 since 12.11; on an
//! older 12 its update is installed first.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::{
    command::stdout,
    series::{SUITES, Suite},
};
use crate::process::{as_root, run};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Is there when the keyring has Debian 13's keys.
const NEWEST_KEY: &str = "/usr/share/keyrings/debian-archive-trixie-automatic.gpg";

/// The archive. It is asked only when something has to be fetched.
pub(super) struct Mirror {
    folder: PathBuf,
    names: Option<Vec<String>>,
}

impl Mirror {
    /// The archive as seen from the state and the cache in `folder`.
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.join("apt"),
            names: None,
        }
    }

    /// The names of all kernel packages in all suites.
    pub(super) fn names(&mut self) -> Result<&[String]> {
        if self.names.is_none() {
            self.update()?;
        }
        let apt = self.apt("apt-cache");
        let list = |mut apt: Command| -> Result<Vec<String>> {
            let text = stdout(apt.args(["pkgnames", "linux-"]))?;
            Ok(text.lines().map(str::to_owned).collect())
        };
        match &mut self.names {
            Some(names) => Ok(names),
            empty @ None => Ok(empty.insert(list(apt)?)),
        }
    }

    /// Downloads packages into `folder`.
    pub(super) fn download(&self, packages: &[String], folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)
            .with_context(|| format!("making the folder {}", folder.display()))?;
        run(self
            .apt("apt-get")
            .args(["-qq", "download"])
            .args(packages)
            .current_dir(folder))
    }

    fn update(&self) -> Result<()> {
        if !Path::new(NEWEST_KEY).exists() {
            install(&["debian-archive-keyring"])?;
        }
        for folder in ["etc", "state/lists/partial", "cache/archives/partial"] {
            let folder = self.folder.join(folder);
            fs::create_dir_all(&folder)
                .with_context(|| format!("making the folder {}", folder.display()))?;
        }
        let list = self.folder.join("etc/sources.list");
        fs::write(&list, sources(&sites()?))
            .with_context(|| format!("writing {}", list.display()))?;
        // A suite that has left the mirror is an error here, and of the others all is there: what is missing is
        // said when a kernel is not found.
        if let Err(error) = run(self.apt("apt-get").args(["-qq", "update"])) {
            eprintln!("{error:#}");
        }
        Ok(())
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let mut option = |name: &str, value: &str| {
            command.arg("-o").arg(format!("{name}={value}"));
        };
        let own = |part: &str| self.folder.join(part).display().to_string();
        option("Dir::State", &own("state"));
        option("Dir::State::status", "/dev/null");
        option("Dir::Cache", &own("cache"));
        option("Dir::Etc::sourcelist", &own("etc/sources.list"));
        option("Dir::Etc::sourceparts", "/dev/null");
        option("Acquire::Languages", "none");
        option("Acquire::AllowInsecureRepositories", "false");
        option("APT::Get::AllowUnauthenticated", "false");
        // The folders are ours and not apt's own user's.
        option("APT::Sandbox::User", "root");
        command
    }
}

/// Installs Debian packages on this machine.
pub(super) fn install(packages: &[&str]) -> Result<()> {
    run(as_root("apt-get")?.args(["-qq", "update"]))?;
    run(as_root("apt-get")?
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args([
            "-qq",
            "install",
            "-y",
            "--no-install-recommends",
            "--no-remove",
            "-o",
            "DPkg::Lock::Timeout=300",
        ])
        .args(packages))
}

/// Where this machine gets Debian from.
#[derive(Debug, PartialEq, Eq)]
struct Sites {
    main: String,
    security: Option<String>,
}

fn sites() -> Result<Sites> {
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
fn sources(sites: &Sites) -> String {
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

/// The packages that a folder of downloads holds.
pub(super) fn packages_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut packages = Vec::new();
    for entry in
        fs::read_dir(folder).with_context(|| format!("reading the folder {}", folder.display()))?
    {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            packages.push(path);
        }
    }
    ensure!(
        !packages.is_empty(),
        "apt left no package in {}",
        folder.display()
    );
    Ok(packages)
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
