//! A running trace: programs loaded and attached, rings and maps open.

use std::{
    collections::BTreeMap,
    fs,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd},
    thread,
};

use anyhow::Context as _;
use aya::{
    Btf, Ebpf, EbpfLoader, VerifierLogLevel,
    maps::{Array, HashMap, LpmTrie, MapData, PerCpuArray, RingBuf, lpm_trie::Key},
    programs::Program,
};
use tracer_common::{
    config::Config,
    conn::Address,
    fields::Fields,
    hook::{Counters, Hook},
    process::{Process, ProcessKey},
    storm::{FdKey, Storm, TwKey},
};

use super::{
    attach::{Attached, Climber, mount_tracefs},
    btf::KernelTypes,
    caps,
    counters::HookRow,
    filters::{Filters, comm_key, trie_key},
    known,
    ladder::{LADDER, Means},
    lockdown,
    object::OBJECT,
    ring::Rings,
    scan, sock_diag,
};
use crate::{
    decode::{DecodeError, Record},
    error::{Error, Result},
};

/// Sizes, and how much the kernel says when it refuses a program.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is wanted.
    pub filters: Filters,
    /// Bytes of the ring of states and connections, a power of two and at least a page.
    pub ring_size: u32,
    /// Bytes of the ring of rare records, likewise.
    pub rare_ring_size: u32,
    /// Sockets that can be known at once.
    pub max_sockets: u32,
    /// Attach only rungs that rest on this, where a moment has any.
    pub means: Option<Means>,
    /// Rungs to pass over, by name: what a kernel that refuses them would do.
    pub refuse: Vec<String>,
    /// Show the programs' own diagnostics, and the verifier's log when it refuses one.
    pub verbose: bool,
}

/// A running trace. Dropping it detaches everything.
pub struct Session {
    ebpf: Ebpf,
    rings: Rings,
    attached: Vec<Attached>,
    /// Where sock_diag finds the sockets that exist: what it is to let in.
    by_sock_diag: Option<Filters>,
    /// Processes that it found and that nobody has asked for yet.
    newcomers: Vec<(ProcessKey, [u8; 16])>,
    reset_reasons: BTreeMap<u32, String>,
    us_per_jiffy: Option<f64>,
}

impl Session {
    /// Loads and attaches everything, then walks the sockets that exist.
    ///
    /// # Errors
    ///
    /// Without privilege, without BTF, when a field is missing or the kernel refuses a program.
    pub fn start(options: &Options) -> Result<Self> {
        require_capabilities()?;
        lockdown::require()?;
        // Both parsers take a while over the kernel's types.
        let other = thread::spawn(Btf::from_sys_fs);
        let types = KernelTypes::read()?;
        let mut config = config(&types, &options.filters);
        let fields = types.fields()?;
        let btf = other
            .join()
            .map_err(|_| anyhow::anyhow!("the thread that reads the kernel's types failed"))?
            .context("the kernel's types can't be read")?;

        let mut ebpf = load(&btf, &fields, &config, options)?;
        mount_tracefs()?;
        let climb = |ebpf: &mut Ebpf, step| {
            let mut climber = Climber {
                ebpf,
                btf: &btf,
                types: &types,
                means: options.means,
                refuse: &options.refuse,
                is_verbose: options.verbose,
            };
            climber.climb(step)
        };
        let mut owners = None;
        for step in LADDER.iter().filter(|step| step.hook == Hook::TaskFile) {
            owners = Some(climb(&mut ebpf, step)?);
        }
        let by_sock_diag = owners
            .as_ref()
            .is_some_and(|owners| owners.rung.name == sock_diag::RUNG);
        if by_sock_diag {
            sock_diag::check().map_err(no_sock_diag)?;
            // The programs must know from the start.
            config.sock_diag = 1;
            ebpf = load(&btf, &fields, &config, options)?;
        }
        fill_filters(&mut ebpf, &options.filters)?;
        let unknown = Process::default();
        map::<_, HashMap<_, ProcessKey, Process>>(&mut ebpf, "PROCESSES")?
            .insert(ProcessKey::UNKNOWN, unknown, 0)
            .context("map PROCESSES")?;

        let rings = Rings::new(
            take_ring(&mut ebpf, "EVENTS")?,
            take_ring(&mut ebpf, "RARE")?,
        );
        let mut attached = Vec::new();
        let mut newcomers = Vec::new();
        for step in LADDER {
            if step.hook == Hook::State && by_sock_diag {
                newcomers = scan::by_sock_diag(&mut ebpf, &options.filters, true)?;
            }
            attached.push(match owners.take_if(|owners| owners.hook == step.hook) {
                Some(owners) => owners,
                None => climb(&mut ebpf, step)?,
            });
        }
        let is_exact = attached
            .iter()
            .any(|step| step.hook == Hook::TimeWaitOverflow && !step.rung.programs.is_empty());
        map::<_, Array<_, u32>>(&mut ebpf, "TW_EXACT")?
            .set(0, u32::from(is_exact), 0)
            .context("map TW_EXACT")?;
        let mut session = Self {
            ebpf,
            rings,
            attached,
            by_sock_diag: by_sock_diag.then(|| options.filters.clone()),
            newcomers,
            reset_reasons: types.names_of("sk_rst_reason"),
            us_per_jiffy: None,
        };
        session.us_per_jiffy = session.calibrate()?;
        Ok(session)
    }

