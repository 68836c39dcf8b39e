//! The screen: what an engineer in an incident looks at.
//!
//! [`state`] is what is shown, [`update`] what keys do to it, [`layout`] where it goes, [`draw`] how it
//! looks; none of them has a clock or a terminal. [`run`] brings them together.

pub mod state;

pub mod update;

pub mod layout;

pub mod draw;
pub mod ticket;

pub mod play;
pub mod run;

pub mod front;
pub mod record;
pub mod terminal;

#[cfg(test)]
mod tests;
