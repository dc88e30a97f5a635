//! Decides: what both sides show, measured against what they last agreed on, becomes a plan. Pure.
//!
//! Wanted, and tested as laws: a plan applied in full leaves nothing to plan (convergence); an unread
//! side is never repaired; a poorer side never impoverishes a richer one; sets commute.
//! Not here: reading, writing, retries (`engine`).

mod brakes;
mod fields;
mod footer;
#[cfg(test)]
mod laws;
mod merge;
mod pair;
mod pairing;
mod plan;
mod propose;
mod resolve;

pub use brakes::{Allowance, Lately, Refusal};
pub use fields::{COMPARED, assign, fingerprint, shows, value, view};
pub use footer::{issue_footer, task_footer, task_url};
pub use merge::{Outcome, Said, merge};
pub use pair::{PairPlan, PairSeen, Sight, plan_join, plan_pair};
pub use pairing::{Claim, Strangers, Unanswered, agreed, pair_of, plan_strangers, stays_alone};
pub use plan::{Action, Plan, Question, Repair, Skip, Write};
pub use propose::{Proposal, propose};
pub use resolve::{MARKS, Settlement, Take, marked, question, resolve};