    /// The hooks and their rungs.
    #[must_use]
    pub fn attached(&self) -> &[Attached] {
        &self.attached
    }

    /// The kernel's names of the reasons of resets; empty on kernels that give none.
    #[must_use]
    pub const fn reset_reasons(&self) -> &BTreeMap<u32, String> {
        &self.reset_reasons
    }

    /// Microseconds of a jiffy; `None` when it could not be found out.
    #[must_use]
    pub const fn us_per_jiffy(&self) -> Option<f64> {
        self.us_per_jiffy
    }

    /// Descriptors that become readable when much waits.
    ///
    /// # Errors
    ///
    /// When the process has no descriptor left.
    pub fn wakers(&self) -> std::io::Result<[OwnedFd; 2]> {
        Ok([
            self.rings.events.as_fd().try_clone_to_owned()?,
            self.rings.rare.as_fd().try_clone_to_owned()?,
        ])
    }

    /// Hands on the records that are ready, in the order of time, see [`super::clock::now`]. With
    /// `u64::MAX` all are. Returns whether more may wait.
    ///
    /// # Errors
    ///
    /// When a record is malformed: the object and this program do not belong together.
    pub fn drain(
        &mut self,
        now: u64,
        on: impl FnMut(Record),
    ) -> std::result::Result<bool, DecodeError> {
        self.rings.drain(now, on)
    }

    /// Hands over the processes that sock_diag found since the last time: unlike the iterator the
    /// kernel describes them only when they do something.
    pub fn newcomers(&mut self) -> Vec<(ProcessKey, [u8; 16])> {
        std::mem::take(&mut self.newcomers)
    }

    /// Walks the open files: gives the sockets of ended processes to those that hold them now, and
    /// settles missed retransmits.
    ///
    /// # Errors
    ///
    /// When the iterator can't be read.
    pub fn scan(&mut self) -> anyhow::Result<()> {
        let Some(filters) = &self.by_sock_diag else {
            return scan::walk(&mut self.ebpf, "task_file");
        };
        let found = scan::by_sock_diag(&mut self.ebpf, filters, false)?;
        self.newcomers.extend(found);
        Ok(())
    }

