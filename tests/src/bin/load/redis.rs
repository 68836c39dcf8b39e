//! `redis-benchmark` against `redis-server`: requests over connections that stay open.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use nix::unistd::Pid;
use tcptrace_tests::{Netns, Reaped, need_program, wait};

use crate::work::{Latency, Load, Work};

const PORT: &str = "6379";
/// Requests for each second of the time wanted: `redis-benchmark` takes a number, not a time.
const RATE: f64 = 150_000.0;

/// The server.
pub(crate) struct Redis(Reaped);

impl Redis {
    pub(crate) fn new(netns: &Netns) -> Self {
        let mut command = netns.command(need_program("redis-server", "redis-server"));
        command
            .args(["--port", PORT, "--bind", "127.0.0.1", "--save", ""])
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let server = Reaped(command.spawn().expect("start redis-server"));
        wait::until_true("redis-server answers", || {
            std::net::TcpStream::connect(format!("127.0.0.1:{PORT}")).is_ok()
        });
        Self(server)
    }
}

impl Load for Redis {
    fn run(&mut self, time: Duration) -> Work {
        let requests = (RATE * time.as_secs_f64()) as u64;
        let output = Command::new(need_program("redis-benchmark", "redis-tools"))
            .args(["-p", PORT, "-t", "get", "-c", "50", "-n"])
            .arg(requests.to_string())
            .output()
            .expect("start redis-benchmark");
        let text = String::from_utf8_lossy(&output.stdout);
        let percentile =
            |at| percentile(&text, at).unwrap_or_else(|| panic!("no {at} % in {text}"));
        Work {
            done: requests,
            latency: Latency::Reported([50.0, 99.0, 99.9].map(percentile)),
        }
    }

    fn servers(&self) -> Vec<Pid> {
        vec![Pid::from_raw(self.0.id() as i32)]
    }
}

/// Microseconds from the lines `99.902% <= 0.223 milliseconds`: the first that holds `at` percent.
fn percentile(text: &str, at: f64) -> Option<f64> {
    let lines = text.lines().filter_map(|line| {
        let (percent, time) = line.split_once("% <= ")?;
        let time = time.strip_prefix(' ').unwrap_or(time);
        let percent: f64 = percent.trim().parse().ok()?;
        let ms: f64 = time.split(' ').next()?.parse().ok()?;
        Some((percent, ms * 1e3))
    });
    lines
        .into_iter()
        .find(|(percent, _)| *percent >= at)
        .map(|(_, us)| us)
}
