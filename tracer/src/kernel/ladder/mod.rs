//! The attach ladder: which hooks show which moment, best first.
//!
//! The table drives attaching, `tcptrace doctor` and README's table (a test compares them).

mod table;

use tracer_common::hook::Hook;

pub use self::table::LADDER;
use super::{btf::KernelTypes, known::Known};

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// A typed tracepoint, `tp_btf`.
    TpBtf(Known),
    /// At a function's entry, through the trampoline.
    FEntry(Known),
    /// At a function's return, through the trampoline.
    FExit(Known),
    /// At a function's entry, by a breakpoint.
    KProbe(Known),
    /// At a function's return, by a breakpoint.
    KRetProbe(Known),
    /// Classic tracepoints of the exits of system calls.
    SyscallExits {
        /// The calls; those that the kernel does not have are left out.
        calls: &'static [&'static str],
    },
    /// A BPF iterator.
    Iter {
        /// What it walks.
        over: &'static str,
    },
}

/// A program of the eBPF object and where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hooked {
    /// Its name in the object.
    pub program: &'static str,
    /// Where it goes.
    pub attach: Attach,
}

/// What a rung rests on, as `--attach` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// Functions, through the trampoline.
    Fexit,
    /// Functions, by breakpoints.
    Kprobe,
    /// Tracepoints, iterators, inference.
    Tracepoint,
}

/// One way to see a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rung {
    /// Its name in JSON and documentation.
    pub name: &'static str,
    /// What it rests on.
    pub means: Means,
    /// All of them are needed; none where the moment is inferred from other hooks.
    pub programs: &'static [Hooked],
}

/// A moment and the ways to see it, best first.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// The moment.
    pub hook: Hook,
    /// What it shows, for people.
    pub shows: &'static str,
    /// The ways to see it.
    pub rungs: &'static [Rung],
}

/// The program has the tracepoint's name.
impl Step {
    /// The rungs to try when `--attach` asks for a means: those that rest on it, or all where none does.
    pub fn choose(&self, means: Option<Means>) -> impl Iterator<Item = &'static Rung> {
        let rungs: &'static [Rung] = self.rungs;
        let has_it = rungs.iter().any(|rung| Some(rung.means) == means);
        rungs
            .iter()
            .filter(move |rung| !has_it || Some(rung.means) == means)
    }
}

/// A function or tracepoint as the running kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: &'static str,
    /// Its prototype; `None` when this kernel does not have it.
    pub prototype: Option<String>,
    /// Whether it is one of those known.
    pub is_known: bool,
    /// Whether the programs can rely on it.
    pub is_usable: bool,
}

impl Attach {
    /// What it relies on, as this kernel has it; `None` for what has no prototype of its own.
    #[must_use]
    pub fn relies_on(self, types: &KernelTypes) -> Option<Found> {
        let (known, prototype, is_tracepoint) = match self {
            Self::TpBtf(known) => (known, types.prototype_of_tracepoint(known.name), true),
            Self::FEntry(known)
            | Self::FExit(known)
            | Self::KProbe(known)
            | Self::KRetProbe(known) => (known, types.prototype_of_function(known.name), false),
            Self::SyscallExits { .. } | Self::Iter { .. } => return None,
        };
        let is_known = prototype.as_deref().is_some_and(|it| known.has(it));
        let begins = |it| is_tracepoint && known.begins(it);
        Some(Found {
            name: known.name,
            is_known,
            is_usable: is_known || prototype.as_deref().is_some_and(begins),
            prototype,
        })
    }
}

impl Hooked {
    /// What it is attached to, as people write it: `fexit/alloc_fd`.
    #[must_use]
    pub fn target(&self) -> String {
        match self.attach {
            Attach::TpBtf(tracepoint) => format!("tp_btf/{}", tracepoint.name),
            Attach::FEntry(function) => format!("fentry/{}", function.name),
            Attach::FExit(function) => format!("fexit/{}", function.name),
            Attach::KProbe(function) => format!("kprobe/{}", function.name),
            Attach::KRetProbe(function) => format!("kretprobe/{}", function.name),
            Attach::SyscallExits { calls: [call] } => format!("syscalls:sys_exit_{call}"),
            Attach::SyscallExits { calls } => {
                format!("syscalls:sys_exit_* of {} calls", calls.len())
            }
            Attach::Iter { over } => format!("iter/{over}"),
        }
    }
}

/// The ladder as README shows it: a row a moment, its rungs best first.
#[must_use]
pub fn markdown() -> String {
    let mut table = String::from("| moment | hook | rungs, best first |\n| --- | --- | --- |\n");
    for step in LADDER {
        let rungs: Vec<String> = step
            .rungs
            .iter()
            .map(|rung| {
                let targets: Vec<String> = rung
                    .programs
                    .iter()
                    .map(|hooked| format!("`{}`", hooked.target()))
                    .collect();
                if targets.is_empty() {
                    rung.name.to_owned()
                } else {
                    targets.join(" + ")
                }
            })
            .collect();
        table += &format!(
            "| {} | `{}` | {} |\n",
            step.shows,
            step.hook.name(),
            rungs.join(" → ")
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readme_shows_this_ladder() {
        let readme = include_str!("../../../../README.md");
        let table = markdown();
        assert!(
            readme.contains(&table),
            "README.md lacks this table:\n{table}"
        );
    }

    fn names(step: &Step, means: Option<Means>) -> Vec<&'static str> {
        step.choose(means).map(|rung| rung.name).collect()
    }

    #[test]
    fn a_forced_means_leaves_only_its_rungs_where_there_are_any() {
        for step in LADDER {
            let all: Vec<_> = step.rungs.iter().map(|rung| rung.name).collect();
            assert_eq!(names(step, None), all);
            if all.contains(&"fexit") {
                assert_eq!(names(step, Some(Means::Fexit)), ["fexit"]);
                assert_eq!(names(step, Some(Means::Kprobe)), ["kprobe"]);
                assert!(!names(step, Some(Means::Tracepoint)).contains(&"fexit"));
            } else {
                assert_eq!(names(step, Some(Means::Fexit)), all);
            }
        }
    }

    #[test]
    fn no_function_that_blocks_is_probed_at_its_return() {
        // A kretprobe has few slots: with many tasks asleep in the function, most calls are missed. None of these
        // waits for a peer or for another task; a new one is looked into first.
        const LOOKED_INTO: [&str; 6] = [
            "alloc_empty_file",
            "alloc_fd",
            "do_inotify_init",
            "inet_twsk_alloc",
            "tcp_v4_connect",
            "tcp_v6_connect",
        ];
        for hooked in LADDER
            .iter()
            .flat_map(|step| step.rungs)
            .flat_map(|rung| rung.programs)
        {
            if let Attach::KRetProbe(function) = hooked.attach {
                assert!(LOOKED_INTO.contains(&function.name), "{}", function.name);
            }
        }
    }
}
