//! `docs/schema.md` documents exactly the fields that the tool prints.

use std::collections::{BTreeMap, BTreeSet};

use tcptrace_tests::{Trace, Traffic, Veth, events::Event, schema, tcptrace};

type Fields = BTreeMap<String, BTreeSet<String>>;

fn printed(event: &Event) -> BTreeSet<String> {
    schema::printed(&event.0)
}

#[test]
fn every_field_is_documented_and_every_documented_field_is_printed() {
    let veth = Veth::new();
    veth.near.sysctl("net.ipv4.tcp_max_tw_buckets", "2");
    let cgroup = tcptrace_tests::Cgroup::new(&format!("docker-{}.scope", "5c".repeat(32)));
    let trace = Trace::start(&veth.near, &["--events", "all"]);
    let (mut client, mut server) = (Traffic::start(&veth.near), Traffic::start(&veth.far));
    cgroup.add(client.pid());
    let port = server.ok("listen 10.99.0.2:0 64")[1];
    for at in 0..10 {
        client.ok(&format!("connect {}:{port}", Veth::FAR));
        server.ok("accept 0");
        client.ok(&format!("close {at}"));
        assert_eq!(server.error(&format!("receive {at} 1")), "EOF");
        server.ok(&format!("close {at}"));
    }
    assert_eq!(
        client.error(&format!("connect {}:4", Veth::FAR)),
        "ECONNREFUSED"
    );
    client.ok(&format!("connect {}:{port}", Veth::FAR));
    server.ok("accept 0");
    veth.far.drop_incoming("meta l4proto tcp");
    client.ok("send 10 100");
    let seen = |kind: &str| {
        trace.wait_for(kind, |events| {
            events.iter().any(|event| event.kind() == kind)
        })
    };
    seen("retransmit");
    veth.far.nft_clear();
    client.ok("reset 10");
    client.ok("limit 8");
    client.ok("storm socket 20");
    for kind in [
        "state",
        "connection",
        "connect_failed",
        "reset",
        "time_wait_overflow",
        "fd_exhausted",
    ] {
        seen(kind);
    }
    let ended = trace.stop();

    let pages = schema::documented();
    let common = &pages["Common fields"];
    let mut union = Fields::new();
    for event in ended.events.iter().filter(|event| event.kind() != "lost") {
        let fields = printed(event);
        union
            .entry(event.kind().to_owned())
            .or_default()
            .extend(fields.clone());
        let top: BTreeSet<_> = fields
            .into_iter()
            .filter(|name| !name.contains(['.', '[']))
            .collect();
        let kind = event.kind();
        let page = common
            .union(&pages[kind])
            .filter(|name| !name.contains(['.', '[']))
            .cloned()
            .collect();
        assert_eq!(
            top, page,
            "each field is there in each {kind}, be it null: {event:?}"
        );
    }
    for (kind, fields) in &union {
        let page: BTreeSet<_> = common.union(&pages[kind]).cloned().collect();
        let undocumented: Vec<_> = fields.difference(&page).collect();
        assert!(
            undocumented.is_empty(),
            "{kind}: printed, but not in docs/schema.md: {undocumented:?}"
        );
    }
    let all: BTreeSet<_> = union.values().flatten().cloned().collect();
    for field in common {
        assert!(
            all.contains(field),
            "in docs/schema.md, but never printed: {field}"
        );
    }
    assert_eq!(printed(&ended.start), pages["start"]);
    assert_eq!(printed(&ended.end), pages["end"]);
    let doctor = tcptrace(["doctor", "--format", "json"]).output().unwrap();
    let report = Event(serde_json::from_slice(&doctor.stdout).unwrap());
    assert_eq!(printed(&report), pages["doctor"]);
    let kinds: BTreeSet<_> = pages.keys().map(String::as_str).collect();
    let known = BTreeSet::from([
        "Common fields",
        "state",
        "connection",
        "retransmit",
        "reset",
        "connect_failed",
        "time_wait_overflow",
        "fd_exhausted",
        "lost",
        "start",
        "end",
        // What `diagnose` prints.
        "findings",
        // Compared in `report.rs` and `diff.rs`.
        "report",
        "report: retransmits",
        "report: fd_exhausted",
        "report: time_wait_overflow",
        "report: connections",
        "report: peers and listeners",
        "diff",
        "doctor",
    ]);
    assert_eq!(kinds, known, "the page's tables");
}
