//! Turns a bare kernel into a machine that tests can run on, and turns it off again.

use std::fs;

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};

/// File system type and mount point. The optional ones are not in every kernel, or are there already.
const MOUNTS: &[(&str, &str, Need)] = &[
    ("proc", "/proc", Need::Always),
    ("sysfs", "/sys", Need::Always),
    ("devtmpfs", "/dev", Need::Always),
    ("devpts", "/dev/pts", Need::Optional),
    ("tmpfs", "/dev/shm", Need::Optional),
    ("tmpfs", "/tmp", Need::Always),
    ("tmpfs", "/run", Need::Always),
    ("tmpfs", "/var/tmp", Need::Optional),
    ("bpf", "/sys/fs/bpf", Need::Always),
    ("cgroup2", "/sys/fs/cgroup", Need::Always),
    ("debugfs", "/sys/kernel/debug", Need::Optional),
    ("tracefs", "/sys/kernel/tracing", Need::Always),
    ("securityfs", "/sys/kernel/security", Need::Optional),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Always,
    Optional,
}

/// Mounts what tests and `tcptrace` read.
pub(crate) fn mount_all() -> Result<()> {
    for (kind, target, need) in MOUNTS {
        // Fails below /sys, where the kernel makes the mount points itself.
        let _ = fs::create_dir_all(target);
        match mount(
            Some(*kind),
            *target,
            Some(*kind),
            MsFlags::empty(),
            None::<&str>,
        ) {
            Ok(()) | Err(Errno::EBUSY) => {}
            Err(_) if *need == Need::Optional => {}
            Err(error) => {
                return Err(error).with_context(|| format!("mounting {kind} on {target}"));
            }
        }
    }
    Ok(())
}

/// Brings the loopback interface up; the kernel then gives it its addresses.
pub(crate) fn loopback_up() -> Result<()> {
    let path = "/sys/class/net/lo/flags";
    // IFF_UP | IFF_LOOPBACK
    fs::write(path, "0x9").with_context(|| format!("bringing lo up through {path}"))
}

/// Gives the machine a name.
pub(crate) fn set_name(name: &str) -> Result<()> {
    let path = "/proc/sys/kernel/hostname";
    fs::write(path, name).with_context(|| format!("writing {path}"))
}

/// `uname -r`.
pub(crate) fn release() -> Result<String> {
    let path = "/proc/sys/kernel/osrelease";
    let text = fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
    Ok(text.trim().to_owned())
}

/// Ends the machine. If even that fails the kernel panics on the exit of its first process, and QEMU ends too.
pub(crate) fn power_off() {
    // Lets the console drain what was written to it.
    nix::unistd::sync();
    let Err(error) = reboot(RebootMode::RB_POWER_OFF);
    eprintln!("powering off: {error}");
}
