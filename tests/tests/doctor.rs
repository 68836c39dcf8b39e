//! `tcptrace doctor`, and what it and `watch` say where something is in the way.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use serde_json::Value;
use tcptrace_tests::{Netns, Trace, Traffic, need_program, require_root, tcptrace, tcptrace_path};
use tempfile::TempDir;

const NEEDED: [&str; 2] = ["CAP_BPF", "CAP_PERFMON"];

/// The binary where another user can reach it: not in the build folder.
struct ForAll(TempDir);

impl ForAll {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::copy(tcptrace_path(), folder.path().join("tcptrace")).unwrap();
        Self(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("tcptrace")
    }
}

/// Runs it as `nobody`, with these capabilities only.
fn as_nobody(binary: &ForAll, capabilities: &str) -> Command {
    require_root();
    let mut command = Command::new(need_program("setpriv", "util-linux"));
    command
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .args(["--inh-caps", capabilities, "--ambient-caps", capabilities])
        .arg(binary.path())
        .current_dir("/");
    command
}

/// Runs it as root, in a mount namespace of its own that `set_up`, a line of shell, has changed.
fn where_mounted(set_up: &str, arguments: &[&str]) -> Output {
    require_root();
    Command::new(need_program("unshare", "util-linux"))
        .args(["--mount", "sh", "-c"])
        .arg(format!("{set_up} && exec \"$@\""))
        .arg("sh")
        .arg(tcptrace_path())
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn todo(report: &Value) -> String {
    report["todo"].to_string()
}

#[test]
fn all_is_well_here() {
    require_root();
    let output = tcptrace(["doctor", "--format", "json"]).output().unwrap();
    let found = report(&output);
    assert_eq!(output.status.code(), Some(0), "{found:#}");
    assert_eq!(found["ready"], true);
    assert_eq!(found["self_test"]["status"], "ok", "{found:#}");
    assert_eq!(found["btf"]["status"], "ok");
    assert_eq!(todo(&found), "[]");
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(found["kernel"], release.trim());
    for capability in found["capabilities"].as_array().unwrap() {
        let needed = NEEDED.contains(&capability["name"].as_str().unwrap());
        assert_eq!(capability["required"], needed, "{capability}");
        assert!(capability["held"] == true || !needed, "{capability}");
    }
    for hook in found["hooks"].as_array().unwrap() {
        assert!(hook["rung"].is_string(), "{hook}");
    }
    assert!(found["map_bytes"].as_u64() > found["ring_bytes"].as_u64());
}

#[test]
fn all_is_well_here_in_words() {
    require_root();
    let output = tcptrace(["doctor"]).output().unwrap();
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}");
    for line in [
        "+ BTF ",
        "+ CAP_BPF ",
        "+ inet_sock_set_state ",
        "+ self-test ",
    ] {
        assert!(
            said.lines().any(|it| it.starts_with(line)),
            "{line}: {said}"
        );
    }
    assert!(said.contains("\nready: "), "{said}");
}

