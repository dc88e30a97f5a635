//! What happens in a world: a list of acts that is drawn from a seed, can be shortened, and can be written down.

use evenkeel::model::Side;
use serde::{Deserialize, Serialize};

/// One act, and how long after the one before it happens. Numbers choose among what there is at that moment, so that
/// an act still means something when others are left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Milliseconds.
    pub after: u64,
    pub act: Act,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    // People.
    Make {
        side: Side,
        lines: u8,
        done: bool,
    },
    /// Somebody pastes a whole list.
    Flood {
        side: Side,
        items: u8,
    },
    Title {
        side: Side,
        pick: u32,
    },
    Line {
        side: Side,
        pick: u32,
        line: u8,
    },
    Status {
        side: Side,
        pick: u32,
    },
    Label {
        side: Side,
        pick: u32,
        label: u8,
    },
    Due {
        pick: u32,
        day: u8,
    },
    Assignee {
        side: Side,
        pick: u32,
        who: u8,
    },
    /// The same field of both halves of a pair, moments apart.
    Both {
        pick: u32,
        field: u8,
        line: u8,
        apart: u16,
    },
    Delete {
        side: Side,
        pick: u32,
    },
    /// A task out of the trash.
    Restore,
    Leave {
        pick: u32,
    },
    Return,
    Transfer {
        pick: u32,
    },
    RenameRepository,
    Comment {
        side: Side,
        pick: u32,
    },
    /// Something of the neighbours: never ours to touch.
    Neighbour {
        side: Side,
        pick: u32,
    },
    // The services.
    Fault {
        side: Side,
        fault: Trouble,
        reads: bool,
        writes: bool,
        times: u8,
    },
    Storm {
        side: Side,
        fault: Trouble,
        percent: u8,
        /// Whether reads are answered as ever.
        #[serde(default)]
        writes: bool,
    },
    Calm,
    Lag {
        side: Side,
        seconds: u8,
    },
    FeedLoses {
        percent: u8,
    },
    ForgetTokens,
    Revoke {
        side: Side,
    },
    Readmit {
        side: Side,
    },
    Hide {
        hidden: bool,
    },
    // Deliveries.
    Mishap {
        side: Side,
        mishap: Post,
        times: u8,
    },
    Deaf {
        side: Side,
        deaf: bool,
    },
    Forge {
        side: Side,
    },
    // The processes.
    Kill {
        replica: u8,
        moments: u16,
        down: u16,
    },
    Freeze {
        replica: u8,
        seconds: u16,
    },
    Busy {
        replica: u8,
        after: u16,
        uses: u8,
    },
    Jump {
        replica: u8,
        seconds: i32,
    },
    Ring {
        replica: u8,
        ring: Bell,
    },
    LoseDatabase,
    // The operator.
    Undo {
        pick: u32,
    },
    Resolve {
        pick: u32,
    },
    Part {
        pick: u32,
    },
    /// Nothing, for a while.
    Wait,
}

/// What a service does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    Busy,
    BusySilent,
    BusyPrimary,
    Broken,
    BrokenDone,
    Refused,
    CutBefore,
    CutAfter,
    Truncated,
    Garbage,
    Html,
    WrongTypes,
    ShortListing,
    EventsExpired,
    Hidden,
    Forbidden,
    Unauthorized,
    Slow,
}

/// What happens to deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Post {
    Lost,
    Doubled,
    Delayed,
    Reordered,
    Refused,
    AnswerLost,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bell {
    Poll,
    Sweep,
    Forced,
}

const TROUBLES: [Trouble; 18] = [
    Trouble::Busy,
    Trouble::BusySilent,
    Trouble::BusyPrimary,
    Trouble::Broken,
    Trouble::BrokenDone,
    Trouble::Refused,
    Trouble::CutBefore,
    Trouble::CutAfter,
    Trouble::Truncated,
    Trouble::Garbage,
    Trouble::Html,
    Trouble::WrongTypes,
    Trouble::ShortListing,
    Trouble::EventsExpired,
    Trouble::Hidden,
    Trouble::Forbidden,
    Trouble::Unauthorized,
    Trouble::Slow,
];

const POSTS: [Post; 6] = [Post::Lost, Post::Doubled, Post::Delayed, Post::Reordered, Post::Refused, Post::AnswerLost];

