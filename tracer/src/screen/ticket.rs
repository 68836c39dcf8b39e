//! What is on screen as Markdown, for the ticket.

use std::fmt::Write as _;

use super::{
    draw::{
        Signs, Theme,
        header::by_rung,
        number::{age, clock, count, gauge, percent, rate},
        process,
    },
    state::{Grouping, Page, Row, State, name},
};
use crate::{event::Event, identity::Pid, sink::lines};

/// Rows and events that are told.
const MOST: usize = 20;

/// The screen as Markdown: what stands on it, with the whole of what it had to cut.
#[must_use]
pub fn ticket(state: &State) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text, state);
    text
}

fn write(to: &mut String, state: &State) -> std::fmt::Result {
    head(to, state)?;
    match state.view.page {
        Page::Table => {
            findings(to, state)?;
            conditions(to, state)?;
            table(to, state)?;
            let seen = state.events().skip(state.view.scrolled);
            events(to, seen)?;
            if state.stream.left_out() > 0 {
                writeln!(
                    to,
                    "\n{} more came too fast to show.",
                    state.stream.left_out()
                )?;
            }
            Ok(())
        }
        Page::Process(pid) => a_process(to, state, pid),
        Page::Findings => findings(to, state),
    }
}

fn head(to: &mut String, state: &State) -> std::fmt::Result {
    let (host, kernel, version) = state
        .aggregate
        .start
        .as_ref()
        .map_or(("", "", ""), |start| {
            (
                start.host.as_str(),
                start.kernel.as_str(),
                start.version.as_ref(),
            )
        });
    writeln!(to, "# tcptrace on {host}, {}\n", state.aggregate.now)?;
    writeln!(
        to,
        "Linux {kernel}, tcptrace {version}, {} traced, {} events/s",
        clock(state.elapsed()),
        rate(state.rates().events)
    )?;
    let lost = state.aggregate.lost();
    if lost.is_any() {
        writeln!(
            to,
            "**Lost: {} events; skipped by the kernel: {}.**",
            lost.ring_full + lost.map_full,
            lost.skipped
        )?;
    }
    for filter in state
        .aggregate
        .start
        .iter()
        .flat_map(|start| &start.filters)
    {
        writeln!(to, "Only `{filter}`.")?;
    }
    let degraded = state.degraded();
    if !degraded.is_empty() {
        writeln!(to, "Degraded: {}.", cell(&by_rung(&degraded)))?;
    }
    if !state.view.filter.is_empty() {
        writeln!(to, "Shown: `{}`.", state.view.filter.text())?;
    }
    Ok(())
}

fn findings(to: &mut String, state: &State) -> std::fmt::Result {
    if state.findings.is_empty() {
        return match state.view.page {
            Page::Findings => writeln!(to, "\nNothing is found to be wrong."),
            _ => Ok(()),
        };
    }
    writeln!(to, "\n## Findings\n")?;
    for finding in &state.findings {
        writeln!(
            to,
            "- **{}** (for {}) {}",
            finding.name,
            age(state.age(finding.first)),
            cell(&finding.sentence)
        )?;
        for evidence in &finding.evidence {
            writeln!(
                to,
                "  - {}: {} ({})",
                evidence.name,
                cell(&evidence.value),
                evidence.source
            )?;
        }
        for remedy in &finding.remedy {
            writeln!(to, "  - remedy: {}", cell(remedy))?;
        }
    }
    Ok(())
}

fn conditions(to: &mut String, state: &State) -> std::fmt::Result {
    let conditions = &state.conditions;
    writeln!(to, "\n## State\n")?;
    for (pid, of) in conditions.fullest.iter().take(5) {
        let who = state
            .described(*pid)
            .map_or_else(String::new, |who| name(&who));
        writeln!(
            to,
            "- descriptors of {}[{}]: {}",
            cell(&who),
            pid.pid,
            gauge(*of)
        )?;
    }
    for queue in conditions
        .queues
        .iter()
        .filter(|queue| queue.gauge.used > 0)
        .take(5)
    {
        writeln!(
            to,
            "- queue of {} (netns {}): {}",
            queue.local,
            queue.netns,
            gauge(queue.gauge)
        )?;
    }
    for (netns, of) in conditions
        .time_wait
        .iter()
        .filter(|(_, of)| of.used > 0)
        .take(5)
    {
        writeln!(to, "- time-wait table of netns {netns}: {}", gauge(*of))?;
    }
    for one in conditions.stuck.iter().take(MOST) {
        let remote = one
            .ends
            .remote
            .map_or_else(String::new, |remote| remote.to_string());
        let why = if one.is_probing {
            "closed window"
        } else {
            "nothing acknowledged"
        };
        writeln!(
            to,
            "- stuck: {} -> {remote}, {why}, backoff {}",
            one.ends.local, one.backoff
        )?;
    }
    for (name, value, growth) in &conditions.counters {
        writeln!(to, "- {name} since boot: {value}, +{growth} in this trace")?;
    }
    Ok(())
}

