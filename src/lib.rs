//! Evenkeel keeps the tasks of a tracker (Asana) and the issues of a forge (GitHub) in step.
//!
//! One idea: **observe** both sides, compare them with what they last agreed on, write the
//! difference down as a **plan**, carry the plan out, **record** what was done. Everything up to the
//! plan is pure and cannot fail; everything after it can be stopped and run again.
//!
//! Modules in reading order:
//!
//! - [`model`]: the vocabulary; no I/O, no clock.
//! - [`text`]: rich text, Asana's HTML and GitHub's Markdown, their lens and their merge; pure.
//! - [`reconcile`]: pairing, drift, merge, policy, plan; pure.
//! - [`provider`]: the traits to observe and to write, and the two services behind them.
//! - [`store`]: links, intents, dues, history, cursors and leases in SQLite or PostgreSQL.
//! - [`engine`]: the pass, the only place where pure and I/O meet.
//! - [`hooks`]: exactly one live hook for each project and repository.
//! - [`inbox`], [`seal`]: deliveries, verified and durable before they are answered; secrets sealed at rest.
//! - [`server`]: the HTTP listener and what it serves: deliveries, the admin API, health.
//! - [`trigger`]: the schedule and the signals, everything that turns into a wake-up.
//! - [`workshop`], [`service`]: from the configuration to engines, and to a process that keeps them at work.
//! - [`config`], [`logging`], [`cli`]: what an operator says and sees.
//! - [`sandbox`]: a small Asana and a small GitHub for the demo and the tests.
//!
//! What is absent on purpose: `model`, `text` and `reconcile` read no clock, log nothing and open
//! nothing; only `provider::asana` knows an Asana field name, only `provider::github` a GitHub one.

pub mod cli;
pub mod clock;
pub mod config;
pub mod engine;
pub mod hooks;
pub mod inbox;
pub mod logging;
pub mod model;
pub mod provider;
pub mod reconcile;
pub mod sandbox;
pub mod seal;
pub mod server;
pub mod service;
pub mod store;
pub mod text;
pub mod trigger;
pub mod workshop;