/// The acts of a seed.
pub fn draw(seed: u64, steps: usize) -> Vec<Step> {
    let mut chance = fastrand::Rng::with_seed(seed ^ 0x6163_7473);
    // Some worlds are hectic, in some much time passes.
    let pace = [400, 3_000, 12_000, 45_000][chance.usize(..4)];
    (0..steps).map(|_| Step { after: after(&mut chance, pace), act: act(&mut chance) }).collect()
}

fn after(chance: &mut fastrand::Rng, pace: u64) -> u64 {
    match chance.u8(..8) {
        // Into the same second.
        0 => 0,
        1 => chance.u64(..300),
        2 => chance.u64(..pace * 6),
        _ => chance.u64(..pace),
    }
}

fn act(chance: &mut fastrand::Rng) -> Act {
    let side = if chance.bool() { Side::Tracker } else { Side::Forge };
    let pick = chance.u32(..10_000);
    let line = chance.u8(..4);
    let replica = chance.u8(..3);
    match chance.u8(..100) {
        0 if chance.u8(..8) == 0 => Act::Flood { side, items: chance.u8(40..130) },
        0..12 => Act::Make { side, lines: chance.u8(..4), done: chance.u8(..6) == 0 },
        12..22 => Act::Title { side, pick },
        22..34 => Act::Line { side, pick, line },
        34..42 => Act::Status { side, pick },
        42..45 => Act::Label { side, pick, label: chance.u8(..3) },
        45 => match chance.u8(1..28) {
            day @ 1..10 => Act::Due { pick, day },
            who => Act::Assignee { side, pick, who },
        },
        46..52 => Act::Both { pick, field: chance.u8(..5), line, apart: chance.u16(..1_500) },
        52..55 => Act::Delete { side, pick },
        55..57 => Act::Restore,
        57 => Act::Leave { pick },
        58 => Act::Return,
        59 => {
            if chance.bool() {
                Act::Transfer { pick }
            } else {
                Act::RenameRepository
            }
        }
        60 => Act::Comment { side, pick },
        61 => Act::Neighbour { side, pick },
        62..68 => {
            let (reads, writes) = [(true, true), (true, false), (false, true)][chance.usize(..3)];
            let fault = TROUBLES[chance.usize(..TROUBLES.len())];
            Act::Fault { side, fault, reads, writes, times: chance.u8(1..4) }
        }
        68 => {
            let fault = TROUBLES[chance.usize(..TROUBLES.len())];
            let percent = chance.u8(5..60);
            // A service may take no writes at all for a while.
            let writes = pick.is_multiple_of(2);
            Act::Storm { side, fault, percent: if writes { 100 } else { percent }, writes }
        }
        69 => Act::Calm,
        70 => Act::Lag { side, seconds: if chance.bool() { 0 } else { chance.u8(1..20) } },
        71 => Act::FeedLoses { percent: chance.u8(..30) },
        72 => Act::ForgetTokens,
        73 => {
            if chance.bool() {
                Act::Revoke { side }
            } else {
                Act::Hide { hidden: chance.bool() }
            }
        }
        74..76 => Act::Readmit { side },
        76..81 => Act::Mishap { side, mishap: POSTS[chance.usize(..POSTS.len())], times: chance.u8(1..5) },
        81 => Act::Deaf { side, deaf: chance.bool() },
        82 => Act::Forge { side },
        83..89 => Act::Kill { replica, moments: chance.u16(..120), down: chance.u16(..400) },
        89 => Act::Freeze { replica, seconds: chance.u16(1..200) },
        90..92 => Act::Busy { replica, after: chance.u16(..30), uses: chance.u8(1..5) },
        92 => {
            let span = [2, 90, 4_000][chance.usize(..3)];
            Act::Jump { replica, seconds: chance.i32(-span..=span) }
        }
        93..97 => Act::Ring { replica, ring: [Bell::Poll, Bell::Sweep, Bell::Forced][chance.usize(..3)] },
        97 => {
            if chance.u8(..4) == 0 {
                Act::LoseDatabase
            } else {
                Act::Wait
            }
        }
        98 => match pick % 5 {
            0 => Act::Resolve { pick },
            1 => Act::Part { pick },
            _ => Act::Undo { pick },
        },
        _ => Act::Wait,
    }
}