fn table(to: &mut String, state: &State) -> std::fmt::Result {
    let what = state.view.grouping.name();
    writeln!(to, "\n## By {what}, per second\n")?;
    let gauge_of = match state.view.grouping {
        Grouping::Listener => "queue",
        _ => "descriptors",
    };
    writeln!(
        to,
        "| {what} | | open | opens | fails | retransmits | share | resets | time-wait overflows | EMFILE | {gauge_of} | for |"
    )?;
    writeln!(to, "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")?;
    for row in state.rows.iter().take(MOST) {
        writeln!(to, "{}", line(row, state))?;
    }
    more(to, state.rows.len())
}

fn line(row: &Row, state: &State) -> String {
    let rates = &row.rates;
    let cells = [
        cell(&row.name()),
        cell(&row.note()),
        row.open.map_or_else(String::new, count),
        rate(rates.opened),
        rate(rates.failed),
        rate(rates.segs),
        row.share.map_or_else(String::new, percent),
        rate(rates.resets),
        rate(rates.overflows),
        rate(rates.descriptors),
        row.gauge.map_or_else(String::new, gauge),
        row.since
            .map_or_else(String::new, |since| age(state.age(since))),
    ];
    format!("| {} |", cells.join(" | "))
}

/// The page of a process.
fn a_process(to: &mut String, state: &State, pid: Pid) -> std::fmt::Result {
    writeln!(to, "\n## {}\n\n```", cell(&process::title(state, pid)))?;
    let theme = Theme::new(false, Signs::UNICODE);
    let head = process::head(state, pid, &theme);
    for line in head.iter().chain(&process::troubles(state, 60, &theme)) {
        writeln!(to, "{}", fenced(&line.to_string()))?;
    }
    let connections = &state.connections;
    writeln!(to, "```\n\n## Connections ({})\n", connections.len())?;
    let heads = process::HEADS.map(str::to_lowercase);
    writeln!(to, "| {} |", heads.join(" | "))?;
    writeln!(to, "|---|---|---|--:|--:|--:|--:|--:|---|--:|")?;
    for one in connections.iter().take(MOST) {
        let cells = process::cells(one, state).map(|text| cell(&text));
        writeln!(to, "| {} |", cells.join(" | "))?;
    }
    more(to, connections.len())?;
    events(to, state.events_of(pid))
}

/// That so many are not told.
fn more(to: &mut String, all: usize) -> std::fmt::Result {
    match all.saturating_sub(MOST) {
        0 => Ok(()),
        more => writeln!(to, "\n{more} more."),
    }
}

fn events<'a>(to: &mut String, events: impl Iterator<Item = &'a Event>) -> std::fmt::Result {
    writeln!(to, "\n## Events, the newest first (UTC)\n\n```")?;
    for event in events.take(MOST) {
        writeln!(to, "{}", fenced(&lines::line(event)))?;
    }
    writeln!(to, "```")
}

/// A line that cannot end the block that it stands in.
fn fenced(line: &str) -> String {
    line.trim_end().replace("```", "'''")
}

/// A text that cannot end a table's cell or begin markup.
fn cell(text: &str) -> String {
    let mut cell = String::new();
    for char in text.chars() {
        match char {
            '|' | '<' | '`' | '*' | '_' | '\\' => {
                cell.push('\\');
                cell.push(char);
            }
            char if char.is_control() => cell.push(' '),
            char => cell.push(char),
        }
    }
    cell
}
