//! The report for people.

use std::io::{self, Write};

use super::{Report, Status};

/// Writes the report.
///
/// # Errors
///
/// When the output can't be written.
pub fn write(to: &mut impl Write, report: &Report) -> io::Result<()> {
    let line = |to: &mut dyn Write, status, name: &str, detail: &str| {
        writeln!(to, "{} {name:<22} {detail}", mark(status))
    };
    writeln!(to, "tcptrace {} on Linux {}", report.version, report.kernel)?;
    line(to, report.btf.status, "BTF", &report.btf.detail)?;
    line(
        to,
        report.lockdown.status,
        "lockdown",
        &report.lockdown.detail,
    )?;

    writeln!(to, "\ncapabilities")?;
    for capability in &report.capabilities {
        let (status, held) = match capability.held {
            Some(true) => (Status::Ok, "held"),
            Some(false) if capability.need.required => (Status::Bad, "missing"),
            Some(false) => (Status::Unknown, "missing"),
            None => (Status::Unknown, "could not probe"),
        };
        line(
            to,
            status,
            capability.need.name,
            &format!("{held}: {}", capability.need.reason),
        )?;
    }

    let namespaces = &report.namespaces;
    writeln!(to, "\nnamespaces")?;
    let pid = match namespaces.pid_is_initial {
        Some(true) => (Status::Ok, "the initial one: all processes are seen".to_owned()),
        Some(false) => (
            Status::Unknown,
            "not the initial one: events come from all processes, with the pids of the initial namespace; /proc shows fewer"
                .to_owned(),
        ),
        None => (Status::Unknown, "could not probe".to_owned()),
    };
    line(to, pid.0, "pid", &pid.1)?;
    let user = match namespaces.user_is_initial {
        Some(true) => (Status::Ok, "the initial one"),
        Some(false) => (
            Status::Bad,
            "not the initial one: capabilities held here do not count",
        ),
        None => (Status::Unknown, "could not probe"),
    };
    line(to, user.0, "user", user.1)?;
    let net = namespaces.net.map_or_else(
        || "could not probe".to_owned(),
        |inode| {
            format!(
                "here {inode}; events come from all, counters are readable in {}",
                namespaces.net_visible
            )
        },
    );
    line(to, Status::Ok, "net", &net)?;

    writeln!(to, "\nhooks")?;
    for hook in &report.hooks {
        let status = if hook.rung.is_some() {
            Status::Ok
        } else {
            Status::Unknown
        };
        let detail = format!("{:<10} {}", hook.rung.unwrap_or("-"), hook.shows);
        line(to, status, hook.hook, &detail)?;
        for (rung, reason) in &hook.refused {
            writeln!(to, "  {:<22} not {rung}: {reason}", "")?;
        }
    }
    line(to, report.drops.status, "kfree_skb", &report.drops.detail)?;
    for (field, effect) in &report.fields_missing {
        line(
            to,
            Status::Unknown,
            field,
            &format!("not in this kernel, so without: {effect}"),
        )?;
    }

    writeln!(to, "\nmemory")?;
    let memory = report.map_bytes.map_or_else(
        || "nothing was loaded".to_owned(),
        |bytes| {
            format!(
                "{:.1} MiB in the kernel, {:.1} MiB of it the rings",
                mib(bytes),
                mib(report.ring_bytes)
            )
        },
    );
    line(to, Status::Ok, "maps", &memory)?;

    writeln!(to)?;
    line(
        to,
        report.self_test.status,
        "self-test",
        &report.self_test.detail,
    )?;
    if report.ready {
        writeln!(to, "\nready: sudo tcptrace watch")
    } else {
        writeln!(to, "\nnot ready:")?;
        report
            .todo
            .iter()
            .try_for_each(|todo| writeln!(to, "  {}", todo.replace('\n', "\n  ")))
    }
}

const fn mark(status: Status) -> &'static str {
    match status {
        Status::Ok => "+",
        Status::Bad => "x",
        Status::Unknown => "?",
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
