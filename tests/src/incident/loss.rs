//! Segments that get lost: on the way, or in this host's own firewall.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::fd::{AsFd as _, AsRawFd as _},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::{Netns, Veth, need_program, program::Nginx};

/// The size of the page that is fetched.
const PAGE: usize = 4 << 20;

/// nginx with one large page, in `netns`.
pub fn nginx(netns: &Netns) -> Nginx {
    let nginx = Nginx::start(
        netns.command(Nginx::path()),
        "worker_processes 1; events { worker_connections 64; }",
        "",
        "listen 8080; root FOLDER;",
    );
    nginx.page("page", &vec![b'x'; PAGE]);
    nginx
}

/// Fetches the page from `host` as `curl` inside `netns` does, so many times; fails unless all of it arrives.
pub fn fetch(netns: &Netns, host: &str, times: usize) {
    for _ in 0..times {
        let mut command = netns.command(need_program("curl", "curl"));
        command.args(["--silent", "--fail", "--max-time", "30"]);
        let output = command
            .arg(format!("http://{host}:8080/page"))
            .output()
            .expect("run curl");
        assert!(output.status.success(), "curl: {}", output.status);
        assert_eq!(output.stdout.len(), PAGE, "curl's own count");
    }
}

/// nginx at the near host, and a far host whose own firewall drops five of a hundred segments with data. Of the same machine, as
/// containers are.
pub struct Firewall {
    /// The two hosts.
    pub veth: Veth,
    /// Who sends.
    pub nginx: Nginx,
}

impl Firewall {
    /// Starts nginx, with or without the rule.
    #[expect(clippy::new_without_default, reason = "it starts a program")]
    pub fn new() -> Self {
        let veth = Veth::new();
        for netns in [&veth.near, &veth.far] {
            // Segment by segment, so that what is dropped is one.
            netns.ip("link set eth0 gso_max_segs 1");
        }
        let nginx = nginx(&veth.near);
        veth.far
            .drop_incoming("tcp sport 8080 tcp flags & syn == 0 numgen random mod 100 < 5");
        Self { veth, nginx }
    }

    /// How many packets the rule has dropped, by its own counter.
    pub fn dropped(&self) -> u64 {
        let mut command = self.veth.far.command(need_program("nft", "nftables"));
        let output = command.args(["list", "ruleset"]).output().expect("run nft");
        let rules = String::from_utf8(output.stdout).expect("nft prints text");
        let mut words = rules
            .split_whitespace()
            .skip_while(|word| *word != "packets");
        let count = words.nth(1).expect("a counter");
        count.parse().expect("a number")
    }
}

/// Two hosts, and between them a path that loses packets: a process that passes them on, but not all.
pub struct LossyPath {
    /// The side with [`LossyPath::NEAR`].
    pub near: Netns,
    /// The side with [`LossyPath::FAR`].
    pub far: Netns,
    dropped: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    forwarder: Option<JoinHandle<()>>,
}

impl LossyPath {
    /// The near side's address.
    pub const NEAR: &str = "10.98.0.1";
    /// The far side's address.
    pub const FAR: &str = "10.98.0.2";

    /// Every `one_in`th packet with data from near to far gets lost.
    pub fn new(one_in: u64) -> Self {
        let (near, far) = (Netns::new(), Netns::new());
        let ends = [(&near, Self::NEAR), (&far, Self::FAR)].map(|(netns, address)| {
            let tun = netns.run(tun).expect("a tun device");
            netns.ip(&format!("addr add {address}/24 dev tun0"));
            netns.ip("link set tun0 up");
            tun
        });
        let (dropped, stop) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (counted, stopped) = (Arc::clone(&dropped), Arc::clone(&stop));
        let forwarder = thread::spawn(move || {
            forward(ends, one_in, &counted, &stopped).expect("pass packets on");
        });
        Self {
            near,
            far,
            dropped,
            stop,
            forwarder: Some(forwarder),
        }
    }

    /// How many packets were lost.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for LossyPath {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(forwarder) = self.forwarder.take() {
            let _ = forwarder.join();
        }
    }
}

/// Makes `tun0` in the calling thread's namespace.
fn tun() -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/net/tun")?;
    // SAFETY: all zeroes is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"tun0") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as i16;
    // SAFETY: the descriptor is open, and the request lives as long as the call.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw const request) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(file)
}

fn forward(
    mut ends: [File; 2],
    one_in: u64,
    dropped: &AtomicU64,
    stop: &AtomicBool,
) -> io::Result<()> {
    let mut packet = [0; 1 << 16];
    let mut with_data = 0;
    while !stop.load(Ordering::Relaxed) {
        let ready = {
            let mut waiting = ends
                .each_ref()
                .map(|end| PollFd::new(end.as_fd(), PollFlags::POLLIN));
            poll(&mut waiting, PollTimeout::from(50_u8))?;
            waiting.map(|end| end.any().unwrap_or(false))
        };
        for from in 0..2 {
            if !ready[from] {
                continue;
            }
            let length = ends[from].read(&mut packet)?;
            // From near to far, and longer than headers are.
            if from == 0 && length > 100 {
                with_data += 1;
                if with_data % one_in == 0 {
                    dropped.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
            }
            ends[1 - from].write_all(&packet[..length])?;
        }
    }
    Ok(())
}
