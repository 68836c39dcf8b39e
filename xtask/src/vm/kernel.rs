//! Gets one kernel: its image and the modules that the tests need, unpacked and kept for the next run.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{
    apt::{self, Mirror},
    command::stdout,
    modules::{WANTED, load_order, module_name, parse_dep},
    pick::{Candidate, candidates},
    series::Series,
};
use crate::process::run;

/// How many ways to get a kernel are tried: an index can name packages that the mirror no longer has.
const TRIES: usize = 4;

/// A kernel that is ready to boot.
pub(super) struct Kernel {
    /// `uname -r`.
    pub(super) release: String,
    /// The bzImage.
    pub(super) image: PathBuf,
    /// In the order in which they load; none when the mirror no longer has this kernel's.
    pub(super) modules: Vec<Module>,
}

/// A kernel module, not compressed.
pub(super) struct Module {
    pub(super) file: PathBuf,
    /// Where it stands in the initramfs.
    pub(super) inside: String,
}

/// Gets the kernel from the cache, else from the mirror.
pub(super) fn fetch(
    mirror: &mut Mirror,
    folder: &Path,
    series: Series,
    refresh: bool,
) -> Result<Kernel> {
    let kept = folder.join("kernels").join(series.to_string());
    if !refresh && let Some(kernel) = load(&kept)? {
        return Ok(kernel);
    }
    let candidates = candidates(mirror.names()?, series);
    ensure!(
        !candidates.is_empty(),
        "no suite of the mirror has a cloud kernel {series} for amd64"
    );
    // What was kept stays when no newer one can be had.
    for candidate in candidates.iter().take(TRIES) {
        match build(mirror, folder, &kept, candidate) {
            Ok(()) => return load(&kept)?.context("the kernel was kept and is gone"),
            Err(error) => eprintln!("{}: {error:#}", candidate.release),
        }
    }
    bail!("none of the first {TRIES} packages of a kernel {series} can be had")
}

/// Reads a kernel that was kept; `None` when there is none, or one with other modules than are wanted now.
fn load(kept: &Path) -> Result<Option<Kernel>> {
    let Ok(text) = fs::read_to_string(kept.join("kernel")) else {
        return Ok(None);
    };
    let mut lines = text.lines();
    let release = lines
        .next()
        .context("the kept kernel has no name")?
        .to_owned();
    if lines.next() != Some(WANTED.join(" ").as_str()) {
        return Ok(None);
    }
    let modules = lines
        .map(|name| Module {
            file: kept.join("modules").join(name),
            inside: format!("/vm/modules/{name}"),
        })
        .collect();
    Ok(Some(Kernel {
        release,
        image: kept.join("vmlinuz"),
        modules,
    }))
}

/// Fetches and unpacks the packages, and keeps what is needed of them. A kernel that was kept is replaced when the new one is there as a
/// whole.
fn build(mirror: &Mirror, folder: &Path, kept: &Path, candidate: &Candidate) -> Result<()> {
    let work = folder.join("unpack");
    remove(&work)?;
    let (debs, tree) = (work.join("debs"), work.join("tree"));
    mirror.download(&candidate.packages, &debs)?;
    for package in apt::packages_in(&debs)? {
        run(Command::new("dpkg-deb").arg("-x").arg(package).arg(&tree))?;
    }
    let release = &candidate.release;
    // Older packages have /lib, newer ones /usr/lib.
    let root = if tree.join("usr/lib/modules").is_dir() {
        tree.join("usr")
    } else {
        tree.clone()
    };
    let modules = root.join("lib/modules").join(release);
    let image = [
        tree.join(format!("boot/vmlinuz-{release}")),
        modules.join("vmlinuz"),
    ]
    .into_iter()
    .find(|image| image.is_file())
    .with_context(|| format!("the packages of {release} have no kernel image"))?;

    let order = if modules.join("kernel").is_dir() {
        // The packages leave modules.dep to their installation. depmod warns of lists that it does not need.
        stdout(
            Command::new("/sbin/depmod")
                .arg("-b")
                .arg(&root)
                .arg(release),
        )?;
        let dep = modules.join("modules.dep");
        let dep = fs::read_to_string(&dep).with_context(|| format!("reading {}", dep.display()))?;
        load_order(&parse_dep(&dep), WANTED)
    } else {
        eprintln!(
            "{release}: the mirror no longer has its modules, so tests that need one are left out"
        );
        Vec::new()
    };

    let new = work.join("kept");
    fs::create_dir_all(new.join("modules"))
        .with_context(|| format!("making the folder {}", new.display()))?;
    fs::copy(&image, new.join("vmlinuz")).context("keeping the kernel image")?;
    let mut text = format!("{release}\n{}\n", WANTED.join(" "));
    for file in order {
        let name = format!("{}.ko", module_name(&file));
        keep_module(&modules.join(&file), &new.join("modules").join(&name))?;
        text.push_str(&name);
        text.push('\n');
    }
    fs::write(new.join("kernel"), text).context("keeping the list of modules")?;
    replace(kept, &new)?;
    remove(&work)
}

/// Puts a folder in another's place, which need not be there.
fn replace(old: &Path, new: &Path) -> Result<()> {
    remove(old)?;
    if let Some(parent) = old.parent() {
        fs::create_dir_all(parent)
            .with_context(|| format!("making the folder {}", parent.display()))?;
    }
    fs::rename(new, old).with_context(|| format!("moving {} to {}", new.display(), old.display()))
}

fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("removing {}", folder.display()))?;
    }
    Ok(())
}

/// Copies a module. The init loads plain ones only: kernels before 5.17 unpack none themselves.
fn keep_module(from: &Path, to: &Path) -> Result<()> {
    let mut plain = from.to_path_buf();
    if from.extension().is_some_and(|extension| extension == "xz") {
        stdout(Command::new("xz").arg("-dk").arg(from))?;
        plain.set_extension("");
    }
    fs::copy(&plain, to).with_context(|| format!("copying {}", plain.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_was_kept_stays_until_the_new_one_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let (kept, new) = (
            folder.path().join("kernels/6.12"),
            folder.path().join("new"),
        );
        for release in ["6.12.1", "6.12.2"] {
            fs::create_dir(&new).unwrap();
            fs::write(
                new.join("kernel"),
                format!("{release}\n{}\n", WANTED.join(" ")),
            )
            .unwrap();
            replace(&kept, &new).unwrap();
            assert_eq!(load(&kept).unwrap().unwrap().release, release);
        }
        // The mirror gives nothing.
        let mirror = Mirror::new(folder.path());
        let candidate = Candidate {
            release: "6.12.3".to_owned(),
            packages: vec!["no-such-package".to_owned()],
        };
        assert!(build(&mirror, folder.path(), &kept, &candidate).is_err());
        assert_eq!(load(&kept).unwrap().unwrap().release, "6.12.2");
    }
}
