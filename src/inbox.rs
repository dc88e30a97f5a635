//! Takes deliveries in: verified, reduced to what they touch, durable before they are answered.
//!
//! A delivery is a hint, not a message: nothing it says about an item is believed, the pass reads the truth itself.
//! Promised: what is not signed with a secret that is known leaves no trace but a count; what is signed is one row
//! together with the items it makes due, or is answered with a failure; the same delivery again changes nothing. An
//! address without a hook cannot be told from a wrong signature, by words or by the time it takes.
//! Not here: HTTP (`server`), waking the routes (`service`), and what is done about the items (`engine`).

mod pulls;
mod sort;
#[cfg(test)]
mod tests;
mod verify;

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::clock::Timestamp;
use crate::config::{Config, Secret};
use crate::model::{RouteName, Side, hex};
use crate::provider::heard::{Heard, Whole};
use crate::provider::signature::HeaderFault;
use crate::provider::{asana, github};
use crate::seal::{Seal, nonce};
use crate::store::{HookRow, HookState, NewDelivery, Origin, Store, StoreError, TakenIn, Touches, Verdict};

/// Longest event name and delivery key that are believed, in bytes; GitHub's are a few words and a GUID.
const NAME_BYTES_MAX: usize = 100;

/// Longest secret that a handshake may bring, in bytes; Asana's have 64.
const HANDSHAKE_BYTES_MAX: usize = 256;

/// What is said of a form that is none of GitHub's.
const NO_PAYLOAD: &str = "it is a form without exactly one payload";

/// The header of Asana's handshake.
pub const HANDSHAKE_HEADER: &str = "x-hook-secret";

/// A delivery as it came over the wire.
#[derive(Debug, Clone, Copy)]
pub struct Letter<'a> {
    /// Header names in lower case, with their values, in the order in which they came.
    pub headers: &'a [(String, String)],
    /// The raw body.
    pub body: &'a [u8],
    /// The request's id.
    pub request: &'a str,
}

impl Letter<'_> {
    fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The one value of a header; none when it is missing or doubled.
    fn only(&self, name: &str) -> Option<&str> {
        match self.all(name).as_slice() {
            [value] => Some(value.trim()),
            _ => None,
        }
    }
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It is kept.
    In {
        /// Its row and the routes whose items are due now.
        taken: TakenIn,
        /// Routes that are to be looked at as a whole.
        looks: Vec<(RouteName, Whole)>,
        /// What it told.
        event: String,
    },
    /// Asana's handshake: the secret to be given back in [`HANDSHAKE_HEADER`].
    Handshake(Secret),
}

/// Why a delivery was not taken in.
#[derive(Debug)]
pub enum Refused {
    /// It is not signed, or not with a secret that is known. The reason is for us, never for the sender.
    Unsigned(&'static str),
    /// It is signed, but its body is in no form we know; nothing was kept.
    ContentType,
    /// It is signed and was kept, but could not be understood.
    Garbled(TakenIn),
    /// The database failed: the sender's own log shows it.
    Database(StoreError),
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Database(error)
    }
}

/// Which secrets may have signed, and for whom.
#[derive(Debug, Clone, Copy)]
pub struct Keys<'a> {
    /// What the operator configured.
    pub config: &'a Config,
    /// Opens the secrets in the database, if there is a key.
    pub seal: Option<&'a Seal>,
}

/// Takes in what GitHub sent, to the address with this token if it has one.
///
/// # Errors
/// [`Refused`] says how it is to be answered.
pub fn github(
    store: &Store,
    keys: Keys<'_>,
    token: Option<&str>,
    letter: &Letter<'_>,
    now: Timestamp,
) -> Result<Taken, Refused> {
    // The token is known before the service has told us the hook's id: the first ping comes that early.
    let hook = match (token.filter(|token| is_name(token)), letter.only("x-github-hook-id")) {
        (Some(token), _) => store.hook_by_token(&digest(token.as_bytes()))?.filter(|hook| hook.side == Side::Forge),
        (None, Some(id)) if is_number(id) => store.hook_by_remote(Side::Forge, id)?,
        _ => None,
    };
    verify::github(keys, hook.as_ref(), letter, now).map_err(Refused::Unsigned)?;
    let kind = letter.only("content-type").unwrap_or_default();
    let event = letter.only("x-github-event").filter(|event| is_name(event));
    let guid = letter.only("x-github-delivery").filter(|guid| is_name(guid));
    let heard = match (github::delivery::payload_of(kind, letter.body), event, guid) {
        (Err(github::delivery::PayloadFault::Type), ..) => return Err(Refused::ContentType),
        (Err(github::delivery::PayloadFault::Form), ..) => Err(NO_PAYLOAD.to_owned()),
        (Ok(_), None, _) => Err("it does not name its event in x-github-event".to_owned()),
        (Ok(_), _, None) => Err("it does not name itself in x-github-delivery".to_owned()),
        (Ok(payload), Some(event), Some(_)) => github::delivery::reduce(event, &payload),
    };
    let key = guid.map_or_else(|| digest(letter.body), str::to_owned);
    let headers = ["x-github-event", "x-github-delivery", "x-github-hook-id", "content-type", "user-agent"];
    let incoming = Incoming {
        side: Side::Forge,
        key,
        hook: hook.as_ref().map(|hook| hook.id),
        origin: Origin::Sent,
        event: event.unwrap_or("unknown"),
        headers: kept(letter, &headers),
    };
    take(store, &sort::of_github(keys.config, store), incoming, heard, letter, now)
}

