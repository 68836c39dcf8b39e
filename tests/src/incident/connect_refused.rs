//! A peer that is down: each attempt to connect is answered with a reset.

use crate::{
    Netns, Veth,
    program::{Client, Rsyslog},
    wait,
};

/// Where nobody listens.
pub const COLLECTOR: &str = "127.0.0.1:24224";
const PORT: &str = "24224";

/// A program at the near host that tries so many times, five a second, where the far host's firewall rejects: as nft's `reject` does, with
/// ICMP.
pub fn rejected(veth: &Veth, attempts: u64) -> Client {
    const TRY: &str = r#"
import errno, socket
for _ in range(int(sys.argv[4])):
    with socket.socket() as attempt:
        count(errno.errorcode[attempt.connect_ex((sys.argv[2], int(sys.argv[3])))])
    time.sleep(0.2)
time.sleep(60)
"#;
    veth.far.sysctl("net.ipv4.icmp_ratelimit", "0");
    veth.far.nft(&format!(
        "table inet filter {{
             chain input {{
                 type filter hook input priority 0;
                 tcp dport {PORT} counter reject
             }}
         }}\n"
    ));
    let arguments = [Veth::FAR, PORT, &attempts.to_string()];
    Client::start(&veth.near, TRY, &arguments)
}

/// rsyslog, which forwards over TCP and tries again at a fixed interval of a second.
pub fn rsyslog(netns: &Netns) -> Rsyslog {
    let configuration = format!(
        "module(load=\"imuxsock\" SysSock.Use=\"off\")
         input(type=\"imuxsock\" Socket=\"FOLDER/log\")
         *.* action(type=\"omfwd\" target=\"127.0.0.1\" port=\"{PORT}\" protocol=\"tcp\"
                    action.resumeRetryCount=\"-1\" action.resumeInterval=\"1\")\n"
    );
    let rsyslog = Rsyslog::start(netns.command(Rsyslog::path()), &configuration);
    wait::until_true("rsyslog takes a line", || rsyslog.log("something happened"));
    rsyslog
}

/// A program that logs so many lines, five a second, with fluent-logger, which connects anew for each: no back-off at all.
pub fn fluent_logger(netns: &Netns, lines: u64) -> Client {
    const LOG: &str = r#"
from fluent import sender
logger = sender.FluentSender("app", host="127.0.0.1", port=int(sys.argv[2]))
for _ in range(int(sys.argv[3])):
    sent = logger.emit("request", {"status": 200})
    count("ok" if sent else type(logger.last_error).__name__)
    logger.clear_last_error()
    time.sleep(0.2)
time.sleep(60)
"#;
    Client::start(netns, LOG, &[PORT, &lines.to_string()])
}

/// A program that tries so many times, and waits twice as long each time. Its connect does not block: the call's own result says nothing.
pub fn doubling(netns: &Netns, attempts: u64) -> Client {
    const ASYNC: &str = r#"
import asyncio
async def main():
    pause = 0.4
    for _ in range(int(sys.argv[3])):
        try:
            await asyncio.open_connection("127.0.0.1", int(sys.argv[2]))
        except ConnectionRefusedError as error:
            count(type(error).__name__)
        await asyncio.sleep(pause)
        pause *= 2
    await asyncio.sleep(60)
asyncio.run(main())
"#;
    Client::start(netns, ASYNC, &[PORT, &attempts.to_string()])
}

/// Forty workers of one program whose redis is down: each tries so many times, twice a second, and then waits.
pub fn forty_workers(netns: &Netns, attempts: u64) -> Client {
    const WORKERS: &str = r#"
import redis
for _ in range(39):
    if os.fork() == 0:
        break
for _ in range(int(sys.argv[3])):
    try:
        redis.Connection(host="127.0.0.1", port=int(sys.argv[2])).connect()
    except redis.ConnectionError as error:
        count(str(error))
    time.sleep(0.5)
time.sleep(60)
"#;
    Client::start(netns, WORKERS, &[PORT, &attempts.to_string()])
}
