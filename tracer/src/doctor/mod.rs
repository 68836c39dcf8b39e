//! What this machine lets `tcptrace` do, and what is in the way.
//!
//! A check that could not be made says so: that is not a "no".

mod self_test;
pub mod text;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
};

use serde::Serialize;
use tracer_common::record::Kind;

use self::self_test::SelfTest;
use crate::{
    error::Error,
    kernel::{
        attach::{Attached, Refusal, Tried},
        btf::{KernelTypes, VMLINUX},
        caps::{self, NEEDS, Need},
        drops,
        filters::Filters,
        ladder::{LADDER, Step},
        lockdown::{self, Lockdown},
        netns, netstat,
        session::{Options, Session},
    },
};

/// Everything that was found out.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether tracing works here.
    pub ready: bool,
    /// Version of this program.
    pub version: &'static str,
    /// Release of the kernel.
    pub kernel: String,
    /// Type information of the kernel.
    pub btf: Check,
    /// Lockdown of the kernel.
    pub lockdown: Check,
    /// Capabilities.
    pub capabilities: Vec<Capability>,
    /// What is seen from here.
    pub namespaces: Namespaces,
    /// Each moment, the rung it got, and why not a better one.
    pub hooks: Vec<HookReport>,
    /// Whether the reasons of dropped packets can be watched.
    pub drops: Check,
    /// What the programs rely on, as this kernel has it, by name; empty when its types can't be read.
    pub prototypes: BTreeMap<&'static str, Prototype>,
    /// Fields that this kernel lacks, and what is switched off without each.
    pub fields_missing: BTreeMap<&'static str, &'static str>,
    /// Kernel memory of the maps and rings, bytes; null when nothing was loaded.
    pub map_bytes: Option<u64>,
    /// Bytes of that which are the two rings.
    pub ring_bytes: u64,
    /// A connection of our own, seen or not.
    pub self_test: SelfTest,
    /// What to do, in order.
    pub todo: Vec<String>,
}

/// Outcome of a check.
#[derive(Debug, Serialize)]
pub struct Check {
    /// `ok`, `bad`, or `unknown` where it could not be made.
    pub status: Status,
    /// What was found.
    pub detail: String,
}

/// See [`Check::status`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// In the way.
    Bad,
    /// Could not be found out.
    Unknown,
}

/// A capability, held or not.
#[derive(Debug, Serialize)]
pub struct Capability {
    /// What it is for.
    #[serde(flatten)]
    pub need: Need,
    /// Whether it is in effect; null when `/proc` does not tell.
    pub held: Option<bool>,
}

/// What is seen from here.
#[derive(Debug, Serialize)]
pub struct Namespaces {
    /// Inode number of the pid namespace.
    pub pid: Option<u64>,
    /// Whether that is the initial one: pids in events are those of the initial namespace.
    pub pid_is_initial: Option<bool>,
    /// Whether this is the initial user namespace: capabilities held in another do not count.
    pub user_is_initial: Option<bool>,
    /// Inode number of the network namespace.
    pub net: Option<u32>,
    /// Network namespaces whose counters can be read.
    pub net_visible: usize,
}

/// A moment.
#[derive(Debug, Serialize)]
pub struct HookReport {
    /// Its name.
    pub hook: &'static str,
    /// What it shows.
    pub shows: &'static str,
    /// The rung it got; null when nothing was attached.
    pub rung: Option<&'static str>,
    /// The rung's programs, and how many instructions the verifier went through to accept each: what a change of a program
    /// costs shows here first. Null where the kernel does not tell.
    pub programs: BTreeMap<&'static str, Option<u64>>,
    /// Better rungs, and why not.
    pub refused: BTreeMap<&'static str, String>,
}

/// A function or a typed tracepoint.
#[derive(Debug, Serialize)]
pub struct Prototype {
    /// Its prototype; null when this kernel does not have it.
    pub prototype: Option<String>,
    /// Whether it is one of those that this version knows.
    pub known: bool,
    /// Whether it is relied on all the same.
    pub usable: bool,
}

/// `PROC_PID_INIT_INO`, `include/linux/proc_ns.h`.
const INITIAL_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// Looks at everything, loading and attaching for a moment.
#[must_use]
pub fn examine(options: &Options) -> Report {
    let held = caps::effective();
    let mut todo = Vec::new();
    let types = KernelTypes::read();
    let btf = match &types {
        Ok(_) => ok(format!("{VMLINUX} is readable")),
        Err(error) => {
            todo.push(error.to_string());
            bad(error.to_string())
        }
    };
    let namespaces = namespaces();
    let listener = self_test::listen();
    let port = listener.as_ref().ok().and_then(|it| it.local_addr().ok());
    let options = Options {
        filters: Filters {
            events: BTreeSet::from([Kind::Connection]),
            ports: port.iter().map(SocketAddr::port).collect(),
            netns: namespaces.net.into_iter().collect(),
            ..Filters::default()
        },
        // What watches dropped packets is loaded for those who want facts.
        facts: true,
        ..options.clone()
    };
    let (hooks, drops, self_test, map_bytes) = match Session::start(&options) {
        Ok(mut session) => {
            let hooks = session.attached().iter().zip(LADDER);
            let hooks = hooks.map(|(attached, step)| watched(step, attached, &session));
            let hooks = hooks.collect();
            let test = match &listener {
                Ok(listener) => self_test::run(&mut session, listener),
                Err(error) => SelfTest::not_made(format!("nothing can listen here: {error}")),
            };
            if test.status == Status::Bad {
                todo.push(format!(
                    "the self-test failed ({}): report this",
                    test.detail
                ));
            }
            let drops = match session.watches_drops() {
                true => {
                    ok("why packets are dropped is watched while loss is looked into".to_owned())
                }
                false => unknown("not watched: kernels before 5.17 give no reasons".to_owned()),
            };
            (hooks, drops, test, Some(map_bytes()))
        }
        Err(error) => {
            let error_text = error.to_string();
            if !todo.contains(&error_text) {
                todo.push(error_text);
            }
            let reason = format!("could not probe: {}", first_line(&error));
            // What refused one hook need not refuse the others.
            let hooks = match Session::probe(&options) {
                Ok(tried) => tried.into_iter().zip(LADDER).map(tried_report).collect(),
                Err(_) => not_attached(&reason),
            };
            let test = SelfTest::not_made(first_line(&error));
            (hooks, unknown(reason), test, None)
        }
    };
    Report {
        ready: self_test.status != Status::Bad && map_bytes.is_some(),
        version: env!("CARGO_PKG_VERSION"),
        kernel: nix::sys::utsname::uname()
            .map(|machine| machine.release().to_string_lossy().into_owned())
            .unwrap_or_default(),
        btf,
        lockdown: lockdown(),
        capabilities: NEEDS
            .iter()
            .map(|need| Capability {
                need: *need,
                held: held.map(|held| need.is_in(held)),
            })
            .collect(),
        namespaces,
        hooks,
        drops,
        prototypes: types.as_ref().map(prototypes).unwrap_or_default(),
        fields_missing: types.map(|types| types.switched_off()).unwrap_or_default(),
        map_bytes,
        ring_bytes: u64::from(options.ring_size) + u64::from(options.rare_ring_size),
        self_test,
        todo,
    }
}

