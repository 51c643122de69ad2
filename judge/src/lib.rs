//! The pure part of slotquake: what a suite says, what a plan resolves it to, what a stored run holds, and how it is
//! judged and shown. Nothing here starts a process, opens a connection or reads a clock; the only I/O is reading
//! suites, histories, reports and logs from disk.
//!
//! The modules in reading order: [`suite`], [`plan`], [`history`], [`facts`], [`check`], [`anatomy`], [`report`];
//! beside them the words that all share: [`units`], [`slot`], [`target`], [`topology`], [`server`], [`spec`],
//! [`seeded`].

pub mod anatomy;
pub mod check;
pub mod facts;
pub mod fault;
pub mod history;
pub mod plan;
pub mod report;
pub mod seeded;
pub mod server;
pub mod slot;
pub mod spec;
pub mod suite;
pub mod target;
pub mod topology;
pub mod units;
