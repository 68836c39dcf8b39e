//! Network namespaces. They have no name, so the kernel removes them with the last descriptor, also after a panic.

use std::{
    fs::{self, File},
    io::Write as _,
    os::{
        fd::AsRawFd as _,
        unix::{fs::MetadataExt as _, process::CommandExt as _},
    },
    process::{Command, Stdio},
    thread,
};

use nix::sched::{CloneFlags, setns, unshare};

use crate::{need_program, require_root, wait};

/// A network namespace of the test's own, with `lo` up and the congestion control of textbooks (`reno`).
pub struct Netns {
    file: File,
}

impl Netns {
    /// Makes a namespace.
    #[expect(
        clippy::new_without_default,
        reason = "it makes something in the kernel"
    )]
    pub fn new() -> Self {
        require_root();
        let file = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("unshare a network namespace");
            File::open("/proc/thread-self/ns/net").expect("open the new namespace")
        })
        .join()
        .expect("make a namespace");
        let netns = Self { file };
        netns.ip("link set lo up");
        netns.sysctl("net.ipv4.tcp_congestion_control", "reno");
        netns
    }

    /// The same namespace again.
    pub fn another(&self) -> Self {
        Self {
            file: self.file.try_clone().expect("duplicate a descriptor"),
        }
    }

    /// The inode number, which is the namespace's name in events.
    pub fn inode(&self) -> u64 {
        self.file.metadata().expect("stat a namespace").ino()
    }

    /// A path that stands for the namespace as long as this process lives.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    /// Runs `work` in a thread inside the namespace; threads that it starts are inside too.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    setns(&self.file, CloneFlags::CLONE_NEWNET).expect("enter a namespace");
                    work()
                })
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A command that will run inside the namespace.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let file = self.file.try_clone().expect("duplicate a descriptor");
        // SAFETY: the closure makes system calls only, on a descriptor that it owns and on no memory, and allocates nothing.
        unsafe {
            command.pre_exec(move || {
                setns(&file, CloneFlags::CLONE_NEWNET)?;
                // What the test was started with is nothing to the program: a test of descriptors counts them all. Before 5.11
                // the kernel does not know the flag.
                libc::close_range(3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC as i32);
                Ok(())
            });
        }
        command
    }

    /// A command that a shell will run inside, once it has set its own limits of descriptors, as an init script does.
    pub fn limited_command(
        &self,
        soft: u64,
        hard: u64,
        program: impl AsRef<std::ffi::OsStr>,
    ) -> Command {
        let mut command = self.command(need_program("sh", "dash"));
        command
            .args([
                "-c",
                &format!("ulimit -Sn {soft}; ulimit -Hn {hard}; exec \"$@\""),
            ])
            .arg("sh")
            .arg(program);
        command
    }

    /// Runs `ip ARGS` inside.
    pub fn ip(&self, arguments: &str) {
        let mut command = self.command(need_program("ip", "iproute2"));
        let output = command
            .args(arguments.split_whitespace())
            .output()
            .expect("start ip");
        assert!(
            output.status.success(),
            "ip {arguments}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Loads an nftables script inside.
    pub fn nft(&self, script: &str) {
        let mut command = self.command(need_program("nft", "nftables"));
        let mut child = command
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start nft");
        child
            .stdin
            .take()
            .expect("piped")
            .write_all(script.as_bytes())
            .expect("write to nft");
        let output = child.wait_with_output().expect("wait for nft");
        assert!(
            output.status.success(),
            "nft {script}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Drops what matches `rule` as it arrives, until [`Netns::nft_clear`].
    pub fn drop_incoming(&self, rule: &str) {
        self.drop_at("input", rule);
    }

    /// Drops what matches `rule` as it leaves: the local firewall's doing.
    pub fn drop_outgoing(&self, rule: &str) {
        self.drop_at("output", rule);
    }

    fn drop_at(&self, hook: &str, rule: &str) {
        self.nft(&format!(
            "add table inet loss
             add chain inet loss {hook} {{ type filter hook {hook} priority 0; }}
             add rule inet loss {hook} {rule} counter drop\n"
        ));
    }

    /// Removes every rule.
    pub fn nft_clear(&self) {
        self.nft("flush ruleset");
    }

    /// Sets `name` (with dots) to `value` in the namespace.
    pub fn sysctl(&self, name: &str, value: &str) {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        self.run(|| fs::write(&path, value))
            .unwrap_or_else(|error| panic!("write {value} to {path}: {error}"));
    }

    /// One of the kernel's counters of this namespace, by the name that `nstat` gives it (`TcpRetransSegs`).
    pub fn counter(&self, name: &str) -> u64 {
        let text = self.run(|| {
            ["netstat", "snmp"]
                .map(|file| {
                    fs::read_to_string(format!("/proc/thread-self/net/{file}"))
                        .expect("read the counters")
                })
                .concat()
        });
        let lines: Vec<&str> = text.lines().collect();
        lines
            .chunks(2)
            .filter_map(|pair| {
                let (prefix, names) = pair[0].split_once(": ")?;
                let values = pair[1].split_once(": ")?.1;
                names
                    .split(' ')
                    .zip(values.split(' '))
                    .find(|(short, _)| format!("{prefix}{short}") == name)
            })
            .map(|(_, value)| value.parse().expect("a number"))
            .next()
            .unwrap_or_else(|| panic!("the kernel has no counter {name}"))
    }

    /// Sockets in TIME_WAIT, from `/proc/net/sockstat`.
    pub fn time_wait_sockets(&self) -> u64 {
        let text = self
            .run(|| fs::read_to_string("/proc/thread-self/net/sockstat").expect("read sockstat"));
        let mut words = text.split_whitespace().skip_while(|word| *word != "tw");
        words
            .nth(1)
            .and_then(|value| value.parse().ok())
            .expect("sockstat has tw")
    }

    /// Waits until every connection has ended, but for those in TIME_WAIT: no counter changes any more.
    pub fn quiet(&self) {
        let mut left = String::new();
        let ended = wait::holds_within(*wait::DEADLINE, || {
            left = self.ss(&["-Htano", "state", "connected", "exclude", "time-wait"]);
            left.trim().is_empty()
        });
        assert!(ended, "connections that do not end:\n{left}");
    }

    /// The output of `ss ARGS` inside.
    pub fn ss(&self, arguments: &[&str]) -> String {
        let output = self
            .command(need_program("ss", "iproute2"))
            .args(arguments)
            .output()
            .expect("start ss");
        String::from_utf8(output.stdout).expect("ss prints text")
    }
}

/// Two namespaces joined by a veth pair.
pub struct Veth {
    /// The side with [`Veth::NEAR`].
    pub near: Netns,
    /// The side with [`Veth::FAR`].
    pub far: Netns,
}

impl Veth {
    /// The near side's IPv4 address.
    pub const NEAR: &str = "10.99.0.1";
    /// The far side's IPv4 address.
    pub const FAR: &str = "10.99.0.2";
    /// The near side's IPv6 address.
    pub const NEAR6: &str = "fd00:99::1";
    /// The far side's IPv6 address.
    pub const FAR6: &str = "fd00:99::2";

    /// Makes both namespaces and the pair, with addresses of both families.
    #[expect(
        clippy::new_without_default,
        reason = "it makes something in the kernel"
    )]
    pub fn new() -> Self {
        let (near, far) = (Netns::new(), Netns::new());
        join(&near, &far, "eth0", "eth0");
        for (netns, address, address6) in [
            (&near, Self::NEAR, Self::NEAR6),
            (&far, Self::FAR, Self::FAR6),
        ] {
            netns.ip(&format!("addr add {address}/24 dev eth0"));
            netns.ip(&format!("addr add {address6}/64 dev eth0 nodad"));
        }
        Self { near, far }
    }
}

impl Netns {
    /// Joins two namespaces with a veth pair whose ends are `here` (in `self`) and `there`, both up.
    pub fn join(&self, other: &Self, here: &str, there: &str) {
        join(self, other, here, there);
    }
}

fn join(a: &Netns, b: &Netns, here: &str, there: &str) {
    a.ip(&format!(
        "link add {here} type veth peer name {there} netns {}",
        b.path()
    ));
    a.ip(&format!("link set {here} up"));
    b.ip(&format!("link set {there} up"));
}
