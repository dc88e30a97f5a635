//! The ways of the API: which method on which path asks for what.

use super::fault::{Code, Fault};

/// What a call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// The contract.
    Openapi,
    /// Pairs, a page at a time.
    Tasks,
    /// One task explained.
    Task,
    /// A task brought in step now.
    Sync,
    /// Both sides closed.
    Close,
    /// Both sides opened again.
    Reopen,
    /// Passes over routes.
    Reconcile,
    /// One pass.
    Pass,
    /// What passes would do.
    Plan,
    /// Deliveries, a page at a time.
    Deliveries,
    /// One delivery with its body.
    Delivery,
    /// A delivery done once more.
    Replay,
    /// Parked items.
    Parked,
    /// A parked item tried again.
    Retry,
    /// A parked item given up.
    Drop,
    /// Fields that wait for a person, a page of pairs at a time.
    Conflicts,
    /// A field that waits settled.
    Resolve,
    /// The history, a page at a time.
    History,
}

impl Endpoint {
    /// Whether it changes anything.
    pub const fn writes(self) -> bool {
        match self {
            Self::Sync
            | Self::Close
            | Self::Reopen
            | Self::Reconcile
            | Self::Replay
            | Self::Retry
            | Self::Drop
            | Self::Resolve => true,
            Self::Openapi
            | Self::Tasks
            | Self::Task
            | Self::Pass
            | Self::Plan
            | Self::Deliveries
            | Self::Delivery
            | Self::Parked
            | Self::Conflicts
            | Self::History => false,
        }
    }

    /// Whether a provider is asked, or a lease waited for.
    pub const fn slow(self) -> bool {
        matches!(self, Self::Task | Self::Sync | Self::Close | Self::Reopen | Self::Plan | Self::Drop | Self::Resolve)
    }
}

/// One way: method, path with a name in braces, what it asks for.
pub type Way = (&'static str, &'static str, Endpoint);

/// All ways there are.
pub const WAYS: [Way; 18] = [
    ("GET", "/api/openapi.json", Endpoint::Openapi),
    ("GET", "/api/tasks", Endpoint::Tasks),
    ("POST", "/api/tasks/sync", Endpoint::Sync),
    ("GET", "/api/tasks/{gid}", Endpoint::Task),
    ("POST", "/api/tasks/{gid}/close", Endpoint::Close),
    ("POST", "/api/tasks/{gid}/reopen", Endpoint::Reopen),
    ("POST", "/api/reconcile", Endpoint::Reconcile),
    ("GET", "/api/passes/{id}", Endpoint::Pass),
    ("GET", "/api/plan", Endpoint::Plan),
    ("GET", "/api/deliveries", Endpoint::Deliveries),
    ("GET", "/api/deliveries/{id}", Endpoint::Delivery),
    ("POST", "/api/deliveries/{id}/replay", Endpoint::Replay),
    ("GET", "/api/parked", Endpoint::Parked),
    ("POST", "/api/parked/{id}/retry", Endpoint::Retry),
    ("POST", "/api/parked/{id}/drop", Endpoint::Drop),
    ("GET", "/api/conflicts", Endpoint::Conflicts),
    ("POST", "/api/conflicts/resolve", Endpoint::Resolve),
    ("GET", "/api/history", Endpoint::History),
];

/// What was found at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What is asked for.
    pub endpoint: Endpoint,
    /// What stands where the way has braces; empty where it has none.
    pub name: String,
}

/// Finds the way of a call. A HEAD is a GET whose body is not sent.
pub(super) fn find(method: &str, path: &str) -> Result<Found, Fault> {
    let wanted = if method == "HEAD" { "GET" } else { method };
    // A path that is written out comes before one with a name in it.
    let literal = WAYS.iter().any(|(_, way, _)| *way == path);
    let mut allowed = Vec::new();
    for (method, way, endpoint) in &WAYS {
        let name = if literal { (*way == path).then(String::new) } else { fits(way, path) };
        let Some(name) = name else { continue };
        if *method == wanted {
            return Ok(Found { endpoint: *endpoint, name });
        }
        allowed.push(*method);
        if *method == "GET" {
            allowed.push("HEAD");
        }
    }
    if allowed.is_empty() {
        return Err(Fault::nothing_here());
    }
    let allowed = allowed.join(", ");
    let message = format!("this path takes {allowed}");
    Err(Fault::new(Code::MethodNotAllowed, message).with("Allow", allowed))
}