    /// Finds the sockets that exist, and how long a jiffy is: the kernel shows the timeout of a fresh
    /// socket of ours in jiffies to the walk and in microseconds to `TCP_INFO`.
    fn calibrate(&mut self) -> Result<Option<f64>> {
        use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
        let own = socket(
            AddressFamily::Inet,
            SockType::Stream,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
        .ok();
        self.scan().map_err(|error| {
            Error::unsupported(
                format!("the sockets that exist can't be walked: {error:#}"),
                "the kernel needs CONFIG_BPF_SYSCALL with BPF iterators (5.10 and later have them)",
            )
        })?;
        let jiffies = map::<_, Array<_, u32>>(&mut self.ebpf, "OWN_RTO")?
            .get(&0, 0)
            .unwrap_or(0);
        if self.by_sock_diag.is_some() {
            return Ok(us_per_jiffy());
        }
        let us = own.and_then(|socket| rto_us(socket.as_raw_fd()));
        Ok(match (us, jiffies) {
            (Some(us), 1..) => Some(f64::from(us) / f64::from(jiffies)),
            _ => None,
        })
    }

    /// Each hook's counters, summed over CPUs, and what the kernel skipped.
    ///
    /// # Errors
    ///
    /// When the map can't be read.
    pub fn counters(&mut self) -> anyhow::Result<Vec<HookRow>> {
        let rows = PerCpuArray::<_, Counters>::try_from(
            self.ebpf.map("COUNTERS").context("map COUNTERS")?,
        )?;
        let mut result = Vec::new();
        for hook in Hook::ALL {
            let counters = rows
                .get(&(hook as u32), 0)?
                .iter()
                .fold(Counters::default(), |sum, cpu| sum.plus(cpu));
            let attached = self.attached.iter().find(|attached| attached.hook == hook);
            let skipped = attached.map_or(0, |attached| {
                let programs = attached.rung.programs.iter();
                programs.map(|hooked| self.skipped(hooked.program)).sum()
            });
            let rung = attached.map(|attached| attached.rung.name);
            result.push(HookRow::new(hook.name(), rung, skipped, &counters));
        }
        Ok(result)
    }

    /// `bpf_prog_info.recursion_misses`, as fdinfo shows it; 0 before 5.12, which skips nothing.
    fn skipped(&self, program: &str) -> u64 {
        let fd = match self.ebpf.program(program) {
            Some(Program::BtfTracePoint(program)) => program.fd().map(|fd| fd.as_fd_raw()),
            Some(Program::TracePoint(program)) => program.fd().map(|fd| fd.as_fd_raw()),
            Some(Program::FEntry(program)) => program.fd().map(|fd| fd.as_fd_raw()),
            Some(Program::FExit(program)) => program.fd().map(|fd| fd.as_fd_raw()),
            Some(Program::KProbe(program)) => program.fd().map(|fd| fd.as_fd_raw()),
            Some(Program::Iter(program)) => program.fd().map(|fd| fd.as_fd_raw()),
            _ => return 0,
        };
        let Ok(fd) = fd else { return 0 };
        fs::read_to_string(format!("/proc/self/fdinfo/{fd}"))
            .ok()
            .and_then(|text| {
                text.lines()
                    .find_map(|line| line.strip_prefix("recursion_misses:"))
                    .and_then(|number| number.trim().parse().ok())
            })
            .unwrap_or(0)
    }

    /// The processes that the kernel programs know.
    ///
    /// # Errors
    ///
    /// When the map can't be read.
    pub fn processes(&mut self) -> anyhow::Result<Vec<(ProcessKey, Process)>> {
        entries(&mut self.ebpf, "PROCESSES")
    }

    /// One of them.
    pub fn process(&mut self, key: &ProcessKey) -> Option<Process> {
        map::<_, HashMap<_, ProcessKey, Process>>(&mut self.ebpf, "PROCESSES")
            .ok()?
            .get(key, 0)
            .ok()
    }

    /// Forgets a process that ended and owns no socket.
    pub fn forget(&mut self, key: &ProcessKey) {
        if let Ok(mut processes) =
            map::<_, HashMap<_, ProcessKey, Process>>(&mut self.ebpf, "PROCESSES")
        {
            // It is gone already, or stays until the trace ends: neither changes a number.
            let _ = processes.remove(key);
        }
    }

    /// Descriptor failures so far.
    ///
    /// # Errors
    ///
    /// When the map can't be read.
    pub fn fd_storms(&mut self) -> anyhow::Result<Vec<(FdKey, Storm)>> {
        entries(&mut self.ebpf, "FD_STORMS")
    }

    /// Time-wait overflows so far.
    ///
    /// # Errors
    ///
    /// When the map can't be read.
    pub fn tw_storms(&mut self) -> anyhow::Result<Vec<(TwKey, Storm)>> {
        entries(&mut self.ebpf, "TW_STORMS")
    }

    /// Takes the reader of the programs' own diagnostics.
    ///
    /// # Errors
    ///
    /// When the object has none.
    pub fn logger(&mut self) -> anyhow::Result<aya_log::EbpfLogger<&'static dyn log::Log>> {
        Ok(aya_log::EbpfLogger::init(&mut self.ebpf)?)
    }
}

/// The raw number of a program's descriptor.
trait AsFdRaw {
    fn as_fd_raw(&self) -> RawFd;
}

