//! A running trace: programs loaded and attached, rings and maps open.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd as _, OwnedFd},
    thread,
};

use anyhow::Context as _;
use aya::{
    Btf, Ebpf,
    maps::{Array, HashMap},
};
use tracer_common::{
    hook::Hook,
    process::{Process, ProcessKey},
};

use super::{
    attach::{Attached, Climber, Tried},
    btf::KernelTypes,
    caps,
    drops::Drops,
    filters::Filters,
    ladder::{LADDER, Means},
    load::{config, fill_filters, load, map, take_ring},
    lockdown,
    misses::Probes,
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
    /// Read facts beside the events.
    pub facts: bool,
    /// Show the programs' own diagnostics, and the verifier's log when it refuses one.
    pub verbose: bool,
}

/// A running trace. Dropping it detaches everything.
pub struct Session {
    pub(super) ebpf: Ebpf,
    rings: Rings,
    pub(super) attached: Vec<Attached>,
    pub(super) probes: Probes,
    /// Where sock_diag finds the sockets that exist: what it is to let in.
    by_sock_diag: Option<Filters>,
    /// Processes that it found and that nobody has asked for yet.
    newcomers: Vec<(ProcessKey, [u8; 16])>,
    reset_reasons: BTreeMap<u32, String>,
    /// Watches dropped packets; `None` where nobody asked for facts, or it can't.
    pub(super) drops: Option<Drops>,
    /// Connections that turned out to be gone at the end, with no program run.
    pub(super) ended_unseen: u64,
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
        let drops = if options.facts {
            Drops::load(&mut ebpf, &btf, &types)
        } else {
            None
        };
        let mut session = Self {
            drops,
            probes: Probes::of(&ebpf, &attached, types.missed_by_probe()),
            ebpf,
            rings,
            attached,
            by_sock_diag: by_sock_diag.then(|| options.filters.clone()),
            newcomers,
            reset_reasons: types.names_of("sk_rst_reason"),
            ended_unseen: 0,
        };
        session.scan().map_err(|error| {
            Error::unsupported(
                format!("the sockets that exist can't be walked: {error:#}"),
                "`tcptrace doctor` says what this machine allows",
            )
        })?;
        drop((types, btf));
        give_back_memory();
        Ok(session)
    }

    /// Tries each hook by itself, so that one that is refused hides no other, and detaches it again.
    ///
    /// # Errors
    ///
    /// When not even the maps can be made.
    pub fn probe(options: &Options) -> Result<Vec<Tried>> {
        require_capabilities()?;
        lockdown::require()?;
        let types = KernelTypes::read()?;
        let btf = Btf::from_sys_fs().context("the kernel's types can't be read")?;
        let config = config(&types, &options.filters);
        let mut ebpf = load(&btf, &types.fields()?, &config, options)?;
        let mut climber = Climber {
            ebpf: &mut ebpf,
            btf: &btf,
            types: &types,
            means: options.means,
            refuse: &options.refuse,
            is_verbose: options.verbose,
        };
        Ok(LADDER.iter().map(|step| climber.attempt(step)).collect())
    }

    /// Whether the reasons of dropped packets can be watched.
    #[must_use]
    pub const fn watches_drops(&self) -> bool {
        self.drops.is_some()
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
        on: impl FnMut(&Record),
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

    /// Takes the reader of the programs' own diagnostics.
    ///
    /// # Errors
    ///
    /// When the object has none.
    pub fn logger(&mut self) -> anyhow::Result<aya_log::EbpfLogger<&'static dyn log::Log>> {
        Ok(aya_log::EbpfLogger::init(&mut self.ebpf)?)
    }
}

/// The kernel's types have filled a hundred megabytes that the allocator would keep.
fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no precondition; it only returns free memory to the kernel.
    unsafe {
        libc::malloc_trim(0);
    }
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
    let hint = if caps::is_in_initial_user_namespace() == Some(false) {
        "run it outside of this user namespace: capabilities that are held in one do not count"
    } else {
        "run it with sudo; `tcptrace doctor` tells what each is for"
    };
    Err(Error::unsupported(
        format!(
            "loading eBPF programs needs root, or at least {}",
            missing.join(", ")
        ),
        hint,
    ))
}
