//! The tests that the init carries itself: what must hold before the end-to-end suite has a meaning.

mod lockdown;
mod loopback;
mod network;
mod peers;
mod states;
mod watch;

use anyhow::{Result, bail};

pub(crate) use self::watch::Refused;

/// Runs one by its name.
pub(crate) fn run(name: &str) -> Result<()> {
    match name {
        "lockdown" => lockdown::run(),
        "loopback" => loopback::run(),
        "network" => network::run(),
        "states" => states::run(),
        // The other process of `states`.
        "serve" => peers::serve(),
        _ => bail!("no check is called {name:?}; there are: lockdown, loopback, network, states"),
    }
}
