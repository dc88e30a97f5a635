//! The stream of events of the project: which tasks may have moved since a token.

use std::collections::{BTreeSet, HashSet};

use serde::{Deserialize, Serialize};

use super::AsanaClient;
use super::wire::{Events, touch};
use crate::model::{ProjectGid, TaskGid, Timestamp};
use crate::provider::call::{Ask, encoded, garbled, server_time};
use crate::provider::http::Response;
use crate::provider::{Cursor, ProviderError};

/// Answers of `/events` read in a row (at most 100 events each); beyond that a sweep is cheaper.
pub(super) const EVENT_PAGES_MAX: usize = 200;

/// Where the two streams of changes resume. Bound to the project it was made for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) project: ProjectGid,
    /// The token of `/events`.
    pub(super) sync: String,
    /// The moment, on Asana's clock, up to which `modified_since` was read.
    pub(super) belt_since: Timestamp,
}

/// How reading the events ended.
pub(super) enum Stream {
    /// All of them are read.
    Moved(Moved),
    /// The token is no longer good, or there are too many; the cursor that starts now.
    Lost(Cursor),
}

/// What the events say.
#[derive(Debug, Default)]
pub(super) struct Moved {
    /// The token for the next time.
    pub(super) sync: String,
    pub(super) tasks: BTreeSet<TaskGid>,
    /// When the oldest of them was touched.
    pub(super) oldest: Option<Timestamp>,
}

impl AsanaClient {
    /// A token of `/events` that starts now (Asana OpenAPI, tag Events: a call without a token is answered 412).
    pub(super) fn fresh(&self) -> Result<Cursor, ProviderError> {
        let ask = Ask::read(
            format!("start following asana project {}", self.project),
            self.url(&format!("/events?resource={}", self.project)),
        )
        .accept(&[412]);
        let (events, response): (Events, _) = self.caller.get(&ask)?;
        let sync = events.sync.ok_or_else(|| garbled(&ask, "it names no sync token"))?;
        Ok(self.cursor(sync, self.time_of(&response)))
    }

    /// Reads the events since the place's token.
    pub(super) fn events(&self, place: &Place) -> Result<Stream, ProviderError> {
        let mut moved = Moved { sync: place.sync.clone(), ..Moved::default() };
        let mut seen = HashSet::from([moved.sync.clone()]);
        for _ in 0..EVENT_PAGES_MAX {
            self.caller.stopped()?;
            let ask = Ask::read(
                format!("read the events of asana project {}", self.project),
                self.url(&format!("/events?resource={}&sync={}", self.project, encoded(&moved.sync))),
            )
            .accept(&[412]);
            let (events, response): (Events, _) = self.caller.get(&ask)?;
            if response.status == 412 {
                return match events.sync {
                    Some(sync) => Ok(Stream::Lost(self.cursor(sync, self.time_of(&response)))),
                    None => Ok(Stream::Lost(self.fresh()?)),
                };
            }
            for touch in events.data.iter().filter_map(touch) {
                let at = touch.at.unwrap_or(place.belt_since);
                moved.oldest = Some(moved.oldest.map_or(at, |oldest| oldest.min(at)));
                moved.tasks.insert(touch.task);
            }
            let next = events.sync.ok_or_else(|| garbled(&ask, "it names no next sync token"))?;
            let new = seen.insert(next.clone());
            moved.sync = next;
            if !events.has_more {
                return Ok(Stream::Moved(moved));
            }
            if !new {
                return Err(garbled(&ask, "its events run in a circle"));
            }
        }
        log::info!("asana project {}: more events than a sweep would cost", self.project);
        Ok(Stream::Lost(self.fresh()?))
    }

    pub(super) fn cursor(&self, sync: String, belt_since: Timestamp) -> Cursor {
        let place = Place { project: self.project.clone(), sync, belt_since };
        serde_json::to_string(&place).expect("three plain fields always serialise")
    }

    /// Asana's time at an answer; ours where it shows none.
    pub(super) fn time_of(&self, response: &Response) -> Timestamp {
        server_time(response).unwrap_or_else(|| self.caller.now())
    }
}
