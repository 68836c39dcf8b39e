//! Climbs the attach ladder: each moment gets the best rung that the kernel takes, found by trying.

use std::{io::ErrorKind, path::Path};

use aya::{
    Btf, Ebpf,
    programs::{
        BtfTracePoint, FEntry, FExit, Iter, KProbe, KProbeError, Program, ProgramError, TracePoint,
        trace_point::TracePointError,
    },
};
use tracer_common::hook::Hook;

use super::{
    btf::KernelTypes,
    ladder::{Attach, Hooked, Means, Rung, Step},
};
use crate::error::{Error, Result};

/// A moment and the rung it got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The moment.
    pub hook: Hook,
    /// How it is seen.
    pub rung: &'static Rung,
    /// Better rungs, and why the kernel refused each.
    pub refused: Vec<Refusal>,
}

/// A rung that the kernel refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its name.
    pub rung: &'static str,
    /// The kernel's answer.
    pub reason: String,
}

/// A hook's rung, or why each was refused.
pub type Tried = std::result::Result<Attached, Vec<Refusal>>;

/// What attaching needs.
pub(super) struct Climber<'a> {
    pub(super) ebpf: &'a mut Ebpf,
    pub(super) btf: &'a Btf,
    pub(super) types: &'a KernelTypes,
    /// Only rungs that rest on this.
    pub(super) means: Option<Means>,
    /// Rungs to pass over, by name.
    pub(super) refuse: &'a [String],
    /// Add the verifier's log to a refusal.
    pub(super) is_verbose: bool,
}

impl Climber<'_> {
    /// Attaches a step's best rung.
    pub(super) fn climb(&mut self, step: &Step) -> Result<Attached> {
        self.attempt(step).map_err(|refused| {
            let refusals: Vec<String> = refused
                .iter()
                .map(|refusal| format!("{}: {}", refusal.rung, refusal.reason))
                .collect();
            Error::unsupported(
                format!(
                    "{} can't be watched; the kernel refuses {}",
                    step.hook.name(),
                    refusals.join("; ")
                ),
                "`tcptrace doctor` says what this machine allows; `--verbose` shows the verifier's log",
            )
        })
    }

    /// As above, and says why each rung was refused if all were.
    pub(super) fn attempt(&mut self, step: &Step) -> Tried {
        let mut refused = Vec::new();
        for rung in step.choose(self.means) {
            let taken = if self.refuse.iter().any(|name| name == rung.name) {
                Err(String::from("by --refuse"))
            } else {
                self.take(rung)
            };
            match taken {
                Ok(()) => {
                    return Ok(Attached {
                        hook: step.hook,
                        rung,
                        refused,
                    });
                }
                Err(reason) => refused.push(Refusal {
                    rung: rung.name,
                    reason,
                }),
            }
        }
        Err(refused)
    }

    /// Attaches all programs of a rung, or none of them.
    fn take(&mut self, rung: &Rung) -> std::result::Result<(), String> {
        for (place, hooked) in rung.programs.iter().enumerate() {
            if let Err(reason) = self.attach(hooked) {
                for attached in &rung.programs[..=place] {
                    self.unload(attached.program);
                }
                return Err(reason);
            }
        }
        Ok(())
    }

    fn attach(&mut self, hooked: &Hooked) -> std::result::Result<(), String> {
        self.check(hooked.attach)?;
        if matches!(hooked.attach, Attach::SyscallExits { .. }) {
            reach_tracefs()?;
        }
        self.try_attach(hooked)
            .map_err(|error| format!("{}: {}", hooked.program, explain(&error, self.is_verbose)))
    }

    /// Whether a function or a tracepoint is what the programs take it for.
    fn check(&self, attach: Attach) -> std::result::Result<(), String> {
        let Some(found) = attach.relies_on(self.types) else {
            return Ok(());
        };
        match found.prototype {
            Some(_) if found.is_usable => Ok(()),
            Some(prototype) => Err(format!(
                "{} is {prototype} here, which this version does not know",
                found.name
            )),
            None => Err(format!("this kernel has no {}", found.name)),
        }
    }

    fn try_attach(&mut self, hooked: &Hooked) -> std::result::Result<(), ProgramError> {
        let program =
            self.ebpf
                .program_mut(hooked.program)
                .ok_or_else(|| ProgramError::InvalidName {
                    name: hooked.program.to_owned(),
                })?;
        match hooked.attach {
            Attach::TpBtf(tracepoint) => {
                let program: &mut BtfTracePoint = program.try_into()?;
                program.load(tracepoint.name, self.btf)?;
                program.attach()?;
            }
            Attach::FEntry(function) => {
                let program: &mut FEntry = program.try_into()?;
                program.load(function.name, self.btf)?;
                program.attach()?;
            }
            Attach::FExit(function) => {
                let program: &mut FExit = program.try_into()?;
                program.load(function.name, self.btf)?;
                program.attach()?;
            }
            Attach::KProbe(function) | Attach::KRetProbe(function) => {
                let program: &mut KProbe = program.try_into()?;
                program.load()?;
                program.attach(function.name, 0)?;
            }
            Attach::SyscallExits { calls } => {
                let program: &mut TracePoint = program.try_into()?;
                program.load()?;
                for call in calls {
                    match program.attach("syscalls", &format!("sys_exit_{call}")) {
                        // This kernel or this architecture has no such call.
                        Err(ProgramError::TracePointError(TracePointError::FileError {
                            io_error,
                            ..
                        })) if io_error.kind() == ErrorKind::NotFound => {}
                        result => {
                            result?;
                        }
                    }
                }
            }
            Attach::Iter { over } => {
                let program: &mut Iter = program.try_into()?;
                program.load(over, self.btf)?;
            }
        }
        Ok(())
    }

    /// Detaches and unloads a program; one that was not loaded stays so.
    fn unload(&mut self, program: &str) {
        let _ = match self.ebpf.program_mut(program) {
            Some(Program::FEntry(program)) => program.unload(),
            Some(Program::FExit(program)) => program.unload(),
            Some(Program::KProbe(program)) => program.unload(),
            Some(Program::TracePoint(program)) => program.unload(),
            _ => Ok(()),
        };
    }
}

