//! Every view as text, on a small and on a large screen.

use ratatui::{Terminal, backend::TestBackend, buffer::Buffer, style::Color};

use super::scene::{at, incident, snapshot};
use crate::{
    diagnose::Seen,
    screen::{
        draw::{Signs, Theme, draw},
        state::{Filter, Grouping, Key, Kinds, Overlay, Page, Player, Speed, State},
    },
};

pub(super) fn drawn(state: &State, width: u16, height: u16, theme: &Theme) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, state, theme)).unwrap();
    terminal.backend().buffer().clone()
}

pub(super) fn text(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width);
    let mut text = String::new();
    for cells in buffer.content.chunks(width) {
        let line: String = cells.iter().map(|cell| cell.symbol()).collect();
        text += line.trim_end();
        text.push('\n');
    }
    text
}

pub(super) fn colourful() -> Theme {
    Theme::new(true, Signs::UNICODE)
}

/// Both sizes, and without colours the same letters.
#[track_caller]
fn check(name: &str, mut state: State) {
    state.touch();
    state.refresh();
    for (width, height) in [(80, 24), (200, 60)] {
        let drawn_colourful = drawn(&state, width, height, &colourful());
        let plain = drawn(&state, width, height, &Theme::new(false, Signs::UNICODE));
        assert_eq!(
            text(&drawn_colourful),
            text(&plain),
            "NO_COLOR changes colours only"
        );
        let is_plain =
            |cell: &ratatui::buffer::Cell| cell.fg == Color::Reset && cell.bg == Color::Reset;
        assert!(
            plain.content.iter().all(is_plain),
            "NO_COLOR has no colours"
        );
        insta::assert_snapshot!(format!("{name}_{width}x{height}"), text(&plain));
    }
}

#[test]
fn the_first_frame_is_a_snapshot() {
    check("first_frame", snapshot());
}

#[test]
fn an_incident() {
    check("incident", incident());
}

#[test]
fn a_finding_of_the_past_says_how_long_ago_it_was() {
    let mut state = incident();
    state.findings[0].seen = Seen::LongAgo(45_000_000_000);
    let shown = text(&drawn(&state, 200, 60, &colourful()));
    let is_past = |line: &str| line.contains("connect-refused") && line.ends_with("last 45s ago");
    assert!(shown.lines().any(is_past), "{shown}");
}

#[test]
fn forty_workers_and_one_dead_backend_are_one_line() {
    let mut state = incident();
    state.view.grouping = Grouping::Peer;
    state.touch();
    state.refresh();
    let named = |row: &&crate::screen::state::Row| row.name() == "10.0.0.9:8080";
    let rows: Vec<_> = state.rows.iter().filter(named).collect();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].note(), "40 x gunicorn");
    assert_eq!(rows[0].totals.connect_failed, 40 * 90);
    assert_eq!(rows[0].rates.failed, 40.0);
    check("peers", state);
}

#[test]
fn groups() {
    for grouping in [Grouping::Program, Grouping::Container, Grouping::Listener] {
        let mut state = incident();
        state.view.grouping = grouping;
        check(&format!("by_{}", grouping.name()), state);
    }
}

#[test]
fn the_processes_of_a_group() {
    let mut state = incident();
    state.view.scope = Some(Key::Program("haproxy".to_owned()));
    check("scope", state);
}

#[test]
fn a_process() {
    for (name, pid) in [
        ("process_out_of_descriptors", 1_234),
        ("process_with_stuck_connections", 812),
    ] {
        let mut state = incident();
        let key = state
            .aggregate
            .processes
            .keys()
            .find(|key| key.pid == pid)
            .copied();
        state.view.page = Page::Process(key.unwrap());
        check(name, state);
    }
}

#[test]
fn findings_with_evidence() {
    let mut state = incident();
    state.view.page = Page::Findings;
    check("findings", state);
}

#[test]
fn help_and_kinds_lie_over_the_page() {
    let mut state = incident();
    state.view.overlay = Some(Overlay::Help);
    check("help", state);
    let mut state = incident();
    state.view.overlay = Some(Overlay::Kinds(1));
    state.view.kinds.toggle(0);
    check("kinds", state);
}

