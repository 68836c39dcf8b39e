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
    sites::{self, sources},
};
use crate::process::{as_root, run};

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
        fs::write(&list, sources(&sites::of_this_machine()?))
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
