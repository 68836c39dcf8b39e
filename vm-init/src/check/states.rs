//! One loopback connection: every state of both ends is there, in order, with the right process, and the counters of
//! every hook add up.

use anyhow::{Result, ensure};
use serde_json::Value;

use super::peers::{self, Connection};
use super::watch::{self, Watch};

/// The end that closes first.
const CLIENT: &[&str] = &[
    "CLOSE SYN_SENT",
    "SYN_SENT ESTABLISHED",
    "ESTABLISHED FIN_WAIT1",
    "FIN_WAIT1 FIN_WAIT2",
    "FIN_WAIT2 TIME_WAIT",
];

/// The end that was accepted.
const SERVER: &[&str] = &[
    "LISTEN SYN_RECV",
    "SYN_RECV ESTABLISHED",
    "ESTABLISHED CLOSE_WAIT",
    "CLOSE_WAIT LAST_ACK",
    "LAST_ACK CLOSE",
];

/// In emulation some kernels skip a run of a program, and count it: then another connection is made.
const ATTEMPTS: usize = 5;

pub(super) fn run() -> Result<()> {
    let mut watch = Watch::start("all")?;
    ensure!(
        watch.start["schema"] == 1,
        "the schema is {}",
        watch.start["schema"]
    );
    for hook in watch.start["hooks"].as_array().into_iter().flatten() {
        rests_on(hook, &watch::best_rung())?;
    }
    let mut attempts = 1;
    while !is_seen_whole(&mut watch)? {
        ensure!(
            attempts < ATTEMPTS,
            "the kernel skipped a run for each of {attempts} connections"
        );
        attempts += 1;
    }
    let end = watch.finish()?;
    for hook in end["hooks"].as_array().into_iter().flatten() {
        adds_up(hook)?;
        ensure!(
            hook["hook"] != "tcp_destroy_sock" || hook["entered"] != 0,
            "no socket was freed: {hook}"
        );
    }
    Ok(())
}

/// Makes a connection and reads what the tracer tells of it; `false` when the kernel skipped a run meanwhile.
fn is_seen_whole(watch: &mut Watch) -> Result<bool> {
    let connection = peers::connect_once()?;
    let mut client: Vec<String> = Vec::new();
    let mut server: Vec<(Value, String)> = Vec::new();
    while client.last().map(String::as_str) != CLIENT.last().copied()
        || server.last().map(|(_, step)| step.as_str()) != SERVER.last().copied()
    {
        let event = watch.next()?;
        ensure!(
            event["event"] != "end",
            "the trace ended; client {client:?}, server {server:?}"
        );
        if event["event"] == "lost" && event["hook"] == "inet_sock_set_state" {
            return Ok(false);
        }
        match side(&event, &connection) {
            Some(Side::Client) => {
                ensure!(
                    event["pid"] == connection.client_pid,
                    "the client is {}, not {event}",
                    connection.client_pid
                );
                client.push(transition(&event));
            }
            Some(Side::Server) => {
                let owned = event["pid"] == connection.server_pid;
                ensure!(
                    owned || event["pid"].is_null(),
                    "the server is {}, not {event}",
                    connection.server_pid
                );
                let late = event["old"] != "LISTEN" && event["old"] != "SYN_RECV";
                ensure!(owned || !late, "the server had accepted by then: {event}");
                server.push((event["conn_id"].clone(), transition(&event)));
            }
            None => {}
        }
    }
    ensure!(client == CLIENT, "the client went through {client:?}");
    // Two segments at once may each make a child of one SYN; the kernel drops the second at once.
    let dropped = server.iter().find(|(_, step)| step == "SYN_RECV CLOSE");
    if let Some((dropped, _)) = dropped.cloned() {
        server.retain(|(connection, _)| *connection != dropped);
    }
    let server: Vec<String> = server.into_iter().map(|(_, step)| step).collect();
    ensure!(server == SERVER, "the server went through {server:?}");
    Ok(true)
}

/// Hooks that have a rung on functions. A Debian kernel lets every one of them be had, so another rung than the one asked
/// for is a refusal.
const ON_FUNCTIONS: &[&str] = &[
    "time_wait_overflow",
    "accept",
    "connect_failed",
    "fd_exhausted",
];

