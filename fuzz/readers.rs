//! What any bytes must survive: they are a trace, the beginning of one, or an error, and whatever reads a trace
//! says something of it. The fuzz target and the bounded run of it (`tracer/tests/fuzz.rs`) share this.

use std::{hint::black_box, io, path::Path};

use ratatui::{Terminal, backend::TestBackend};
use tcptrace::{
    check::{Checker, budget},
    diagnose,
    diff::{By, Diff, Per, Run},
    document::{html, markdown, text},
    file::{self, Completeness},
    report::{Part, Report},
    screen::{
        draw::{Signs, Theme, draw},
        state::{Grouping, Page, State},
        ticket,
    },
    sink::{Sink, json::Json, lines::Lines, tee::Tee},
};

/// Reads bytes as a trace and shows it in every way. Returns whether they were any of a trace.
pub(crate) fn read(bytes: &[u8]) -> bool {
    let mut screen = State::default();
    let (mut lines, mut json) = (Lines(io::sink()), Json::new(io::sink()));
    let mut all = Tee(vec![&mut screen as &mut dyn Sink, &mut lines, &mut json]);
    let read = file::read_from(Path::new("bytes"), bytes, bytes.len() as u64, &mut all);
    let Ok(completeness) = read else { return false };
    let truncated = match &completeness {
        Completeness::Complete => None,
        Completeness::Truncated { reason } => Some(reason.as_str()),
    };

    let findings = diagnose::findings(&screen.aggregate);
    screen.set_findings(findings);
    show(&mut screen);

    let report = Report::of(&screen.aggregate, Part::All, truncated);
    let document = report.document(10);
    black_box(text::render(&document, Some(120)));
    black_box(markdown::render(&document));
    black_box(html::render(&document));

    let checker = Checker {
        aggregate: &screen.aggregate,
        truncated,
        allow_lost: true,
    };
    for limit in ["retransmits:rto=0", "connections=0"] {
        if let Ok(budget) = budget::max(limit) {
            black_box(checker.check(budget));
        }
    }
    let of = |state: State| Run::of(String::new(), state.aggregate, None, By::default());
    let mut again = State::default();
    let _ = file::read_from(Path::new("bytes"), bytes, bytes.len() as u64, &mut again);
    black_box(Diff::of(
        &[of(again)],
        &of(screen),
        By::default(),
        Per::default(),
    ));
    true
}

/// Every grouping of the table, and the page of the worst process.
fn show(screen: &mut State) {
    let Ok(mut terminal) = Terminal::new(TestBackend::new(100, 30));
    let theme = Theme::new(true, Signs::UNICODE);
    let mut page = |screen: &mut State| {
        screen.touch();
        screen.refresh();
        let _ = terminal.draw(|frame| draw(frame, screen, &theme));
    };
    for grouping in Grouping::ALL {
        screen.view.grouping = grouping;
        page(screen);
    }
    black_box(ticket::ticket(screen));
    let pids: Vec<_> = screen.aggregate.processes.keys().copied().take(2).collect();
    for pid in pids {
        screen.view.page = Page::Process(pid);
        page(screen);
    }
}
