//! The kernel functions and typed tracepoints that the programs rely on, and every prototype that they have had from
//! 5.10 to 7.3. What each is for stands at the program.
//!
//! On a kernel of the matrix every one must be known (`tests/tests/prototypes.rs`), so the next change shows there.

/// A function or a typed tracepoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its name.
    pub name: &'static str,
    /// Its prototypes as [`super::prototype`] writes them, oldest first.
    pub prototypes: &'static [&'static str],
}

impl Known {
    /// Whether a prototype is one of them.
    #[must_use]
    pub fn has(&self, prototype: &str) -> bool {
        self.prototypes.contains(&prototype)
    }

    /// Whether a prototype begins like one of them.
    #[must_use]
    pub fn begins(&self, prototype: &str) -> bool {
        self.prototypes.iter().any(|known| begins(known, prototype))
    }
}

/// Whether a prototype begins like a known one. More arguments, or another `const`, mislead no program at a
/// tracepoint; at a function's return the result stands behind the arguments, so there they do.
#[must_use]
pub(super) fn begins(known: &str, prototype: &str) -> bool {
    let bare = |text: &str| text.trim_end_matches(')').replace("const ", "");
    let found = bare(prototype);
    let rest = found.strip_prefix(&bare(known));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(", "))
}

macro_rules! known {
    ($($constant:ident = $name:literal: $($prototype:expr),+;)+) => {
        $(pub(super) const $constant: Known = Known {
            name: $name,
            prototypes: &[$($prototype),+],
        };)+
    };
}

/// `tcp_retransmit_skb` with the error that the transmission met, from 6.17.
pub(super) const RETRANSMIT_WITH_ERROR: &str = "(const struct sock *, const struct sk_buff *, int)";
/// `tcp_send_reset` with the reason, from 6.10.
pub(super) const RESET_WITH_REASON: &str =
    "(const struct sock *, const struct sk_buff *, const enum sk_rst_reason)";

/// `kfree_skb` with the reason, from 5.17.
pub(super) const DROP_WITH_REASON: &str = "(struct sk_buff *, void *, enum skb_drop_reason)";

// Typed tracepoints.
known! {
    // From 6.16 it also says whether the whole group is dead.
    SCHED_PROCESS_EXIT = "sched_process_exit": "(struct task_struct *)", "(struct task_struct *, bool)";
    SCHED_PROCESS_EXEC = "sched_process_exec": "(struct task_struct *, pid_t, struct linux_binprm *)";
    CGROUP_ATTACH_TASK = "cgroup_attach_task": "(struct cgroup *, const char *, struct task_struct *, bool)";
    TCP_DESTROY_SOCK = "tcp_destroy_sock": "(struct sock *)";
    INET_SOCK_SET_STATE = "inet_sock_set_state": "(const struct sock *, const int, const int)";
    TCP_RETRANSMIT_SKB = "tcp_retransmit_skb":
        "(const struct sock *, const struct sk_buff *)", RETRANSMIT_WITH_ERROR;
    TCP_RETRANSMIT_SYNACK = "tcp_retransmit_synack": "(const struct sock *, const struct request_sock *)";
    TCP_SEND_RESET = "tcp_send_reset": "(const struct sock *, const struct sk_buff *)", RESET_WITH_REASON;
    TCP_RECEIVE_RESET = "tcp_receive_reset": "(struct sock *)";
    // Before 5.17 without a reason, and of no use then. From 6.12 also the receiving socket, in 7.3 a `const` one.
    KFREE_SKB = "kfree_skb":
        "(struct sk_buff *, void *)", DROP_WITH_REASON,
        "(struct sk_buff *, void *, enum skb_drop_reason, struct sock *)",
        "(struct sk_buff *, void *, enum skb_drop_reason, const struct sock *)";
}

// Functions.
known! {
    INET_TWSK_ALLOC = "inet_twsk_alloc":
        "(const struct sock *, struct inet_timewait_death_row *, const int) -> struct inet_timewait_sock *";
    FD_INSTALL = "fd_install": "(unsigned int, struct file *)";
    // The address is a `sockaddr_unsized` from 6.19.
    TCP_V4_CONNECT = "tcp_v4_connect":
        "(struct sock *, struct sockaddr *, int) -> int",
        "(struct sock *, struct sockaddr_unsized *, int) -> int";
    TCP_V6_CONNECT = "tcp_v6_connect":
        "(struct sock *, struct sockaddr *, int) -> int",
        "(struct sock *, struct sockaddr_unsized *, int) -> int";
    ALLOC_FD = "alloc_fd": "(unsigned int, unsigned int, unsigned int) -> int";
    ALLOC_EMPTY_FILE = "alloc_empty_file": "(int, const struct cred *) -> struct file *";
    DO_INOTIFY_INIT = "do_inotify_init": "(int) -> int";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_functions_prototype_is_known_as_a_whole() {
        assert!(TCP_V4_CONNECT.has("(struct sock *, struct sockaddr_unsized *, int) -> int"));
        for changed in [
            "(struct sock *, struct sockaddr *, int)",
            "(struct sock *, struct sockaddr *, int, int) -> int",
            "(struct socket *, struct sockaddr *, int) -> int",
        ] {
            assert!(!TCP_V4_CONNECT.has(changed), "{changed}");
        }
    }

    #[test]
    fn a_tracepoint_may_get_more_arguments_but_no_others() {
        for harmless in [
            "(struct task_struct *)",
            "(const struct task_struct *)",
            "(struct task_struct *, bool, int)",
        ] {
            assert!(SCHED_PROCESS_EXIT.begins(harmless), "{harmless}");
        }
        // What only newer kernels have is told by it, however the rest is written.
        for with_reason in [
            RESET_WITH_REASON,
            "(const struct sock *, const struct sk_buff *, enum sk_rst_reason)",
            "(struct sock *, struct sk_buff *, enum sk_rst_reason, int)",
        ] {
            assert!(begins(RESET_WITH_REASON, with_reason), "{with_reason}");
        }
        assert!(!begins(RESET_WITH_REASON, TCP_SEND_RESET.prototypes[0]));
        for changed in [
            "()",
            "(bool, struct task_struct *)",
            "(struct task_struct **)",
            "(struct task_struct)",
        ] {
            assert!(!SCHED_PROCESS_EXIT.begins(changed), "{changed}");
        }
    }
}