#[test]
fn a_filter_as_it_is_typed() {
    let mut state = incident();
    state.view.overlay = Some(Overlay::Filter);
    state.view.filter = Filter::new("redis :6379");
    check("filter", state);
}

#[test]
fn a_paused_stream() {
    let mut state = incident();
    crate::screen::update::update(
        &mut state,
        &key('p'),
        ratatui::layout::Rect::new(0, 0, 80, 24),
    );
    crate::screen::update::update(
        &mut state,
        &key('j'),
        ratatui::layout::Rect::new(0, 0, 80, 24),
    );
    check("paused", state);
}

fn key(char: char) -> crossterm::event::Event {
    use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
    Event::Key(KeyEvent::new(KeyCode::Char(char), KeyModifiers::NONE))
}

#[test]
fn a_recorded_trace_and_a_recording() {
    let mut state = incident();
    state.player = Some(Player {
        first: at(0),
        last: at(180_000),
        speed: Speed::Ten,
        is_paused: false,
    });
    check("playing", state);
    let mut state = incident();
    state.recording = Some(("tcptrace-web-1.tcptrace".into(), at(30_000)));
    state.message = Some("recording to tcptrace-web-1.tcptrace; r ends it".to_owned());
    check("recording", state);
}

/// Elapsed time, rate and losses are what a small screen keeps.
#[test]
fn long_names_are_cut_before_numbers() {
    let mut state = incident();
    if let Some(start) = &mut state.aggregate.start {
        start.host = "ip-10-0-0-5.eu-central-1.compute.internal".to_owned();
        start.kernel = "6.12.118+deb13-cloud-amd64".to_owned();
        start.filters = vec!["--port 6379".to_owned()];
    }
    check("long_names", state);
    let mut state = incident();
    state.player = Some(Player {
        first: at(0),
        last: at(180_000),
        speed: Speed::Real,
        is_paused: true,
    });
    let lines = text(&drawn(&state, 80, 24, &colourful()));
    assert!(
        lines.lines().nth(1).unwrap().contains("degraded: "),
        "{lines}"
    );
}

/// What does not fit is scrolled to, line by line.
#[test]
fn the_last_line_of_a_long_finding_and_of_a_long_command_is_reached() {
    use ratatui::layout::Rect;

    let mut state = incident();
    let mut long = state.findings[0].clone();
    long.remedy = (0..40)
        .map(|place| format!("do number {place} {}", "and so on ".repeat(9)))
        .collect();
    state.findings = vec![long];
    state.view.page = Page::Findings;
    let screen = Rect::new(0, 0, 80, 24);
    let reaches = |state: &mut State, what: &str| {
        (0..200).any(|_| {
            crate::screen::update::update(state, &key('j'), screen);
            state.refresh();
            text(&drawn(state, 80, 24, &colourful())).contains(what)
        })
    };
    assert!(!text(&drawn(&state, 80, 24, &colourful())).contains("do number 39"));
    assert!(reaches(&mut state, "do number 39"));
    let end = crossterm::event::KeyEvent::new(
        crossterm::event::KeyCode::End,
        crossterm::event::KeyModifiers::NONE,
    );
    crate::screen::update::update(&mut state, &crossterm::event::Event::Key(end), screen);
    assert!(
        !reaches(&mut state, "do number 0 "),
        "it goes no further down"
    );

    let mut state = incident();
    let mut who = (*super::scene::process(812, "redis-server", None)).clone();
    who.args = (0..90)
        .map(|place| format!("--option-{place}=value"))
        .collect();
    state.view.page = Page::Process(who.id());
    let process = state.aggregate.processes.get_mut(&who.id()).unwrap();
    process.who = Some(std::rc::Rc::new(who));
    state.touch();
    state.refresh();
    let first = text(&drawn(&state, 80, 24, &colourful()));
    assert!(
        !first.contains("--option-89=value") && first.contains("connections (2)"),
        "{first}"
    );
    assert!(reaches(&mut state, "--option-89=value"));
    assert!(reaches(&mut state, "10.0.0.3:6379"));
}

