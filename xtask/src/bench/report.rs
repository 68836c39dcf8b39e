//! The results as text: the machine, a table for each load, what the kernel programs took, and the bars.

use super::{
    bars::{self, Bar},
    load::{LOADS, Load, Work},
    machine::Machine,
    measure::Cost,
    results::{Programs, Results},
    spread::{Spread, grouped},
    table::markdown,
    variant::{UNTRACED, VARIANTS},
};

const MIB: f64 = (1 << 20) as f64;

pub(crate) fn text(results: &Results) -> String {
    let mut text = machine(&results.machine);
    text += &format!(
        "\n{} rounds, each of all variants in turn; a load works for {} s. Numbers are medians, ± is half the range of the rounds. \
         Latencies with a sign are what was added; losses and memory are the worst round's.\n",
        results.rounds, results.seconds
    );
    for load in LOADS {
        if results.of(load.name, UNTRACED).next().is_some() {
            text += &of_load(results, load);
        }
    }
    text += "\n## Bars\n\n";
    text += &bars_table(&bars::of(results));
    text
}

fn machine(machine: &Machine) -> String {
    let versions: Vec<String> = machine
        .versions
        .iter()
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    format!(
        "Linux {}, {} with {} processors and {} GiB, load average {} before; {}\n",
        machine.kernel,
        machine.cpu,
        machine.processors,
        machine.memory_gib,
        machine.load_average,
        versions.join(", ")
    )
}

fn of_load(results: &Results, load: &Load) -> String {
    let mut text = format!("\n## {}: {}\n\n", load.name, load.about);
    if load.is_alone {
        text += "The load has one processor to itself, the tracer has the others.\n\n";
    }
    text += &markdown(
        &[
            "variant",
            &format!("{}/s", load.unit),
            "of untraced",
            "by CPU time",
            "p50 us",
            "p99 us",
            "p99.9 us",
        ],
        &rows(results, load, work_row),
    );
    text.push('\n');
    text += &markdown(
        &[
            "tracer",
            "user CPU s",
            "system CPU s",
            "events",
            "user ns/event",
            "lost",
            "skipped",
            "resident MiB",
            "rings MiB",
            "maps MiB",
        ],
        &rows(results, load, cost_row),
    );
    let programs = results.programs.iter().filter(|it| it.load == load.name);
    let rows: Vec<_> = programs.flat_map(|it| program_rows(it, load)).collect();
    if !rows.is_empty() {
        let per = format!("ns for each of the {}", load.unit);
        text.push('\n');
        text += &markdown(&["kernel program", "runs", "ns/run", &per], &rows);
    }
    text
}

fn rows(
    results: &Results,
    load: &Load,
    row: fn(&Results, &str, &str) -> Option<Vec<String>>,
) -> Vec<Vec<String>> {
    VARIANTS
        .iter()
        .filter_map(|variant| row(results, load.name, variant.name))
        .collect()
}

fn cell(spread: Option<Spread>, digits: usize) -> String {
    spread.map_or_else(|| "-".to_owned(), |spread| format!("{spread:.digits$}"))
}

fn work_row(results: &Results, load: &str, variant: &str) -> Option<Vec<String>> {
    results.of(load, variant).next()?;
    let ratio = |rate: fn(&Work) -> Option<f64>| {
        cell(
            results.compared(load, variant, rate, |it, base| it / base),
            3,
        )
    };
    let time = |number: fn(&Work) -> Option<f64>| {
        if variant == UNTRACED {
            return cell(results.work(load, variant, number), 3);
        }
        let added = results.compared(load, variant, number, |it, base| it - base);
        added.map_or_else(|| "-".to_owned(), |added| format!("{:+.3}", added.median))
    };
    Some(vec![
        variant.to_owned(),
        cell(results.work(load, variant, Work::rate), 0),
        ratio(Work::rate),
        ratio(Work::rate_by_cpu),
        time(|it| it.p50_us),
        time(|it| it.p99_us),
        time(|it| it.p999_us),
    ])
}

fn cost_row(results: &Results, load: &str, variant: &str) -> Option<Vec<String>> {
    let number = |digits, number: fn(&Cost) -> Option<f64>| {
        cell(results.cost(load, variant, |_, cost| number(cost)), digits)
    };
    let most = |number: fn(&Cost) -> Option<u64>| {
        let most = results.most(load, variant, number);
        most.map_or_else(|| "-".to_owned(), |most| grouped(most as f64, 0))
    };
    let mib = |number: fn(&Cost) -> u64| {
        let most = results.most(load, variant, |cost| Some(number(cost)));
        most.map_or_else(
            || "-".to_owned(),
            |most| format!("{:.1}", most as f64 / MIB),
        )
    };
    results.of(load, variant).find(|it| it.tracer.is_some())?;
    Some(vec![
        variant.to_owned(),
        number(2, |cost| Some(cost.cpu.user)),
        number(2, |cost| Some(cost.cpu.system)),
        number(0, |cost| Some(cost.summary.as_ref()?.total() as f64)),
        number(0, Cost::user_ns_per_event),
        most(|cost| {
            let lost = cost.summary.as_ref()?.lost;
            Some(lost.ring_full + lost.map_full)
        }),
        most(|cost| Some(cost.skipped)),
        mib(|cost| cost.memory.resident),
        mib(|cost| cost.memory.rings),
        mib(|cost| cost.memory.maps),
    ])
}

fn program_rows(programs: &Programs, load: &Load) -> Vec<Vec<String>> {
    let done = programs.work.done as f64;
    let row = |program: String, runs: String, ns: String, per: f64| {
        vec![program, runs, ns, format!("{per:.1}")]
    };
    let all: f64 = programs.runs.iter().map(|it| it.total() / done).sum();
    let mut rows = vec![row(
        format!("{}, all", programs.variant),
        String::new(),
        String::new(),
        all,
    )];
    // What is rare says nothing of a load.
    let often = programs
        .runs
        .iter()
        .filter(|it| it.total() / done > all / 100.0);
    rows.extend(often.map(|it| {
        row(
            format!("- {}", it.program),
            grouped(it.runs as f64, 0),
            format!("{:.0}", it.ns),
            it.total() / done,
        )
    }));
    debug_assert_eq!(programs.load, load.name);
    rows
}

fn bars_table(bars: &[Bar]) -> String {
    let rows: Vec<_> = bars
        .iter()
        .map(|bar| {
            let met = match bar.is_met {
                Some(true) => "met",
                Some(false) => "NOT MET",
                None => "not measured",
            };
            vec![
                bar.what.to_owned(),
                bar.bar.to_owned(),
                bar.measured.clone(),
                met.to_owned(),
            ]
        })
        .collect();
    markdown(&["what", "bar", "measured", ""], &rows)
}
