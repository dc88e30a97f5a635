//! Pages and the opaque tokens that lead to the next one (asana-api.md §1.5).

use fastrand::Rng;

use super::feed::Thing;
use super::{AsanaState, Call, Refusal, UNPAGED_MAX, answered, refuse};
use crate::provider::http::Response;
use crate::sandbox::fault::Loop;
use crate::sandbox::json::{list, value_into};
use crate::sandbox::web::{Ask, encoded};

/// Where a page begins.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Start {
    /// Position of the first item: an index, or section and slot for tasks of a project.
    pub position: u64,
    /// The item before it, to find the place again in a list that moved.
    pub after: u64,
}

impl AsanaState {
    /// The page size asked for; `None` when the list shall not be paged.
    pub(super) fn limit(ask: &Ask<'_>) -> Result<Option<usize>, Refusal> {
        match ask.param("limit") {
            None => Ok(None),
            Some(text) => match text.parse::<usize>() {
                Ok(limit) if (1..=100).contains(&limit) => Ok(Some(limit)),
                _ => refuse(400, format!("limit: Must be between 1 and 100, not: {text}")),
            },
        }
    }

    /// What a page token belongs to: everything of the request but the token itself.
    fn query_print(ask: &Ask<'_>) -> u64 {
        let pairs = ask.query.iter().filter(|(name, _)| name != "offset");
        let words =
            std::iter::once(ask.raw_path).chain(pairs.flat_map(|(name, value)| [name.as_str(), value.as_str()]));
        words
            .flat_map(|word| word.bytes().chain([0]))
            .fold(0xcbf2_9ce4_8422_2325, |print, byte| (print ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }

    pub(super) fn start(&self, call: &Call<'_>) -> Result<Start, Refusal> {
        let Some(token) = call.ask.param("offset") else { return Ok(Start::default()) };
        let word = |at: usize| token.get(at * 16..at * 16 + 16).and_then(|word| u64::from_str_radix(word, 16).ok());
        let (Some(position), Some(after), Some(issued), Some(print)) = (word(0), word(1), word(2), word(3)) else {
            return refuse(400, "offset: Your pagination token is invalid.");
        };
        let issued = (issued ^ self.veil).cast_signed();
        if print ^ self.veil.rotate_left(8) != Self::query_print(call.ask) {
            return refuse(400, "offset: Your pagination token is invalid.");
        }
        let age = call.act.now.saturating_sub(issued);
        if age > i64::try_from(self.habits.offset_lifetime.as_millis()).unwrap_or(i64::MAX) {
            return refuse(400, "offset: Your pagination token has expired.");
        }
        Ok(Start { position: position ^ self.veil.rotate_left(16), after: after ^ self.veil.rotate_left(24) })
    }

    fn offset(&self, call: &Call<'_>, next: Start) -> String {
        // The low bits of a fresh token differ although it leads to the same place, where a test asks for that.
        format!(
            "{:016x}{:016x}{:016x}{:016x}",
            next.position ^ self.veil.rotate_left(16),
            next.after ^ self.veil.rotate_left(24),
            call.act.now.cast_unsigned() ^ self.veil,
            Self::query_print(call.ask) ^ self.veil.rotate_left(8),
        )
    }

    /// One page: `items` are those of the page, `next` where the following one begins.
    pub(super) fn page(
        &self,
        call: &Call<'_>,
        rng: &mut Rng,
        mut items: Vec<u64>,
        start: Start,
        next: Option<Start>,
        each: impl FnMut(&mut Vec<u8>, u64),
    ) -> Result<Response, Refusal> {
        for _ in 0..call.bend.missing.min(items.len()) {
            items.remove(rng.usize(..items.len()));
        }
        let mut body = Vec::with_capacity(items.len() * 512 + 256);
        body.extend_from_slice(b"{\"data\":");
        list(&mut body, items, each);
        if call.ask.param("limit").is_some() {
            let next = match call.bend.page_loop {
                None => next.map(|next| self.offset(call, next)),
                Some(Loop::Same) => {
                    Some(call.ask.param("offset").map_or_else(|| self.offset(call, start), str::to_owned))
                }
                Some(Loop::Fresh) => Some(format!("{}{:08x}", self.offset(call, start), rng.u32(..))),
            };
            body.extend_from_slice(b",\"next_page\":");
            match next {
                None => body.extend_from_slice(b"null"),
                Some(offset) => {
                    let query = call.ask.query.iter().filter(|(name, _)| name != "offset");
                    let query: Vec<String> =
                        query.map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
                    let path = format!("{}?{}&offset={offset}", call.ask.raw_path, query.join("&"));
                    let uri = format!("{}{path}", call.ask.base);
                    value_into(&mut body, &serde_json::json!({"offset": offset, "path": path, "uri": uri}));
                }
            }
        }
        body.push(b'}');
        Ok(answered(200, body))
    }

    /// A page of a list that is small enough to be held whole.
    pub(super) fn paged(
        &self,
        call: &Call<'_>,
        rng: &mut Rng,
        all: Vec<u64>,
        each: impl FnMut(&mut Vec<u8>, u64),
    ) -> Result<Response, Refusal> {
        let start = self.start(call)?;
        let Some(limit) = Self::limit(call.ask)? else {
            if all.len() > UNPAGED_MAX {
                return refuse(400, super::TOO_LARGE);
            }
            return self.page(call, rng, all, start, None, each);
        };
        let mut from = usize::try_from(start.position).unwrap_or(usize::MAX).min(all.len());
        if start.after > 0 && from.checked_sub(1).and_then(|before| all.get(before)) != Some(&start.after) {
            from = all.iter().position(|gid| *gid == start.after).map_or(from, |at| at + 1);
        }
        let items: Vec<u64> = all.iter().skip(from).take(limit).copied().collect();
        let until = from + items.len();
        let next = (until < all.len())
            .then(|| Start { position: until as u64, after: items.last().copied().unwrap_or_default() });
        self.page(call, rng, items, start, next, each)
    }

    /// A page of things that all show as themselves.
    pub(super) fn paged_things(
        &self,
        call: &Call<'_>,
        all: Vec<u64>,
        thing: fn(u64) -> Thing,
    ) -> Result<Response, Refusal> {
        // Only lists of tasks go short; these take no chance.
        let mut rng = Rng::with_seed(0);
        self.paged(call, &mut rng, all, |out, gid| self.write_thing(out, thing(gid), call.each()))
    }
}