/// A refusal in one line, with the verifier's log only when it was asked for.
fn explain(error: &ProgramError, is_verbose: bool) -> String {
    match error {
        ProgramError::LoadError {
            io_error,
            verifier_log,
        } if is_verbose => format!("{io_error}\n{verifier_log}"),
        ProgramError::LoadError {
            io_error,
            verifier_log,
        } => {
            let log = verifier_log.to_string();
            match log.lines().next().map(str::trim) {
                None | Some("") => io_error.to_string(),
                Some(reason) => format!("{io_error}: {reason}"),
            }
        }
        ProgramError::KProbeError(KProbeError::FileError { filename, io_error }) => {
            format!("{}: {io_error}", filename.display())
        }
        ProgramError::TracePointError(TracePointError::FileError { filename, io_error }) => {
            format!("{}: {io_error}; {TO_READ_TRACEFS}", filename.display())
        }
        ProgramError::SyscallError(error) => format!("{}: {}", error.call, error.io_error),
        error => error.to_string(),
    }
}

/// Sees to it that classic tracepoints can be named: mounts tracefs where systemd would have, unless it is
/// there.
fn reach_tracefs() -> std::result::Result<(), String> {
    const AT: &str = "/sys/kernel/tracing";
    for place in [AT, "/sys/kernel/debug/tracing"] {
        match Path::new(place).join("events").try_exists() {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) => return Err(format!("{place}: {error}; {TO_READ_TRACEFS}")),
        }
    }
    nix::mount::mount(
        Some("tracefs"),
        AT,
        Some("tracefs"),
        nix::mount::MsFlags::empty(),
        None::<&str>,
    )
    .map_err(|error| {
        format!(
            "tracefs is not mounted, and can't be mounted at {AT} ({error}): mount it from the host, or run where \
             CAP_SYS_ADMIN is held"
        )
    })
}

/// Root owns it.
const TO_READ_TRACEFS: &str = "reading tracefs takes root, or CAP_DAC_READ_SEARCH";
