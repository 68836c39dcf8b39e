//! Options of another process's socket: its descriptor is duplicated for a moment and asked.

use std::{
    fs,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use nix::sys::socket::{getsockopt, sockopt};

/// What sock_diag does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// TCP_USER_TIMEOUT, 0 for none.
    pub(super) user_timeout_ms: u32,
    /// SO_KEEPALIVE.
    pub(super) keepalive: bool,
}

/// Reads them; `None` where the process is gone or may not be looked into (CAP_SYS_PTRACE; `pidfd_getfd`
/// is there from 5.6). The socket stays open for as long as this takes should the process close it now, so
/// it is only done to sockets in trouble.
pub(super) fn read(pid: u32, inode: u64) -> Option<Options> {
    let wanted = format!("socket:[{inode}]");
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let number: i32 = entries
        .flatten()
        .find(|entry| {
            fs::read_link(entry.path()).is_ok_and(|to| to.as_os_str() == wanted.as_str())
        })?
        .file_name()
        .to_str()?
        .parse()
        .ok()?;
    let process = descriptor(
        // SAFETY: the call takes numbers only.
        unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) },
    )?;
    let socket = descriptor(
        // SAFETY: the call takes numbers only.
        unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, 0) },
    )?;
    Some(Options {
        user_timeout_ms: getsockopt(&socket, sockopt::TcpUserTimeout).ok()?,
        keepalive: getsockopt(&socket, sockopt::KeepAlive).ok()?,
    })
}

fn descriptor(result: libc::c_long) -> Option<OwnedFd> {
    let number = i32::try_from(result).ok().filter(|number| *number >= 0)?;
    // SAFETY: the kernel has just made the descriptor for us.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::unix::fs::MetadataExt as _};

    use nix::sys::socket::setsockopt;

    use super::*;

    #[test]
    fn options_of_a_socket_are_read_by_its_inode() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        setsockopt(&listener, sockopt::TcpUserTimeout, &4_321).unwrap();
        setsockopt(&listener, sockopt::KeepAlive, &true).unwrap();
        let path = format!("/proc/self/fd/{}", listener.as_raw_fd());
        let inode = fs::metadata(path).unwrap().ino();
        let expected = Options {
            user_timeout_ms: 4_321,
            keepalive: true,
        };
        assert_eq!(read(std::process::id(), inode), Some(expected));
        assert_eq!(read(std::process::id(), inode + 1_000_000), None);
    }
}
