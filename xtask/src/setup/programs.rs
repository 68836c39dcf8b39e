//! The programs that the tests run beside tcptrace.

use super::{ebpf_toolchain::find_program, need::Need};

struct Program {
    name: &'static str,
    /// The Debian package that brings it.
    package: &'static [&'static str],
    /// The service that this package would start.
    services: &'static [&'static str],
}

const PROGRAMS: &[Program] = &[
    program("curl", &["curl"]),
    program("gunicorn", &["gunicorn"]),
    program("ip", &["iproute2"]),
    program("nft", &["nftables"]),
    server("nginx", &["nginx-light"], &["nginx"]),
    program("nstat", &["iproute2"]),
    program("redis-cli", &["redis-tools"]),
    server("redis-server", &["redis-server"], &["redis-server"]),
    program("setpriv", &["util-linux"]),
    program("ss", &["iproute2"]),
    program("strace", &["strace"]),
    program("sysctl", &["procps"]),
    program("tcpstates", &["libbpf-tools"]),
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

/// The programs that are not on this machine.
pub(super) fn missing() -> impl Iterator<Item = Need> {
    missing_by(|name| {
        // A user's PATH often lacks where an administrator's programs are.
        let administrators = ["/usr/sbin", "/sbin"].map(|directory| format!("{directory}/{name}"));
        find_program(name).is_some() || administrators.iter().any(|path| path_is_file(path))
    })
}

fn path_is_file(path: &str) -> bool {
    std::path::Path::new(path).is_file()
}

fn missing_by(is_there: impl Fn(&str) -> bool) -> impl Iterator<Item = Need> {
    PROGRAMS
        .iter()
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
        let missing: Vec<_> = missing_by(|name| name != "nginx").collect();
        assert_eq!(
            missing,
            [Need {
                packages: &["nginx-light"],
                services: &["nginx"],
                by_hand: "the program `nginx` (on Debian in nginx-light)".to_owned(),
            }]
        );
        assert_eq!(missing_by(|_| true).count(), 0);
    }
}