/// Whether a path fits a way; answers what stands in its braces.
fn fits(way: &str, path: &str) -> Option<String> {
    let mut name = String::new();
    let mut parts = path.split('/');
    for wanted in way.split('/') {
        let part = parts.next()?;
        if wanted.starts_with('{') {
            name = Some(part).filter(|part| !part.is_empty())?.to_owned();
        } else if part != wanted {
            return None;
        }
    }
    parts.next().is_none().then_some(name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::OPENAPI;
    use super::*;

    #[test]
    fn a_path_leads_to_its_endpoint_or_nowhere() {
        for (method, path, found) in [
            ("GET", "/api/tasks", Some((Endpoint::Tasks, ""))),
            ("HEAD", "/api/tasks", Some((Endpoint::Tasks, ""))),
            ("GET", "/api/tasks/1201", Some((Endpoint::Task, "1201"))),
            ("POST", "/api/tasks/sync", Some((Endpoint::Sync, ""))),
            ("POST", "/api/tasks/1201/close", Some((Endpoint::Close, "1201"))),
            ("POST", "/api/tasks/sync/close", Some((Endpoint::Close, "sync"))),
            ("GET", "/api/tasks/", None),
            ("GET", "/api/tasks//", None),
            ("GET", "/api", None),
            ("GET", "/api/", None),
            ("GET", "/api/tasks/1/2", None),
            ("GET", "//api/tasks", None),
            ("GET", "*", None),
            ("GET", "", None),
        ] {
            match (find(method, path), found) {
                (Ok(is), Some((endpoint, name))) => assert_eq!((is.endpoint, is.name.as_str()), (endpoint, name)),
                (Err(fault), None) => assert_eq!(fault.code, Code::NotFound, "{method} {path}"),
                (is, _) => unreachable!("{method} {path}: {is:?}"),
            }
        }
    }

    #[test]
    fn a_wrong_method_is_told_the_right_ones() {
        for (method, path, allow) in [
            ("GET", "/api/tasks/sync", "POST"),
            ("get", "/api/tasks", "GET, HEAD"),
            ("DELETE", "/api/tasks/7", "GET, HEAD"),
            ("GET", "/api/parked/7/drop", "POST"),
        ] {
            let fault = find(method, path).expect_err("refused");
            assert_eq!(fault.code, Code::MethodNotAllowed, "{method} {path}");
            assert_eq!(fault.headers, [("Allow", allow.to_owned())], "{method} {path}");
        }
    }

    #[test]
    fn the_contract_names_every_way_and_no_other() {
        let contract: serde_json::Value = serde_json::from_str(OPENAPI).expect("it is JSON");
        let mut named = BTreeSet::new();
        for (path, methods) in contract["paths"].as_object().expect("paths") {
            for method in methods.as_object().expect("methods").keys().filter(|key| *key != "parameters") {
                named.insert((method.to_uppercase(), path.clone()));
            }
        }
        let ways: BTreeSet<_> = WAYS.iter().map(|(method, path, _)| (method.to_string(), path.to_string())).collect();
        assert_eq!(named, ways);
    }

    #[test]
    fn the_contract_names_every_code_and_no_other() {
        let contract: serde_json::Value = serde_json::from_str(OPENAPI).expect("it is JSON");
        let codes = contract["components"]["schemas"]["Code"]["enum"].as_array().expect("codes");
        let codes: BTreeSet<_> = codes.iter().map(|code| code.as_str().expect("a word")).collect();
        assert_eq!(codes, Code::ALL.iter().map(|code| code.as_str()).collect());
    }
}
