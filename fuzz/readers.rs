//! What any bytes must survive: they are a trace, the beginning of one, or an error, and whatever reads a trace
//! says something of it. The fuzz target and the bounded run of it (`tracer/tests/fuzz.rs`) share this.

use std::{hint::black_box, io, path::Path};

use ratatui::{Terminal, backend::TestBackend};
use tcptrace::{
    check::{Checker, budget},
    diagnose,
    diff::{By, Diff, Per, Run},
    document::{html, markdown, text},
    export::{Exporter, Jsonl, Parquet, Perfetto},
    file::{self, Completeness},
    report::{Part, Report},
    screen::{
        draw::{Signs, Theme, draw},
        state::{Grouping, Page, State},
        ticket,
    },
    sink::{
        Sink,
        json::Json,
        lines::Lines,
        only::{Only, Wanted},
        paced::{Paced, Speed},
        tee::Tee,
    },
};

/// Reads bytes as a trace and shows it in every way. Returns whether they were any of a trace.
pub(crate) fn read(bytes: &[u8]) -> bool {
    let mut screen = State::default();
    let (mut lines, mut json) = (Lines(io::sink()), Json::new(io::sink()));
    let mut all = Tee(vec![&mut screen as &mut dyn Sink, &mut lines, &mut json]);
    let read = feed(bytes, &mut all);
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
    let _ = feed(bytes, &mut again);
    black_box(Diff::of(
        &[of(again)],
        &of(screen),
        By::default(),
        Per::default(),
    ));

    let mut lines = Lines(io::sink());
    let wanted = Wanted {
        ports: vec![80],
        events: vec!["connection", "state"],
        ..Wanted::default()
    };
    let mut only = Only::new(&mut lines, wanted);
    // So fast that it never waits.
    let _ = feed(bytes, &mut Paced::new(&mut only, Speed::Times(1e30)));
    true
}

/// Makes an exporter that writes to this path, if it can.
type Create = fn(&Path) -> Option<Box<dyn Exporter>>;

/// Exports bytes that are any of a trace into a folder.
pub(crate) fn export(bytes: &[u8], folder: &Path) {
    let file = folder.join("export");
    let exporters: [Create; 3] = [
        |file| Some(Box::new(Jsonl::create(file, true).ok()?)),
        |file| Some(Box::new(Perfetto::create(file, true).ok()?)),
        |file| Some(Box::new(Parquet::new(&file.with_extension("d"), true))),
    ];
    for mut exporter in exporters.into_iter().filter_map(|make| make(&file)) {
        if feed(bytes, exporter.as_mut()).is_ok() {
            let _ = exporter.finish();
        }
    }
}

fn feed(bytes: &[u8], sink: &mut dyn Sink) -> tcptrace::error::Result<Completeness> {
    file::read_from(Path::new("bytes"), bytes, bytes.len() as u64, sink)
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