const fn ok(detail: String) -> Check {
    Check {
        status: Status::Ok,
        detail,
    }
}

const fn bad(detail: String) -> Check {
    Check {
        status: Status::Bad,
        detail,
    }
}

const fn unknown(detail: String) -> Check {
    Check {
        status: Status::Unknown,
        detail,
    }
}

fn first_line(error: &Error) -> String {
    error
        .to_string()
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}

fn lockdown() -> Check {
    match lockdown::level() {
        Ok(Lockdown::Confidentiality) => {
            bad("confidentiality: no program may read the kernel's memory".to_owned())
        }
        Ok(Lockdown::Integrity) => ok("integrity, which does not matter".to_owned()),
        Ok(Lockdown::None) => ok("none".to_owned()),
        Err(error) => unknown(format!("could not probe: {}: {error}", lockdown::FILE)),
    }
}

fn namespaces() -> Namespaces {
    Namespaces {
        pid: caps::namespace("pid"),
        pid_is_initial: is_initial("pid", INITIAL_PID_NAMESPACE),
        user_is_initial: caps::is_in_initial_user_namespace(),
        net: netns::inode("/proc/self/ns/net".as_ref()).ok(),
        net_visible: netstat::counted().len(),
    }
}

/// Whether this process is in the initial namespace of a kind, whose inode number is fixed.
fn is_initial(kind: &str, initial: u64) -> Option<bool> {
    caps::namespace(kind).map(|inode| inode == initial)
}

/// What was refused before a rung was found.
fn refused(refusals: &[Refusal]) -> BTreeMap<&'static str, String> {
    let told = |refusal: &Refusal| (refusal.rung, refusal.reason.clone());
    refusals.iter().map(told).collect()
}

/// A hook that a session watches.
fn watched(step: &Step, attached: &Attached, session: &Session) -> HookReport {
    let programs = attached.rung.programs.iter();
    let programs = programs.map(|hooked| {
        let program = hooked.program;
        (program, session.verified_instructions(program))
    });
    HookReport {
        hook: attached.hook.name(),
        shows: step.shows,
        rung: Some(attached.rung.name),
        programs: programs.collect(),
        refused: refused(&attached.refused),
    }
}

/// A hook that was tried by itself, and the rung it would get.
fn tried_report((tried, step): (Tried, &Step)) -> HookReport {
    let (rung, refusals) = match &tried {
        Ok(attached) => (Some(attached.rung.name), &attached.refused),
        Err(refusals) => (None, refusals),
    };
    HookReport {
        hook: step.hook.name(),
        shows: step.shows,
        rung,
        programs: BTreeMap::new(),
        refused: refused(refusals),
    }
}

fn not_attached(reason: &str) -> Vec<HookReport> {
    let report = |step: &Step| HookReport {
        hook: step.hook.name(),
        shows: step.shows,
        rung: None,
        programs: BTreeMap::new(),
        refused: step
            .rungs
            .iter()
            .map(|rung| (rung.name, reason.to_owned()))
            .collect(),
    };
    LADDER.iter().map(report).collect()
}

fn prototypes(types: &KernelTypes) -> BTreeMap<&'static str, Prototype> {
    LADDER
        .iter()
        .flat_map(|step| step.rungs)
        .flat_map(|rung| rung.programs)
        .map(|hooked| hooked.attach)
        .chain([drops::HOOK])
        .filter_map(|attach| attach.relies_on(types))
        .map(|found| {
            let prototype = Prototype {
                prototype: found.prototype,
                known: found.is_known,
                usable: found.is_usable,
            };
            (found.name, prototype)
        })
        .collect()
}

/// Kernel memory of all maps that this process holds, as fdinfo shows it.
fn map_bytes() -> u64 {
    let descriptors = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten();
    descriptors
        .filter(|entry| {
            fs::read_link(entry.path()).is_ok_and(|to| to.to_string_lossy().contains("bpf-map"))
        })
        .filter_map(|entry| {
            let name = entry.file_name();
            let text =
                fs::read_to_string(format!("/proc/self/fdinfo/{}", name.to_string_lossy())).ok()?;
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("memlock:"))?;
            line.trim().parse::<u64>().ok()
        })
        .sum()
}
