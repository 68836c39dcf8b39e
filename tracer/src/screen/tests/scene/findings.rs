//! What is found in it.

use super::at;
use crate::diagnose::{About, Evidence, Finding, Seen, Severity};

pub(super) fn findings() -> Vec<Finding> {
    vec![
        Finding {
            name: "connect-refused",
            severity: Severity::Critical,
            first: at(500),
            last: at(90_000),
            seen: Seen::Lately,
            sentence: "40 gunicorn processes are refused by 10.0.0.9:8080: nothing listens there".to_owned(),
            about: About::default(),
            evidence: vec![Evidence {
                name: "failed connects".to_owned(),
                value: "3600 x ECONNREFUSED".to_owned(),
                source: "connect_failed".to_owned(),
            }],
            remedy: vec!["start what should listen at 10.0.0.9:8080".to_owned()],
            page: "docs/findings/connect-refused.md",
        },
        Finding {
            name: "fd-limit",
            severity: Severity::Critical,
            first: at(50_500),
            last: at(90_000),
            seen: Seen::Lately,
            sentence: "python3[1234] has all 24 of its 24 descriptors open: 28200 calls failed with EMFILE".to_owned(),
            about: About::default(),
            evidence: vec![],
            remedy: vec!["raise RLIMIT_NOFILE, now 24".to_owned()],
            page: "docs/findings/fd-limit.md",
        },
        Finding {
            name: "peer-vanished",
            severity: Severity::Warning,
            first: at(8_000),
            last: at(90_000),
            seen: Seen::Lately,
            sentence: "10.0.0.2:6379 acknowledges nothing to redis-server[812]".to_owned(),
            about: About::default(),
            evidence: vec![],
            remedy: vec![],
            page: "docs/findings/peer-vanished.md",
        },
    ]
}
