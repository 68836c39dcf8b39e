//! `load NAME`: work for `cargo xtask bench` and `cargo xtask soak`, in a network namespace of its own, counted by itself.
//!
//! It says `ready` and the namespace's inode number, then takes a command a line. `warm` makes a few connections; `run SECONDS`
//! works and answers with one JSON object; `counters` waits until every connection has ended and answers with the kernel's
//! counters of the namespace. It ends with its input.

mod churn;
mod crowd;
mod emfile;
mod idle;
mod lossy;
mod nginx;
mod processes;
mod redis;
mod syscall;
mod work;

use std::{
    io::{self, BufRead as _},
    time::Duration,
};

use churn::{Churn, Trickle};
use tcptrace_tests::Netns;
use work::{Load, Meter};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let name = arguments.first().map_or("", String::as_str);
    // Its part of a load of several processes, in the namespace of the one that started it.
    if name == idle::HOLDER {
        return idle::hold();
    }
    let netns = Netns::new();
    netns.run(|| serve(load(name, &netns).as_mut(), &netns));
}

fn load(name: &str, netns: &Netns) -> Box<dyn Load> {
    match name {
        "churn" => Box::new(Churn::new(1)),
        "trickle" => Box::new(Trickle(Churn::new(1))),
        "churn-all" => Box::new(Churn::new(processors())),
        "overflow" => {
            netns.sysctl("net.ipv4.tcp_max_tw_buckets", "50");
            Box::new(Churn::new(1))
        }
        "redis" => Box::new(redis::Redis::new(netns)),
        "nginx" => Box::new(nginx::Nginx::new(netns)),
        "emfile" => Box::new(emfile::Emfile::new()),
        "lossy" => Box::new(lossy::Lossy::new(netns)),
        "idle" => Box::new(idle::Idle::new()),
        "crowd" => Box::new(crowd::Crowd::new()),
        "processes" => Box::new(processes::Processes::new()),
        "syscall" => Box::new(syscall::Syscall),
        _ => panic!("no load `{name}`"),
    }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

fn serve(load: &mut dyn Load, netns: &Netns) {
    let warmer = Churn::new(1);
    println!("ready {}", netns.inode());
    for line in io::stdin().lock().lines() {
        let line = line.expect("read a command");
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("warm", _) => warmer.rounds(50),
            ("run", seconds) => {
                let time = Duration::from_secs_f64(seconds.parse().expect("seconds"));
                let meter = Meter::start(load.servers());
                let work = load.run(time);
                println!("{}", meter.stop(&work));
            }
            ("counters", _) => {
                netns.quiet();
                println!("{}", counters(netns));
            }
            _ => panic!("no command `{line}`"),
        }
    }
}

fn counters(netns: &Netns) -> serde_json::Value {
    const NAMES: [&str; 4] = [
        "TcpActiveOpens",
        "TcpPassiveOpens",
        "TcpRetransSegs",
        "TcpExtTCPTimeWaitOverflow",
    ];
    NAMES
        .map(|name| (name, netns.counter(name)))
        .into_iter()
        .collect()
}