/// Takes in what Asana sent to the address with this token, a handshake among it.
///
/// # Errors
/// [`Refused`] says how it is to be answered.
pub fn asana(
    store: &Store,
    keys: Keys<'_>,
    token: Option<&str>,
    letter: &Letter<'_>,
    now: Timestamp,
) -> Result<Taken, Refused> {
    let hook = match token.filter(|token| is_name(token)) {
        Some(token) => store.hook_by_token(&digest(token.as_bytes()))?.filter(|hook| hook.side == Side::Tracker),
        None => None,
    };
    if !letter.all(HANDSHAKE_HEADER).is_empty() {
        return handshake(store, keys, hook, letter, now);
    }
    let hook = verify::asana(keys, hook, letter).map_err(Refused::Unsigned)?;
    let kind = letter.only("content-type").unwrap_or_default();
    if !kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json")) {
        return Err(Refused::ContentType);
    }
    let heard = asana::delivery::reduce(letter.body);
    // Asana names no delivery, and every heartbeat is like the other; events carry their instant.
    let beat = matches!(&heard, Ok(heard) if heard.event == "heartbeat");
    let key = match beat {
        true => format!("{}:heartbeat {now}", hook.id),
        false => format!("{}:{}", hook.id, digest(letter.body)),
    };
    let incoming = Incoming {
        side: Side::Tracker,
        key,
        hook: Some(hook.id),
        origin: Origin::Sent,
        event: "events",
        headers: kept(letter, &["content-type", "user-agent"]),
    };
    take(store, &sort::of_asana(keys.config, &hook), incoming, heard, letter, now)
}

/// Takes in what GitHub failed to hand over, as fetched from its own list: that it is GitHub's word is certain.
///
/// # Errors
/// When the database fails.
pub fn fetched(
    store: &Store,
    config: &Config,
    hook: i64,
    (guid, event, payload): (&str, &str, &[u8]),
    now: Timestamp,
) -> Result<Taken, StoreError> {
    let letter = Letter { headers: &[], body: payload, request: guid };
    let incoming = Incoming {
        side: Side::Forge,
        key: guid.to_owned(),
        hook: Some(hook),
        origin: Origin::Fetched,
        event,
        headers: BTreeMap::from([("x-github-event".to_owned(), event.to_owned())]),
    };
    let heard = github::delivery::reduce(event, payload);
    match take(store, &sort::of_github(config, store), incoming, heard, &letter, now) {
        Ok(taken) => Ok(taken),
        Err(Refused::Database(error)) => Err(error),
        Err(Refused::Garbled(taken)) => Ok(Taken::In { taken, looks: Vec::new(), event: event.to_owned() }),
        // Said of letters only, and this is none.
        Err(Refused::Unsigned(_) | Refused::ContentType) => {
            Err(StoreError::Failed { doing: format!("taking in delivery {guid}"), why: "it was refused".to_owned() })
        }
    }
}

