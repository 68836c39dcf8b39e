//! The screen without a terminal: an incident that never happened, looked at in every way.

mod keys;
mod record;
mod scene;
mod terminal;
mod views;