/// Without root it says what it could not see, which is not a "no".
#[test]
fn as_another_user() {
    let binary = ForAll::new();
    let doctor = |format| {
        let mut command = as_nobody(&binary, "-all");
        command
            .args(["doctor", "--format", format])
            .output()
            .unwrap()
    };
    let output = doctor("json");
    let found = report(&output);
    assert_eq!(output.status.code(), Some(3), "{found:#}");
    assert_eq!(found["ready"], false);
    assert_eq!(found["btf"]["status"], "ok", "no root is needed for it");
    assert_eq!(found["self_test"]["status"], "unknown");
    for hook in found["hooks"].as_array().unwrap() {
        assert!(hook["rung"].is_null(), "{hook}");
        for reason in hook["refused"].as_object().unwrap().values() {
            assert!(
                reason.as_str().unwrap().starts_with("could not probe: "),
                "{hook}"
            );
        }
    }
    for capability in NEEDED {
        assert!(todo(&found).contains(capability), "{found:#}");
    }
    let output = doctor("text");
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{said}");
    for part in ["could not probe", "\nnot ready:", "sudo"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

/// A kernel without BTF has no such file; one that was built wrong could show an empty one.
#[test]
fn a_kernel_without_type_information() {
    for hidden in [
        "mount -t tmpfs none /sys/kernel/btf",
        "mount --bind /dev/null /sys/kernel/btf/vmlinux",
    ] {
        let output = where_mounted(hidden, &["watch", "--duration", "1s"]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{said}");
        for part in [
            "/sys/kernel/btf/vmlinux",
            "hint: ",
            "CONFIG_DEBUG_INFO_BTF=y",
        ] {
            assert!(said.contains(part), "{hidden}: {part} in {said}");
        }
        let output = where_mounted(hidden, &["doctor", "--format", "json"]);
        let found = report(&output);
        assert_eq!(output.status.code(), Some(3), "{found:#}");
        assert_eq!(found["btf"]["status"], "bad");
        assert!(
            todo(&found).contains("CONFIG_DEBUG_INFO_BTF=y"),
            "{found:#}"
        );
        assert_eq!(found["todo"].as_array().unwrap().len(), 1, "said once");
    }
}

/// Each of the capabilities that are needed is missed by its name, and no other.
#[test]
fn a_missing_capability_is_named() {
    require_root();
    for missing in NEEDED {
        let name = missing.trim_start_matches("CAP_").to_lowercase();
        // CAP_SYS_ADMIN stands for two of them.
        let without = format!("-{name},-sys_admin");
        let run = |arguments: &[&str]| {
            Command::new(need_program("setpriv", "util-linux"))
                .args(["--bounding-set", &without, "--inh-caps", &without])
                .arg(tcptrace_path())
                .args(arguments)
                .output()
                .unwrap()
        };
        let output = run(&["watch", "--duration", "1s"]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{said}");
        for capability in NEEDED {
            assert_eq!(said.contains(capability), capability == missing, "{said}");
        }
        assert!(said.contains("sudo"), "what to do: {said}");
        let found = report(&run(&["doctor", "--format", "json"]));
        for capability in found["capabilities"].as_array().unwrap() {
            let name = capability["name"].as_str().unwrap();
            if NEEDED.contains(&name) {
                assert_eq!(capability["held"], name != missing, "{capability}");
            }
        }
    }
}

/// Another user with exactly what is needed: where functions can be hooked, nothing of tracefs.
#[test]
fn the_needed_capabilities_are_enough() {
    let (capabilities, numbers) = if Path::new("/sys/bus/event_source/devices/kprobe").exists() {
        ("-all,+bpf,+perfmon", "000000c000000000")
    } else {
        ("-all,+bpf,+perfmon,+dac_read_search", "000000c000000004")
    };
    let netns = Netns::new();
    // Up to 5.10 maps count against it, and raising it takes CAP_SYS_RESOURCE. Elsewhere nothing depends on it.
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
    // Tracefs is mounted by who may.
    Trace::start(&netns, &[]).stop();
    let binary = ForAll::new();
    let mut command = as_nobody(&binary, capabilities);
    command.args([
        "watch",
        "--attach",
        "auto",
        "--format",
        "json",
        "--netns",
        &netns.inode().to_string(),
    ]);
    let trace = Trace::spawn(command.stdin(Stdio::null()));
    let status = fs::read_to_string(format!("/proc/{}/status", trace.pid())).unwrap();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:\t"));
    // 39 and 38, and 2.
    assert_eq!(effective, Some(numbers), "{status}");
    let mut client = Traffic::start(&netns);
    assert_eq!(client.error("connect 127.0.0.1:4"), "ECONNREFUSED");
    trace.wait_for("the refused connect", |events| {
        events.iter().any(|event| event.kind() == "connect_failed")
    });
    let ended = trace.stop();
    let failed = ended.of("connect_failed");
    assert_eq!(failed[0].num("pid"), i64::from(client.pid()));
}

/// Classic tracepoints are named in tracefs, which root reads without any capability, and others with one.
#[test]
fn tracefs_takes_root_or_a_capability() {
    const WATCH: [&str; 5] = ["watch", "--attach", "tracepoint", "--duration", "1s"];
    let without = "-dac_read_search,-dac_override";
    let output = Command::new(need_program("setpriv", "util-linux"))
        .args(["--bounding-set", without, "--inh-caps", without])
        .arg(tcptrace_path())
        .args(WATCH)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let binary = ForAll::new();
    let mut command = as_nobody(&binary, "-all,+bpf,+perfmon");
    let output = command.args(WATCH).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("CAP_DAC_READ_SEARCH"), "{said}");
}

/// What a kernel shows that was booted with `lockdown=confidentiality`.
#[test]
fn a_kernel_that_is_locked_down() {
    let locked = "mount -t tmpfs none /sys/kernel/security && \
                  echo 'none integrity [confidentiality]' >/sys/kernel/security/lockdown";
    let output = where_mounted(locked, &["watch", "--duration", "1s"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    for part in ["locked down (confidentiality)", "hint: boot without"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let output = where_mounted(locked, &["doctor", "--format", "json"]);
    let found = report(&output);
    assert_eq!(output.status.code(), Some(3), "{found:#}");
    assert_eq!(found["lockdown"]["status"], "bad");
    assert!(
        todo(&found).contains("boot without lockdown=confidentiality"),
        "{found:#}"
    );
    let less = locked.replace("integrity [confidentiality]", "[integrity] confidentiality");
    let output = where_mounted(&less, &["doctor", "--format", "json"]);
    assert_eq!(output.status.code(), Some(0), "{:#}", report(&output));
}

/// In a container the kernel knows this process by another pid.
#[test]
fn in_a_pid_namespace_of_its_own() {
    require_root();
    let output = Command::new(need_program("unshare", "util-linux"))
        .args(["--pid", "--fork", "--mount-proc"])
        .arg(tcptrace_path())
        .args(["doctor", "--format", "json"])
        .output()
        .unwrap();
    let found = report(&output);
    assert_eq!(output.status.code(), Some(0), "{found:#}");
    assert_eq!(found["namespaces"]["pid_is_initial"], false);
    assert_eq!(found["self_test"]["status"], "ok", "{found:#}");
}

/// Root of a user namespace has all capabilities, and none that counts.
#[test]
fn in_a_user_namespace() {
    let binary = ForAll::new();
    let run = |arguments: &[&str]| {
        Command::new(need_program("unshare", "util-linux"))
            .args(["--user", "--map-root-user"])
            .arg(binary.path())
            .args(arguments)
            .output()
            .unwrap()
    };
    let output = run(&["doctor", "--format", "json"]);
    let found = report(&output);
    assert_eq!(output.status.code(), Some(3), "{found:#}");
    assert_eq!(found["namespaces"]["user_is_initial"], false);
    for capability in found["capabilities"].as_array().unwrap() {
        assert_eq!(capability["held"], false, "{capability}");
    }
    assert!(todo(&found).contains("user namespace"), "{found:#}");
    let output = run(&["watch", "--duration", "1s"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("outside of this user namespace"), "{said}");
}

/// A hook that is refused hides no other.
#[test]
fn a_refused_hook_is_told_beside_those_that_work() {
    require_root();
    let output = tcptrace(["doctor", "--refuse", "tp_btf", "--format", "json"])
        .output()
        .unwrap();
    let found = report(&output);
    assert_eq!(output.status.code(), Some(3), "{found:#}");
    let hook = |name: &str| {
        let mut hooks = found["hooks"].as_array().unwrap().iter();
        hooks.find(|hook| hook["hook"] == name).unwrap()
    };
    let refused = hook("inet_sock_set_state");
    assert!(refused["rung"].is_null(), "{refused}");
    assert_eq!(refused["refused"]["tp_btf"], "by --refuse");
    assert!(hook("accept")["rung"].is_string(), "{found:#}");
    assert_eq!(found["self_test"]["status"], "unknown");
}
