//! What the kernel left out: runs of a program that would have interrupted itself, and hits that a probe missed.

use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, RawFd},
};

use aya::{Ebpf, programs::Program};
use tracer_common::hook::Hook;

use super::{attach::Attached, ladder::Rung};

/// `bpf_prog_info.recursion_misses` of a rung's programs, as fdinfo shows it; 0 before 5.12, which skips
/// nothing.
pub(super) fn recursions(ebpf: &Ebpf, rung: &Rung) -> u64 {
    let programs = rung.programs.iter();
    programs
        .filter_map(|hooked| told(ebpf, hooked.program, "recursion_misses:"))
        .sum()
}

/// A number that the kernel shows of a loaded program, `kernel/bpf/syscall.c: bpf_prog_show_fdinfo`.
pub(super) fn told(ebpf: &Ebpf, program: &str, name: &str) -> Option<u64> {
    field(descriptor(ebpf.program(program)?)?.as_raw_fd(), name)
}

/// The descriptor of a loaded program.
fn descriptor(program: &Program) -> Option<BorrowedFd<'_>> {
    let fd = match program {
        Program::BtfTracePoint(program) => program.fd(),
        Program::TracePoint(program) => program.fd(),
        Program::FEntry(program) => program.fd(),
        Program::FExit(program) => program.fd(),
        Program::KProbe(program) => program.fd(),
        Program::Iter(program) => program.fd(),
        _ => return None,
    };
    Some(fd.ok()?.as_fd())
}

/// A number that the kernel shows of an own descriptor.
fn field(fd: RawFd, name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
    let mut values = text.lines().filter_map(|line| line.strip_prefix(name));
    values.next()?.trim().parse().ok()
}

/// The attached probes: they miss what hits them while another probe is handled on that CPU, and at a
/// function's return also when more tasks are inside it than there is room for.
#[derive(Debug)]
pub(super) struct Probes {
    links: Vec<(Hook, RawFd)>,
    /// Where the kernel's answer about a link has the number.
    place: Option<usize>,
}

impl Probes {
    /// Those of the rungs that were attached. `place` is `None` where the kernel does not tell.
    pub(super) fn of(ebpf: &Ebpf, attached: &[Attached], place: Option<u32>) -> Self {
        let mut links = Vec::new();
        for step in attached {
            for hooked in step.rung.programs {
                if let Some(Program::KProbe(probe)) = ebpf.program(hooked.program)
                    && let Ok(info) = probe.info()
                {
                    links.extend(links_of(info.id()).map(|link| (step.hook, link)));
                }
            }
        }
        Self {
            links,
            place: place.and_then(|place| place.try_into().ok()),
        }
    }

    /// How much the probes of a hook have missed.
    pub(super) fn missed(&self, hook: Hook) -> u64 {
        let Some(place) = self.place else { return 0 };
        self.links
            .iter()
            .filter(|(of, _)| *of == hook)
            .filter_map(|(_, link)| missed(*link, place))
            .sum()
    }
}

/// This process's descriptors of links to a program: `aya` has them, and does not hand them out.
fn links_of(program: u32) -> impl Iterator<Item = RawFd> {
    fs::read_dir("/proc/self/fdinfo")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(move |fd| {
            field(*fd, "link_id:").is_some() && field(*fd, "prog_id:") == Some(program.into())
        })
}

/// Asks for `struct bpf_link_info` and takes the number at `place`, bytes.
fn missed(link: RawFd, place: usize) -> Option<u64> {
    /// `include/uapi/linux/bpf.h: enum bpf_cmd`
    const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
    /// `union bpf_attr`, the member `info`.
    #[repr(C)]
    struct Attributes {
        fd: RawFd,
        len: u32,
        to: u64,
    }
    let mut info = [0_u8; 256];
    let attributes = Attributes {
        fd: link,
        len: 256,
        to: info.as_mut_ptr() as u64,
    };
    // SAFETY: the kernel reads `attributes` and writes at most `len` bytes to `info`, which both outlive the
    // call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_OBJ_GET_INFO_BY_FD,
            &raw const attributes,
            size_of::<Attributes>(),
        )
    };
    let number = info.get(place..place + 8)?.try_into().ok()?;
    (result == 0).then(|| u64::from_ne_bytes(number))
}