#[test]
fn what_was_there_before_the_trace_is_older_than_it() {
    // Full in the snapshot, before anything happened.
    let state = snapshot();
    let text_of = |state: &State, width| text(&drawn(state, width, 24, &colourful()));
    assert!(
        text_of(&state, 120).contains(">0s"),
        "{}",
        text_of(&state, 120)
    );
    let mut state = incident();
    assert!(text_of(&state, 80).contains("for >1m29s"), "the finding");
    assert!(
        text_of(&state, 80).contains("for 39s"),
        "another one began later"
    );
    state.view.page = Page::Process(super::scene::process(2_000, "gunicorn", None).id());
    state.touch();
    state.refresh();
    let page = text_of(&state, 80);
    assert!(page.contains("since before the trace began"), "{page}");
}

#[test]
fn a_flood_says_what_it_does_not_show() {
    use crate::sink::Sink as _;
    let mut state = incident();
    let who = super::scene::process(7, "loader", None);
    for _ in 0..40_000 {
        state.event(&super::scene::refused(90_500, &who)).unwrap();
    }
    state.touch();
    state.refresh();
    let text = text(&drawn(&state, 80, 24, &colourful()));
    assert!(text.contains("39k came too fast to show"), "{text}");
    assert!(crate::screen::ticket::ticket(&state).contains(" more came too fast to show."));
    // The table has them all.
    assert_eq!(state.aggregate.events["connect_failed"], 3_600 + 40_000);
}

#[test]
fn the_ticket_has_what_is_on_screen() {
    let mut state = incident();
    state.view.kinds = Kinds::default();
    state.view.grouping = Grouping::Peer;
    state.touch();
    state.refresh();
    insta::assert_snapshot!("ticket", crate::screen::ticket::ticket(&state));
    state.view.page = Page::Findings;
    let ticket = crate::screen::ticket::ticket(&state);
    insta::assert_snapshot!("ticket_findings", ticket);
    state.view.page = Page::Process(super::scene::process(812, "redis-server", None).id());
    state.touch();
    state.refresh();
    let ticket = crate::screen::ticket::ticket(&state);
    insta::assert_snapshot!("ticket_process", ticket);
}

/// What was recorded opens in the same screen.
#[test]
fn a_recorded_trace_looks_as_the_live_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("incident.tcptrace");
    let mut writer = crate::file::Writer::create(&path, false).unwrap();
    super::scene::happen(&mut writer);
    drop(writer);
    let mut state = State::default();
    crate::file::read(&path, &mut state).unwrap();
    state.set_findings(incident().findings);
    for grouping in Grouping::ALL {
        let mut live = incident();
        for state in [&mut live, &mut state] {
            state.view.grouping = grouping;
            state.touch();
            state.refresh();
        }
        let live = text(&drawn(&live, 200, 60, &colourful()));
        assert_eq!(text(&drawn(&state, 200, 60, &colourful())), live);
    }
}

/// README's picture has the columns that the screen has now: else take another with `cargo xtask picture`.
#[test]
fn the_picture_has_the_columns_of_the_table() {
    let picture = include_str!("../../../../docs/screen.svg");
    let height = |line: &str| {
        line.split(" y=\"")
            .nth(1)?
            .split('"')
            .next()
            .map(str::to_owned)
    };
    let heads = picture.lines().find(|line| line.contains(">PROCESS"));
    let of_the_heads = heads.and_then(height);
    let letters = |line: &str| Some(line.split('>').nth(1)?.split('<').next()?.to_owned());
    let line = picture.lines().filter(|line| height(line) == of_the_heads);
    let words = |line: &str| {
        let words = line.split_whitespace().map(str::to_owned);
        // Only where a process has one.
        words
            .filter(|word| !["UNIT,", "CONTAINER"].contains(&word.as_str()))
            .collect::<Vec<_>>()
    };
    let seen = words(&line.filter_map(letters).collect::<Vec<_>>().join(" "));
    let drawn = text(&drawn(&incident(), 132, 38, &colourful()));
    let drawn = drawn.lines().find(|line| line.starts_with("PROCESS"));
    assert_eq!(seen, words(drawn.unwrap()));
}