fn rests_on(hook: &Value, asked: &str) -> Result<()> {
    let name = hook["hook"].as_str().unwrap_or_default();
    let got = hook["rung"].as_str().unwrap_or_default();
    let right = match asked {
        "fexit" => got == "fexit",
        "kprobe" => got == "kprobe",
        _ => got != "fexit" && got != "kprobe",
    };
    ensure!(
        right || !ON_FUNCTIONS.contains(&name),
        "asked for {asked}, {name} rests on {got}"
    );
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

/// Which end of the connection a state event is about. The client's port is not chosen yet at its first one, and up to
/// Linux 6.12 the accepted socket does not know it yet at its own first one
/// (`net/ipv4/inet_connection_sock.c: inet_csk_clone_lock` sets the state, then the addresses).
fn side(event: &Value, connection: &Connection) -> Option<Side> {
    if event["event"] != "state" {
        return None;
    }
    let (client, server) = (
        u64::from(connection.client.port()),
        u64::from(connection.server.port()),
    );
    let local = event["lport"].as_u64().unwrap_or(0);
    let remote = event["rport"].as_u64().unwrap_or(0);
    if remote == server && (local == client || local == 0) {
        Some(Side::Client)
    } else if local == server && (remote == client || (remote == 0 && event["new"] == "SYN_RECV")) {
        Some(Side::Server)
    } else {
        None
    }
}

fn transition(event: &Value) -> String {
    let text = |key: &str| event[key].as_str().unwrap_or("?").to_owned();
    format!("{} {}", text("old"), text("new"))
}

/// `entered = emitted + filtered + aggregated + lost`.
fn adds_up(hook: &Value) -> Result<()> {
    let count = |value: &Value| value.as_u64().unwrap_or(0);
    let lost: u64 = hook["lost"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(_, value)| count(value))
        .sum();
    let sum =
        count(&hook["emitted"]) + count(&hook["filtered"]) + count(&hook["aggregated"]) + lost;
    ensure!(
        count(&hook["entered"]) == sum,
        "the counters do not add up: {hook}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn connection() -> Connection {
        Connection {
            client: "127.0.0.1:50000".parse().unwrap(),
            client_pid: 10,
            server: "127.0.0.1:4000".parse().unwrap(),
            server_pid: 11,
        }
    }

    #[test]
    fn events_are_told_apart_by_their_ports() {
        let event = |lport, rport| json!({"event": "state", "lport": lport, "rport": rport});
        assert!(side(&event(50000, 4000), &connection()) == Some(Side::Client));
        assert!(side(&event(0, 4000), &connection()) == Some(Side::Client));
        assert!(side(&event(4000, 50000), &connection()) == Some(Side::Server));
        assert!(side(&event(4000, 0), &connection()).is_none());
        let mut cloned = event(4000, 0);
        cloned["new"] = json!("SYN_RECV");
        assert!(side(&cloned, &connection()) == Some(Side::Server));
        assert!(
            side(
                &json!({"event": "connection", "lport": 50000, "rport": 4000}),
                &connection()
            )
            .is_none()
        );
    }

    #[test]
    fn a_hook_below_the_rung_that_was_asked_for_is_a_refusal() {
        let hook = |rung| json!({"hook": "accept", "rung": rung});
        assert!(rests_on(&hook("fexit"), "fexit").is_ok());
        assert!(rests_on(&hook("kprobe"), "fexit").is_err());
        assert!(rests_on(&hook("fexit"), "kprobe").is_err());
        assert!(rests_on(&hook("kprobe"), "tracepoint").is_err());
        assert!(rests_on(&hook("tracepoint"), "tracepoint").is_ok());
        let only_one = json!({"hook": "tcp_retransmit_skb", "rung": "tp_btf"});
        assert!(rests_on(&only_one, "fexit").is_ok());
    }

    #[test]
    fn a_hook_that_lost_without_a_count_does_not_add_up() {
        let mut hook = json!({"entered": 5, "emitted": 2, "filtered": 1, "aggregated": 1, "lost": {"ring_full": 1}});
        assert!(adds_up(&hook).is_ok());
        hook["entered"] = json!(6);
        assert!(adds_up(&hook).is_err());
    }
}