/// Does once more what a kept delivery asked for, as this program and configuration understand it now. `None` when
/// there is no such delivery; the inner error says why it cannot be understood.
///
/// # Errors
/// When the database fails.
#[allow(clippy::type_complexity, reason = "what became of it, inside whether it is there")]
pub fn replay(
    store: &Store,
    config: &Config,
    id: i64,
    request: &str,
    now: Timestamp,
) -> Result<Option<Result<(TakenIn, Vec<(RouteName, Whole)>), String>>, StoreError> {
    let Some((kept, body)) = store.delivery(id)? else { return Ok(None) };
    let header = |name: &str| kept.headers.get(name).map_or("", String::as_str);
    let (heard, routes) = if kept.provider == Side::Forge.service() {
        let kind = if header("content-type").is_empty() { "application/json" } else { header("content-type") };
        let heard = match github::delivery::payload_of(kind, &body) {
            Ok(payload) => github::delivery::reduce(header("x-github-event"), &payload),
            Err(_) => Err(NO_PAYLOAD.to_owned()),
        };
        (heard, sort::of_github(config, store))
    } else {
        let hook = store.hooks(Some(Side::Tracker))?.into_iter().find(|hook| Some(hook.id) == kept.hook);
        // A hook is replaced now and then; where it was is where what it told of was.
        let touched = kept.touched.first().map(|touched| &touched.route);
        let of_touched = config.routes.iter().find(|route| Some(&route.name) == touched);
        let routes = match (hook, of_touched) {
            (Some(hook), _) => sort::of_asana(config, &hook),
            (None, Some(route)) => sort::of_project(config, &route.project),
            (None, None) => {
                let why = "the hook it came through is not known any more; a pass finds what moved";
                return Ok(Some(Err(why.to_owned())));
            }
        };
        (asana::delivery::reduce(&body), routes)
    };
    let heard = match heard {
        Ok(heard) => heard,
        Err(why) => return Ok(Some(Err(why))),
    };
    let looks = routes.looks(&heard)?;
    let touches = routes.touches(&heard)?;
    let taken = store.replay_delivery(id, &touches, request, now)?;
    Ok(Some(Ok((taken, looks))))
}

/// What is known of a delivery before it is reduced.
struct Incoming<'a> {
    side: Side,
    key: String,
    hook: Option<i64>,
    origin: Origin,
    event: &'a str,
    headers: BTreeMap<String, String>,
}

/// Keeps a verified delivery together with what it makes due.
fn take(
    store: &Store,
    routes: &sort::Routes<'_>,
    incoming: Incoming<'_>,
    heard: Result<Heard, String>,
    letter: &Letter<'_>,
    now: Timestamp,
) -> Result<Taken, Refused> {
    let Incoming { side, key, hook, origin, event, headers } = incoming;
    let (event, note, garbled, touches, looks) = match heard {
        Ok(heard) => {
            let (touches, looks) = (routes.touches(&heard)?, routes.looks(&heard)?);
            (heard.event, heard.note, false, touches, looks)
        }
        Err(why) => (event.to_owned(), Some(why), true, Touches::default(), Vec::new()),
    };
    let new = NewDelivery {
        side,
        key,
        hook,
        event: event.clone(),
        origin,
        note,
        garbled,
        request: letter.request.to_owned(),
        headers,
        body: letter.body.to_vec(),
        touches,
    };
    let taken = store.hand_in(new, now)?;
    if taken.verdict == Verdict::Garbled {
        return Err(Refused::Garbled(taken));
    }
    let looks = if taken.again { Vec::new() } else { looks };
    Ok(Taken::In { taken, looks, event })
}

/// Believes a handshake only while a creation of our own is under way and its one-time token fits.
fn handshake(
    store: &Store,
    keys: Keys<'_>,
    hook: Option<HookRow>,
    letter: &Letter<'_>,
    now: Timestamp,
) -> Result<Taken, Refused> {
    const WHY: &str = "a handshake that no creation of ours waits for";
    let secret = letter.only(HANDSHAKE_HEADER).filter(|secret| {
        (1..=HANDSHAKE_BYTES_MAX).contains(&secret.len()) && secret.bytes().all(|byte| byte.is_ascii_graphic())
    });
    let pending = hook.filter(|hook| hook.state == HookState::Pending && hook.pending_until > now);
    let (Some(secret), Some(hook), Some(seal)) = (secret, pending, keys.seal) else {
        return Err(Refused::Unsigned(WHY));
    };
    let secret = Secret::new(secret.to_owned());
    let nonce = nonce().map_err(|error| {
        Refused::Database(StoreError::Failed { doing: "sealing a hook's secret".to_owned(), why: error.to_string() })
    })?;
    let sealed = seal.seal(&secret, &hook.token_hash, nonce);
    match store.shake_hands(hook.id, &sealed, now)? {
        true => Ok(Taken::Handshake(secret)),
        false => Err(Refused::Unsigned(WHY)),
    }
}

/// The headers that matter, as kept with a delivery.
fn kept(letter: &Letter<'_>, names: &[&str]) -> BTreeMap<String, String> {
    let value = |name: &&str| {
        let value: String = letter.only(name)?.chars().take(200).collect();
        Some(((*name).to_owned(), value))
    };
    names.iter().filter_map(value).collect()
}

/// SHA-256 in hexadecimal: how a token is looked up and a body without a name is called.
pub fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn is_number(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// What may stand in a table and a log: visible ASCII of bounded length.
fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Why a signature header is refused, for our own counts.
const fn reason(fault: HeaderFault) -> &'static str {
    match fault {
        HeaderFault::Missing => "not signed",
        HeaderFault::Doubled => "signed more than once",
        HeaderFault::Malformed => "a malformed signature",
    }
}
