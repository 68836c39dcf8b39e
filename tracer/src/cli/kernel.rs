//! How the kernel side is set up.

use clap::ValueEnum;

use crate::kernel::{filters::Filters, ladder::Means, session::Options};

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Kernel side")]
pub(super) struct KernelArgs {
    /// Bytes of the ring buffer of states and connections, a power of two
    #[arg(long, value_name = "BYTES", default_value_t = 8 << 20, value_parser = ring_size)]
    ring_size: u32,
    /// Bytes of the ring buffer of everything else, a power of two
    #[arg(long, value_name = "BYTES", default_value_t = 4 << 20, value_parser = ring_size)]
    rare_ring_size: u32,
    /// Sockets that can be known at once
    #[arg(long, value_name = "N", default_value_t = 131_072, value_parser = clap::value_parser!(u32).range(1..=16 << 20))]
    max_sockets: u32,
    /// Attach only this kind of hook, where a moment has it
    #[arg(long, value_enum, default_value_t = Attach::Auto)]
    attach: Attach,
    /// Pass over rungs of this name, as if the kernel refused them
    #[arg(long, value_name = "RUNG", hide = true)]
    refuse: Vec<String>,
    /// Show the kernel programs' own diagnostics, and the verifier's log when it refuses one
    #[arg(long, short)]
    verbose: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Attach {
    /// The best that the kernel takes
    Auto,
    /// Functions, through the trampoline (fentry, fexit)
    Fexit,
    /// Functions, by breakpoints (kprobe, kretprobe)
    Kprobe,
    /// Tracepoints
    Tracepoint,
}

impl Attach {
    const fn means(self) -> Option<Means> {
        match self {
            Self::Auto => None,
            Self::Fexit => Some(Means::Fexit),
            Self::Kprobe => Some(Means::Kprobe),
            Self::Tracepoint => Some(Means::Tracepoint),
        }
    }
}

fn ring_size(text: &str) -> Result<u32, String> {
    match text.parse::<u32>() {
        Ok(size) if size.is_power_of_two() && size >= 4096 => Ok(size),
        _ => Err("not a power of two of at least 4096".to_owned()),
    }
}

impl KernelArgs {
    pub(super) fn options(&self, filters: Filters) -> Options {
        Options {
            filters,
            ring_size: self.ring_size,
            rare_ring_size: self.rare_ring_size,
            max_sockets: self.max_sockets,
            means: self.attach.means(),
            refuse: self.refuse.clone(),
            facts: false,
            verbose: self.verbose,
        }
    }
}
