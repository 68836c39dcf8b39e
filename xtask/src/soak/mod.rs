//! `cargo xtask soak`: for long, full load that must be traced whole, and healthy programs of which nothing may be found.

mod full_load;
mod healthy;

use std::time::Duration;

use anyhow::Result;

use crate::bench::Prepared;

/// Trace for long: a full load, of which nothing may be lost, and healthy programs, of which nothing may be found.
///
/// With the full load memory must be flat, and totals must equal the kernel's. Installs what is missing, builds, and runs as root, in
/// network namespaces of its own.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long each part takes, such as 30s, 10m or 2h.
    #[arg(long, default_value = "10m", value_parser = duration)]
    duration: Duration,
    /// Only this part; default: both, one after the other.
    #[arg(long, value_enum)]
    part: Option<Part>,
    #[command(flatten)]
    prepared: Prepared,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// nginx and redis under load, a browser, a port scan, a rolling restart, connections that close in order.
    Healthy,
    /// Everything at once.
    FullLoad,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let is_wanted = |part| args.part.is_none_or(|only| only == part);
    // What goes on as root has this behind it.
    if is_wanted(Part::Healthy) && !args.prepared.is_prepared() {
        healthy::run(args.duration)?;
    }
    if is_wanted(Part::FullLoad) {
        let (tcptrace, load) = args.prepared.programs()?;
        full_load::run(&tcptrace, &load, args.duration)?;
    }
    Ok(())
}

fn duration(text: &str) -> std::result::Result<Duration, String> {
    let wrong = || format!("`{text}` is not a time; write 30s, 10m or 2h");
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    match number.checked_mul(seconds) {
        Some(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        assert!(
            ["", "10", "0s", "xs", "9999999999999999999h"]
                .iter()
                .all(|text| duration(text).is_err())
        );
    }
}