impl<T: std::os::fd::AsFd> AsFdRaw for T {
    fn as_fd_raw(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

/// Makes the maps; programs are loaded one by one later.
fn load(btf: &Btf, fields: &Fields, config: &Config, options: &Options) -> Result<Ebpf> {
    let mut loader = EbpfLoader::new();
    loader
        .btf(Some(btf))
        .override_global("FIELDS", fields, true)
        .override_global("CONFIG", config, true)
        .map_max_entries("EVENTS", options.ring_size)
        .map_max_entries("RARE", options.rare_ring_size)
        .map_max_entries("CONNS", options.max_sockets);
    if config.sock_diag == 1 {
        loader.map_max_entries("COOKIES", options.max_sockets);
    }
    let level: u8 = if options.verbose { 4 } else { 0 };
    loader.override_global(aya_log::LEVEL, &level, false);
    loader.verifier_log_level(if options.verbose {
        VerifierLogLevel::STATS
    } else {
        VerifierLogLevel::DISABLE
    });
    loader.load(OBJECT).map_err(|error| {
        Error::unsupported(
            format!(
                "the kernel refuses the maps: {:#}",
                anyhow::Error::from(error)
            ),
            "tcptrace needs CAP_BPF and CAP_PERFMON, and on 5.10 a raised RLIMIT_MEMLOCK",
        )
    })
}

fn no_sock_diag(error: std::io::Error) -> Error {
    Error::unsupported(
        format!(
            "the sockets that exist can't be found: the kernel refuses the iterator, and sock_diag: {error}"
        ),
        "load the module tcp_diag, or use a kernel with CONFIG_INET_DIAG or BPF iterators",
    )
}

fn require_capabilities() -> Result<()> {
    let missing = caps::effective().map(caps::missing).unwrap_or_default();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::unsupported(
        format!(
            "loading eBPF programs needs root, or at least {}",
            missing.join(", ")
        ),
        "run it with sudo; `tcptrace doctor` tells what each is for",
    ))
}

fn config(types: &KernelTypes, filters: &Filters) -> Config {
    let has = |tracepoint, prototype| {
        u32::from(types.prototype_of_tracepoint(tracepoint).as_deref() == Some(prototype))
    };
    Config {
        events: filters.event_bits(),
        filters: filters.bits(),
        ring_mark: 1 << 20,
        rare_mark: 64 << 10,
        own_tgid: std::process::id(),
        task_pt_regs: u32::from(types.has_helper("task_pt_regs")),
        task_btf: u32::from(types.has_helper("get_current_task_btf")),
        guarded: u32::from(
            types
                .prototype_of_function("bpf_prog_inc_misses_counter")
                .is_some(),
        ),
        retransmit_err: has("tcp_retransmit_skb", known::RETRANSMIT_WITH_ERROR),
        reset_reason: has("tcp_send_reset", known::RESET_WITH_REASON),
        sock_diag: 0,
        pad: 0,
        cgroup: filters.cgroup.unwrap_or(0),
    }
}

/// As far as the clocks tell: the coarse ones move once a jiffy, `kernel/time/posix-timers.c:
/// posix_get_coarse_res`.
fn us_per_jiffy() -> Option<f64> {
    use nix::time::{ClockId, clock_getres};
    let tick = clock_getres(ClockId::CLOCK_MONOTONIC_COARSE).ok()?;
    Some(tick.tv_nsec() as f64 / 1e3)
}

/// The retransmission timeout that `TCP_INFO` shows, us.
fn rto_us(socket: RawFd) -> Option<u32> {
    // SAFETY: all zero is a value of this struct of integers.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut len = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to `info`.
    let result = unsafe {
        libc::getsockopt(
            socket,
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut len,
        )
    };
    (result == 0 && info.tcpi_rto != 0).then_some(info.tcpi_rto)
}

fn fill_filters(ebpf: &mut Ebpf, filters: &Filters) -> anyhow::Result<()> {
    let mut pids = map::<_, HashMap<_, u32, u8>>(ebpf, "PIDS")?;
    for pid in &filters.pids {
        pids.insert(pid, 1, 0).context("--pid: too many")?;
    }
    let mut comms = map::<_, HashMap<_, [u8; 16], u8>>(ebpf, "COMMS")?;
    for comm in &filters.comms {
        comms
            .insert(comm_key(comm), 1, 0)
            .context("--comm: too many")?;
    }
    let mut ports = map::<_, HashMap<_, u16, u8>>(ebpf, "PORTS")?;
    for port in &filters.ports {
        ports.insert(port, 1, 0).context("--port: too many")?;
    }
    let mut netns = map::<_, HashMap<_, u32, u8>>(ebpf, "NETNS")?;
    for inode in &filters.netns {
        netns.insert(inode, 1, 0).context("--netns: too many")?;
    }
    let mut cidrs = map::<_, LpmTrie<_, Address, u8>>(ebpf, "CIDRS")?;
    for net in &filters.cidrs {
        let (prefix, address) = trie_key(net);
        cidrs
            .insert(&Key::new(prefix, address), 1, 0)
            .context("--cidr: too many")?;
    }
    Ok(())
}

/// Opens a map as its type.
pub(super) fn map<'a, E, T>(ebpf: &'a mut Ebpf, name: &str) -> anyhow::Result<T>
where
    T: TryFrom<&'a mut aya::maps::Map, Error = E>,
    E: std::error::Error + Send + Sync + 'static,
{
    let map = ebpf
        .map_mut(name)
        .with_context(|| format!("no map {name} in the eBPF object"))?;
    T::try_from(map).with_context(|| format!("map {name}"))
}

fn take_ring(ebpf: &mut Ebpf, name: &str) -> anyhow::Result<RingBuf<MapData>> {
    let map = ebpf
        .take_map(name)
        .with_context(|| format!("no map {name} in the eBPF object"))?;
    Ok(RingBuf::try_from(map)?)
}

fn entries<K: aya::Pod, V: aya::Pod>(ebpf: &mut Ebpf, name: &str) -> anyhow::Result<Vec<(K, V)>> {
    let map = map::<_, HashMap<_, K, V>>(ebpf, name)?;
    map.iter()
        .collect::<std::result::Result<_, _>>()
        .with_context(|| format!("map {name} can't be read"))
}
