//! `wrk` against `nginx`: requests over connections that stay open.

use std::{
    fs,
    process::{Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tcptrace_tests::{Netns, Reaped, need_program, wait};
use tempfile::TempDir;

use crate::work::{Latency, Load, Work};

const ADDRESS: &str = "127.0.0.1:8080";
/// Makes `wrk` print requests and percentiles, us, and nothing else to read.
const REPORT: &str = "done = function(summary, latency)
    print('@', summary.requests, latency:percentile(50), latency:percentile(99), latency:percentile(99.9))
end
";

/// The server, and the folder of its files.
pub(crate) struct Nginx {
    master: Reaped,
    worker: Pid,
    folder: TempDir,
}

impl Nginx {
    pub(crate) fn new(netns: &Netns) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().display();
        let configuration = format!(
            "daemon off; user root; worker_processes 1; pid {path}/pid; error_log {path}/error;
             events {{ worker_connections 256; }}
             http {{
                 access_log off; keepalive_requests 1000000000;
                 client_body_temp_path {path}; proxy_temp_path {path}; fastcgi_temp_path {path};
                 uwsgi_temp_path {path}; scgi_temp_path {path};
                 server {{ listen {ADDRESS}; location / {{ return 200 'x'; }} }}
             }}"
        );
        let file = |name| folder.path().join(name);
        fs::write(file("conf"), configuration).expect("write the configuration");
        fs::write(file("report.lua"), REPORT).expect("write the script");
        let mut command = netns.command(need_program("nginx", "nginx-light"));
        command
            .arg("-c")
            .arg(file("conf"))
            .arg("-p")
            .arg(folder.path());
        command.arg("-e").arg(file("error")).stdin(Stdio::null());
        let master = Reaped(command.spawn().expect("start nginx"));
        wait::until_true("nginx answers", || {
            std::net::TcpStream::connect(ADDRESS).is_ok()
        });
        let children = format!("/proc/{0}/task/{0}/children", master.id());
        let worker = wait::until("nginx has a worker", || {
            let children = fs::read_to_string(&children).ok()?;
            children.split_whitespace().next()?.parse().ok()
        });
        Self {
            master,
            worker: Pid::from_raw(worker),
            folder,
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Ends the worker too, which a killed master would leave behind.
        let _ = kill(Pid::from_raw(self.master.id() as i32), Signal::SIGTERM);
        let _ = self.master.wait();
    }
}

impl Load for Nginx {
    fn run(&mut self, time: Duration) -> Work {
        let seconds = time.as_secs_f64().ceil();
        let output = Command::new(need_program("wrk", "wrk"))
            .args(["-t", "1", "-c", "32", "-d", &format!("{seconds}s"), "-s"])
            .arg(self.folder.path().join("report.lua"))
            .arg(format!("http://{ADDRESS}/"))
            .output()
            .expect("start wrk");
        let text = String::from_utf8_lossy(&output.stdout);
        let numbers: Vec<f64> = text
            .lines()
            .find_map(|line| line.strip_prefix('@'))
            .unwrap_or_else(|| panic!("no report in {text}"))
            .split_whitespace()
            .map(|word| word.parse().expect("a number"))
            .collect();
        Work {
            done: numbers[0] as u64,
            latency: Latency::Reported([numbers[1], numbers[2], numbers[3]]),
        }
    }

    fn servers(&self) -> Vec<Pid> {
        vec![self.worker]
    }
}
