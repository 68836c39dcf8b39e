//! `packet-loss` and `local-firewall-drop`: segments get lost, and where.

use std::time::Duration;

use tcptrace_tests::{
    Veth,
    finding::{Diagnosis, the_only},
    incident::loss::{self, Firewall, LossyPath},
};

const WATCH: Duration = Duration::from_secs(8);
const PAGES: usize = 5;

/// A path that loses packets: as many are sent again as were lost.
#[test]
fn on_the_way() {
    let path = LossyPath::new(50);
    let nginx = loss::nginx(&path.near);
    let before = path.near.counter("TcpRetransSegs");
    let diagnosis = Diagnosis::start(&path.near, WATCH);
    loss::fetch(&path.far, LossyPath::NEAR, PAGES);
    path.near.quiet();
    let (lost, sent_again) = (path.dropped(), path.near.counter("TcpRetransSegs") - before);
    assert!(lost > 100 && sent_again >= lost, "{sent_again} of {lost}");
    let finding = the_only("packet-loss", &diagnosis.findings());
    assert_eq!(finding.pid(), nginx.workers()[0]);
    assert_eq!(finding.number("Tcp.RetransSegs"), sent_again);
    assert!(finding.number("of those, fast") * 10 >= sent_again * 9);
    assert!(!finding.remedy().contains("nft"), "{finding:#?}");
}

/// A firewall of this machine drops them, and says so with each.
#[test]
fn in_the_local_firewall() {
    let incident = Firewall::new();
    let before = incident.veth.near.counter("TcpRetransSegs");
    let diagnosis = Diagnosis::start(&incident.veth.near, WATCH);
    loss::fetch(&incident.veth.far, Veth::NEAR, PAGES);
    incident.veth.near.quiet();
    let (dropped, sent_again) = (
        incident.dropped(),
        incident.veth.near.counter("TcpRetransSegs") - before,
    );
    // An acknowledgement without data is dropped as well, and not sent again.
    assert!(
        dropped > 100 && sent_again + 10 >= dropped,
        "{sent_again} of {dropped}"
    );
    let finding = the_only("local-firewall-drop", &diagnosis.findings());
    assert_eq!(finding.pid(), incident.nginx.workers()[0]);
    assert_eq!(finding.peer(), Veth::FAR);
    assert_eq!(finding.number("retransmit segs"), sent_again);
    // Against nft's own counter: drops are watched from the first loss on.
    let seen = finding.number("NETFILTER_DROP");
    assert!(
        seen <= dropped && seen * 4 >= dropped * 3,
        "{seen} of {dropped}"
    );
    assert!(
        finding.sentence().contains(&format!(
            "in network namespace {}",
            incident.veth.far.inode()
        )),
        "{finding:#?}"
    );
    finding.recommends(&[
        "nft list ruleset",
        "reject instead of drop",
        "Do not look at the network",
    ]);
}
