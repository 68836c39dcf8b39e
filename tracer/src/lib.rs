//! `tcptrace` shows what happens to TCP connections in the kernel, and which process it happened to.
//!
//! The modules stand in reading order: the command, the trace that it runs, what the kernel side
//! gives, the process a record belongs to, what is added up, and how it is recorded
//! and shown.

pub mod cli;
pub mod trace;

pub mod doctor;
pub mod kernel;

pub mod decode;
pub mod identity;

pub mod event;
pub mod fact;
pub mod storm;
pub mod time;

pub mod aggregate;
pub mod diagnose;

pub mod document;
pub mod measure;
pub mod report;

pub mod check;
pub mod diff;

pub mod error;
pub mod export;
pub mod file;
pub mod screen;
pub mod sink;
