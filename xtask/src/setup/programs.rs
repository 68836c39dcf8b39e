//! The programs that the tests and the benchmarks run beside tcptrace.

use super::{Scope, ebpf_toolchain::find_program, need::Need};

struct Program {
    name: &'static str,
    /// The Debian package that brings it.
    package: &'static [&'static str],
    /// The service that this package would start.
    services: &'static [&'static str],
}

const TESTS: &[Program] = &[
    program("chromium", &["chromium"]),
    program("curl", &["curl"]),
    program("gunicorn", &["gunicorn"]),
    server("haproxy", &["haproxy"], &["haproxy"]),
    program("ip", &["iproute2"]),
    program("java", &["default-jre-headless"]),
    server("memcached", &["memcached"], &["memcached"]),
    program("nft", &["nftables"]),
    server("nginx", &["nginx-light"], &["nginx"]),
    program("node", &["nodejs"]),
    program("nstat", &["iproute2"]),
    program("python3", &["python3"]),
    program("redis-benchmark", &["redis-tools"]),
    program("redis-cli", &["redis-tools"]),
    server("redis-server", &["redis-server"], &["redis-server"]),
    server("rsyslogd", &["rsyslog"], &["rsyslog"]),
    program("script", &["bsdutils"]),
    program("setpriv", &["util-linux"]),
    program("ss", &["iproute2"]),
    program("strace", &["strace"]),
    program("sysctl", &["procps"]),
    program("tcpstates", &["libbpf-tools"]),
    program("tmux", &["tmux"]),
    program("unshare", &["util-linux"]),
    program("wrk", &["wrk"]),
];

/// Beside those of the tests.
const BENCHMARKS: &[Program] = &[
    program("bpftool", &["bpftool"]),
    program("bpftrace", &["bpftrace"]),
    program("taskset", &["util-linux"]),
];

const fn program(name: &'static str, package: &'static [&'static str]) -> Program {
    server(name, package, &[])
}

const fn server(
    name: &'static str,
    package: &'static [&'static str],
    services: &'static [&'static str],
) -> Program {
    Program {
        name,
        package,
        services,
    }
}

/// The names of the programs that the tests run.
pub(super) fn of_tests() -> impl Iterator<Item = &'static str> {
    TESTS.iter().map(|program| program.name)
}

/// The programs of `scope` that are not on this machine.
pub(super) fn missing(scope: Scope) -> impl Iterator<Item = Need> {
    missing_by(scope, |name| {
        // A user's PATH often lacks where an administrator's programs are.
        let administrators = ["/usr/sbin", "/sbin"].map(|directory| format!("{directory}/{name}"));
        find_program(name).is_some() || administrators.iter().any(|path| path_is_file(path))
    })
}

fn path_is_file(path: &str) -> bool {
    std::path::Path::new(path).is_file()
}

fn missing_by(scope: Scope, is_there: impl Fn(&str) -> bool) -> impl Iterator<Item = Need> {
    let tables: &[&[Program]] = match scope {
        Scope::Build | Scope::Lint => &[],
        Scope::Test => &[TESTS],
        Scope::Bench | Scope::All => &[TESTS, BENCHMARKS],
    };
    tables
        .iter()
        .copied()
        .flatten()
        .filter(move |program| !is_there(program.name))
        .map(|program| Need {
            packages: program.package,
            services: program.services,
            by_hand: format!(
                "the program `{}` (on Debian in {})",
                program.name,
                program.package.join(", ")
            ),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_there_is_missing() {
        let missing: Vec<_> = missing_by(Scope::Test, |name| name != "nginx").collect();
        assert_eq!(
            missing,
            [Need {
                packages: &["nginx-light"],
                services: &["nginx"],
                by_hand: "the program `nginx` (on Debian in nginx-light)".to_owned(),
            }]
        );
        assert_eq!(missing_by(Scope::All, |_| true).count(), 0);
    }

    #[test]
    fn what_benchmarks_alone_need_is_not_asked_of_tests() {
        let bpftrace = |scope| missing_by(scope, |name| name != "bpftrace").count();
        let scopes = [
            Scope::Build,
            Scope::Lint,
            Scope::Test,
            Scope::Bench,
            Scope::All,
        ];
        assert_eq!(scopes.map(bpftrace), [0, 0, 0, 1, 1]);
    }
}
