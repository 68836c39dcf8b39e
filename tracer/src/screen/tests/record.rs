//! Recording from the middle of a trace.

use std::{cell::RefCell, io, rc::Rc};

use tracer_common::process::Totals;

use super::scene::{at, incident, process, refused, row};
use crate::{
    aggregate::Aggregate,
    event::Event,
    fact::{Fact, Subject, name},
    screen::record::Recorder,
    sink::Sink,
    trace::frame::{End, Start, Sums},
};

/// A sink that can be looked into.
#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Aggregate>>);

impl Sink for Shared {
    fn start(&mut self, start: &Start) -> io::Result<()> {
        self.0.borrow_mut().start(start)
    }
    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.0.borrow_mut().event(event)
    }
    fn fact(&mut self, fact: &Fact) -> io::Result<()> {
        self.0.borrow_mut().fact(fact)
    }
    fn sums(&mut self, sums: &Sums) -> io::Result<()> {
        self.0.borrow_mut().sums(sums)
    }
    fn end(&mut self, end: &End) -> io::Result<()> {
        self.0.borrow_mut().end(end)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_recording_has_what_happened_since_and_what_was_known_before() {
    let state = incident();
    let worker = process(2_000, "gunicorn", Some("shop.service"));
    let before = state.aggregate.process(worker.id()).unwrap().totals;
    assert!(before.connect_failed > 0);

    let shared = Shared::default();
    let mut recorder = Recorder::new(Box::new(shared.clone()), &state.aggregate).unwrap();
    recorder.event(&refused(91_000, &worker)).unwrap();
    let totals = Totals {
        connect_failed: before.connect_failed + 1,
        ..before
    };
    let sums = Sums {
        ts: at(91_500),
        processes: vec![row(&worker, 3, totals)],
        hooks: state.aggregate.hooks.clone(),
    };
    recorder.sums(&sums).unwrap();
    recorder.finish(at(92_000)).unwrap();

    let recorded = shared.0.borrow();
    assert_eq!(recorded.start.as_ref().unwrap().ts, state.aggregate.now);
    let end = recorded.end.as_ref().unwrap();
    assert_eq!(end.events.values().sum::<u64>(), 1);
    assert_eq!(end.duration_us, 2_000_000);
    let totals = recorded.process(worker.id()).unwrap().totals;
    assert_eq!((totals.connect_failed, totals.connections), (1, 0));
    assert!(
        !recorded.lost().is_any(),
        "what was lost before is not of this recording"
    );
    let script = Subject::Process(process(1_234, "python3", None).id());
    assert_eq!(recorded.facts.number(&script, name::LIMIT_SOFT), Some(24));
    let redis = process(812, "redis-server", None);
    assert_eq!(recorded.process(redis.id()).unwrap().sockets, 60);
}
