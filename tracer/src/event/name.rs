//! Numbers of the kernel that are shown by their names: error numbers, system calls, TCP states.

use std::{collections::HashMap, fmt, sync::LazyLock};

use nix::errno;
use serde::{Serialize, Serializer};
use tracer_common::tcp::state;

/// A positive error number, shown as `ECONNREFUSED`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Errno(pub i32);

/// The largest error number that has a name, `include/uapi/asm-generic/errno.h`.
const LAST_ERRNO: i32 = 133;

impl Errno {
    /// From its name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        static NUMBERS: LazyLock<HashMap<String, i32>> = LazyLock::new(|| {
            (1..=LAST_ERRNO)
                .map(|number| (Errno(number).to_string(), number))
                .collect()
        });
        let number = match name.strip_prefix("errno ") {
            Some(number) => number.parse().ok()?,
            None => *NUMBERS.get(name)?,
        };
        Some(Self(number))
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match errno::Errno::from_raw(self.0) {
            errno::Errno::UnknownErrno => write!(f, "errno {}", self.0),
            errno => write!(f, "{errno:?}"),
        }
    }
}

/// A system call's number on x86-64, shown as `accept4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Syscall(pub u32);

impl Syscall {
    /// From its name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        if let Some(number) = name.strip_prefix("syscall ") {
            return number.parse().ok().map(Self);
        }
        let call: syscalls::Sysno = name.parse().ok()?;
        Some(Self(call.id().cast_unsigned()))
    }
}

impl fmt::Display for Syscall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match syscalls::Sysno::new(self.0 as usize) {
            Some(call) => f.write_str(call.name()),
            None => write!(f, "syscall {}", self.0),
        }
    }
}

/// A TCP state, shown as `ESTABLISHED`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct State(pub u8);

impl State {
    /// The kernel's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        state::name(self.0).unwrap_or("UNKNOWN")
    }

    /// From its name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        (0..16)
            .find(|number| state::name(*number) == Some(name))
            .map(Self)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

macro_rules! serialize_by_name {
    ($($type:ty),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
    )*};
}
serialize_by_name!(Errno, Syscall, State);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for number in [1, 24, 111, 133, 4096] {
            let errno = Errno(number);
            assert_eq!(Errno::from_name(&errno.to_string()), Some(errno));
        }
        for number in [41, 43, 288, 9999] {
            let call = Syscall(number);
            assert_eq!(Syscall::from_name(&call.to_string()), Some(call));
        }
        for number in 1..=11 {
            let state = State(number);
            assert_eq!(State::from_name(&state.to_string()), Some(state));
        }
        assert_eq!(Errno(24).to_string(), "EMFILE");
        assert_eq!(Syscall(288).to_string(), "accept4");
        assert_eq!(Errno::from_name("EWHAT"), None);
    }
}
