//! Churn among many connections that do nothing.

use std::time::Duration;

use crate::{
    churn::Churn,
    idle::Idle,
    work::{Load, Work},
};

/// The connections that are there before, and the churn.
pub(crate) struct Crowd {
    _idle: Idle,
    churn: Churn,
}

impl Crowd {
    pub(crate) fn new() -> Self {
        let mut idle = Idle::new();
        idle.run(Duration::ZERO);
        Self {
            _idle: idle,
            churn: Churn::new(1),
        }
    }
}

impl Load for Crowd {
    fn run(&mut self, time: Duration) -> Work {
        self.churn.run(time)
    }
}
