//! The machine's whole file system: what was built, programs of this machine, kernel modules and the plan.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::BufWriter,
    path::Path,
};

use anyhow::{Context as _, Result};
use vm_init::plan::{self, Plan};

use super::{
    cpio::{Archive, Node},
    kernel::Kernel,
    payload::{Payload, WRAPPER},
    programs,
};

/// Folders that programs expect.
const FOLDERS: &[&str] = &[
    "/dev",
    "/etc",
    "/proc",
    "/run",
    "/sys",
    "/tmp",
    "/usr/bin",
    "/usr/lib",
    "/usr/lib64",
    "/usr/sbin",
    "/var/lib/nginx",
    "/var/log/nginx",
    "/var/tmp",
];

/// Debian has these names, too.
const LINKS: &[(&str, &str)] = &[
    ("/bin", "usr/bin"),
    ("/lib", "usr/lib"),
    ("/lib64", "usr/lib64"),
    ("/sbin", "usr/sbin"),
    ("/var/run", "/run"),
];

const ACCOUNTS: &str = "\
root:x:0:0:root:/tmp:/bin/sh
www-data:x:33:33:www-data:/tmp:/bin/false
nobody:x:65534:65534:nobody:/tmp:/bin/false
";
const GROUPS: &str = "root:x:0:
www-data:x:33:
nogroup:x:65534:
";
const HOSTS: &str = "127.0.0.1 localhost\n::1 localhost\n";

/// Writes the initramfs of one kernel.
pub(super) fn write(to: &Path, payload: &Payload, kernel: &Kernel, plan: &Plan) -> Result<()> {
    let mut tree = Tree::default();
    for folder in FOLDERS {
        tree.put(folder, Node::Folder);
    }
    for (path, target) in LINKS {
        tree.put(path, Node::Link((*target).to_owned()));
    }
    // The kernel opens it for the init before any file system is mounted.
    tree.put("/dev/console", Node::Device(5, 1));
    tree.put("/etc/passwd", Node::File(ACCOUNTS.into()));
    tree.put("/etc/group", Node::File(GROUPS.into()));
    tree.put("/etc/hosts", Node::File(HOSTS.into()));
    tree.put(plan::PATH, Node::File(plan.render()?.into_bytes()));
    let (path, wrapper) = WRAPPER;
    tree.put(path, Node::File(wrapper.into()));
    for built in payload.built.iter().filter(|built| built.is_for(plan)) {
        tree.copy(&built.file, &built.inside)?;
    }
    for module in &kernel.modules {
        tree.copy(&module.file, &module.inside)?;
    }
    for file in programs::files()? {
        tree.copy(&file, &file.to_string_lossy())?;
    }
    tree.write(to)
        .with_context(|| format!("writing the initramfs {}", to.display()))
}

/// Paths, without a leading slash, and what stands there.
#[derive(Default)]
struct Tree(BTreeMap<String, Node>);

impl Tree {
    fn put(&mut self, path: &str, node: Node) {
        let path = merged(path);
        let parents = path.match_indices('/').map(|(at, _)| path[..at].to_owned());
        for parent in parents {
            self.0.entry(parent).or_insert(Node::Folder);
        }
        self.0.insert(path, node);
    }

    fn copy(&mut self, from: &Path, to: &str) -> Result<()> {
        let data = fs::read(from).with_context(|| format!("reading {}", from.display()))?;
        self.put(to, Node::File(data));
        Ok(())
    }

    /// In the order of the paths, so that a folder comes before what is in it.
    fn write(&self, to: &Path) -> Result<()> {
        let mut archive = Archive::new(BufWriter::new(File::create(to)?));
        for (path, node) in &self.0 {
            archive.add(path, node)?;
        }
        archive.finish()?;
        Ok(())
    }
}

/// The path without the links of [`LINKS`] and without its leading slash: /lib/x is usr/lib/x.
fn merged(path: &str) -> String {
    let path = path.trim_start_matches('/');
    let linked = ["bin", "lib", "lib64", "sbin"].contains(&path.split('/').next().unwrap_or(path))
        && path.contains('/');
    if linked {
        format!("usr/{path}")
    } else {
        path.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_brings_the_folders_above_it_and_they_come_first() {
        let mut tree = Tree::default();
        tree.put("/lib/x86_64-linux-gnu/libc.so.6", Node::File(Vec::new()));
        let paths: Vec<&str> = tree.0.keys().map(String::as_str).collect();
        assert_eq!(
            paths,
            [
                "usr",
                "usr/lib",
                "usr/lib/x86_64-linux-gnu",
                "usr/lib/x86_64-linux-gnu/libc.so.6"
            ]
        );
    }

    #[test]
    fn a_link_of_the_root_stays_a_link() {
        let mut tree = Tree::default();
        tree.put("/bin", Node::Link("usr/bin".to_owned()));
        tree.put("/bin/ip", Node::File(Vec::new()));
        assert_eq!(tree.0.get("bin"), Some(&Node::Link("usr/bin".to_owned())));
        assert!(tree.0.contains_key("usr/bin/ip"));
    }
}
