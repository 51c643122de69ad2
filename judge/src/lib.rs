//! The pure part of slotquake: suites, plans, stored runs, their judgement and their presentation. It does not
//! start processes, open connections or read a clock. Its only I/O is to read suites, histories, reports and logs
//! from disk.
//!
//! The modules in reading order: [`suite`], [`plan`], [`history`], [`consistency`], [`facts`], [`check`], [`anatomy`], [`report`], [`chaos`], [`jepsen`];
//! and the modules that all of them use: [`units`], [`slot`], [`target`], [`topology`], [`server`], [`spec`],
//! [`seeded`], [`words`].

pub mod anatomy;
pub mod chaos;
pub mod check;
pub mod consistency;
pub mod facts;
pub mod fault;
pub mod history;
pub mod jepsen;
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
pub mod words;
