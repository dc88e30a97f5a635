//! Deliveries from the wire to the rows they become.

use std::path::Path;

use zeroize::Zeroizing;

use super::*;
use crate::config::SourceFile;
use crate::model::{BySide, Content};
use crate::provider::signature::sign;
use crate::store::{DeliveryFilter, HookChange, NewHook, NewLink, Record};

const TOKEN: &str = "the-one-time-token";
const SHARED: &str = "the secret in the configuration";

struct World {
    store: Store,
    config: Config,
    seal: Seal,
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + seconds).expect("in range")
}

fn world() -> World {
    let text = "[asana]\ntoken = { env = \"T\" }\n[github]\ntoken = { env = \"T\" }\nwebhook_secret = { env = \"S\" }\n\
                webhook_secret_former = { env = \"F\" }\n\
                [[route]]\nname = \"app\"\nasana_project = \"77\"\ngithub_repo = \"acme/app\"\n\
                [[route]]\nname = \"site\"\nasana_project = \"77\"\ngithub_repo = \"acme/site\"\n";
    let env = |name: &str| match name {
        "T" => Some("token".to_owned()),
        "S" => Some(SHARED.to_owned()),
        "F" => Some("the one before".to_owned()),
        _ => None,
    };
    let read = |_: &Path| Ok(SourceFile { text: Zeroizing::new(text.to_owned()), open_to_all: false });
    World {
        store: Store::in_memory().expect("a store"),
        config: Config::load(Some(Path::new("config.toml")), &env, &read).expect("a configuration"),
        seal: Seal::new(&Secret::new("0123456789abcdef0123456789abcdef".to_owned())),
    }
}

impl World {
    fn keys(&self) -> Keys<'_> {
        Keys { config: &self.config, seal: Some(&self.seal) }
    }

    /// A link of route `app`: task 1201 with acme/app#17, the repository known by `repo`.
    fn link(&self, repo: &str) {
        let lease = self.store.acquire(&route("app"), "test", at(0)).expect("answers").expect("free");
        let pair = NewLink {
            task: "1201".parse().expect("a gid"),
            project: None,
            issue: format!("{repo}#17").parse().expect("an issue"),
            repo_id: 501,
            issue_id: 9,
            issue_node_id: "I_9".to_owned(),
            base: Some(Content::default()),
            seen: BySide::default(),
            waiting: BTreeMap::new(),
        };
        self.store.record(&lease, &Record { link: vec![pair], ..Record::default() }, at(0)).expect("linked");
        self.store.release(&lease).expect("released");
    }

    /// A hook of Asana on project 77 that was announced a moment ago.
    fn pending(&self) -> i64 {
        let new = NewHook {
            side: Side::Tracker,
            resource: "77".to_owned(),
            token_hash: digest(TOKEN.as_bytes()),
            target: "https://sync.example.com/webhooks/asana/".to_owned(),
            secret: None,
            pending_until: at(60),
        };
        self.store.announce_hook(&new, at(0)).expect("announced")
    }

    fn shake(&self, token: &str, now: Timestamp) -> Result<Taken, Refused> {
        let headers = [(HANDSHAKE_HEADER.to_owned(), "b0".repeat(32))];
        asana(&self.store, self.keys(), Some(token), &Letter { headers: &headers, body: b"", request: "r" }, now)
    }

    fn asana(&self, token: &str, secret: &str, body: &str, now: Timestamp) -> Result<Taken, Refused> {
        let headers = [
            ("content-type".to_owned(), "application/json".to_owned()),
            ("x-hook-signature".to_owned(), sign(&Secret::new(secret.to_owned()), body.as_bytes())),
        ];
        let letter = Letter { headers: &headers, body: body.as_bytes(), request: "r1" };
        asana(&self.store, self.keys(), Some(token), &letter, now)
    }

    fn github(&self, event: &str, guid: &str, secret: &str, body: &str) -> Result<Taken, Refused> {
        self.github_with(event, guid, secret, body, &[("content-type", "application/json")])
    }

    fn github_with(
        &self,
        event: &str,
        guid: &str,
        secret: &str,
        body: &str,
        more: &[(&str, &str)],
    ) -> Result<Taken, Refused> {
        let signature = format!("sha256={}", sign(&Secret::new(secret.to_owned()), body.as_bytes()));
        let named = [("x-github-event", event), ("x-github-delivery", guid), ("x-hub-signature-256", &signature)];
        let headers: Vec<(String, String)> =
            named.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let letter = Letter { headers: &headers, body: body.as_bytes(), request: "r2" };
        github(&self.store, self.keys(), None, &letter, at(10))
    }

    fn rung(&self, name: &str) -> Vec<String> {
        let rung = self.store.rung(&route(name), at(1_000), 99).expect("answers");
        rung.iter().map(|due| due.item.to_string()).collect()
    }

    fn rows(&self) -> usize {
        self.store.deliveries(&DeliveryFilter::default()).expect("answers").len()
    }
}

fn route(name: &str) -> RouteName {
    name.parse().expect("a route")
}

fn issue(number: u64, repo: &str) -> String {
    format!(
        r#"{{"action":"closed","issue":{{"number":{number}}},"repository":{{"id":501,"full_name":"{repo}","default_branch":"main"}}}}"#
    )
}

#[test]
fn a_signed_delivery_is_one_row_and_its_items_are_due_where_they_belong() {
    let world = world();
    let taken = world.github("issues", "g-1", SHARED, &issue(17, "acme/app")).expect("taken in");
    let Taken::In { taken, event, .. } = taken else { panic!("{taken:?}") };
    assert_eq!((event.as_str(), taken.verdict, taken.again), ("issues.closed", Verdict::Due, false));
    assert_eq!(taken.routes, [route("app")]);
    assert_eq!((world.rung("app"), world.rung("site")), (vec!["github:acme/app#17".to_owned()], vec![]));
    let kept = &world.store.deliveries(&DeliveryFilter::default()).expect("answers")[0];
    assert_eq!((kept.key.as_str(), kept.request.as_str(), kept.touched.len()), ("g-1", "r2", 1));
    let by_item = DeliveryFilter { item: Some("github:Acme/app#17".parse().expect("a key")), ..Default::default() };
    assert_eq!(world.store.deliveries(&by_item).expect("answers").len(), 1);
}

#[test]
fn the_same_delivery_again_is_counted_and_done_once() {
    let world = world();
    world.github("issues", "g-1", SHARED, &issue(17, "acme/app")).expect("taken in");
    let lease = world.store.acquire(&route("app"), "test", at(20)).expect("answers").expect("free");
    let rung = world.store.rung(&route("app"), at(20), 9).expect("answers");
    world.store.take_up(&lease, rung).expect("taken up");
    for _ in 0..3 {
        let Taken::In { taken, .. } = world.github("issues", "g-1", SHARED, &issue(17, "acme/app")).expect("taken")
        else {
            panic!("no handshake")
        };
        assert!(taken.again && taken.routes.is_empty());
    }
    assert_eq!((world.rung("app").len(), world.rows()), (0, 1));
    assert_eq!(world.store.deliveries(&DeliveryFilter::default()).expect("answers")[0].repeats, 3);
}

#[test]
fn what_is_not_signed_with_a_known_secret_leaves_no_row() {
    let world = world();
    let body = issue(17, "acme/app");
    for secret in ["", "wrong", "The secret in the configuration"] {
        assert!(matches!(world.github("issues", "g-1", secret, &body), Err(Refused::Unsigned("a wrong signature"))));
    }
    let signature = format!("sha256={}", sign(&Secret::new(SHARED.to_owned()), body.as_bytes()));
    for (signatures, why) in [
        (vec![], "not signed"),
        (vec![signature.clone(), signature.clone()], "signed more than once"),
        (vec![signature.to_uppercase()], "a malformed signature"),
    ] {
        let mut headers: Vec<(String, String)> =
            signatures.into_iter().map(|value| ("x-hub-signature-256".to_owned(), value)).collect();
        headers.push(("content-type".to_owned(), "application/json".to_owned()));
        let letter = Letter { headers: &headers, body: body.as_bytes(), request: "r" };
        match github(&world.store, world.keys(), None, &letter, at(0)) {
            Err(Refused::Unsigned(found)) => assert_eq!(found, why),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((world.rows(), world.rung("app").len()), (0, 0));
}

#[test]
fn the_secret_before_is_good_beside_the_present_one() {
    let world = world();
    world.github("ping", "g-1", "the one before", "{}").expect("taken in");
    world.github("ping", "g-2", SHARED, "{}").expect("taken in");
}

#[test]
fn a_hook_of_its_own_secret_is_known_by_its_id_and_the_former_secret_ends() {
    let world = world();
    let new = NewHook {
        side: Side::Forge,
        resource: "acme/app".to_owned(),
        token_hash: digest(b"g"),
        target: String::new(),
        secret: None,
        pending_until: at(0),
    };
    let id = world.store.announce_hook(&new, at(0)).expect("announced");
    let sealed = |text: &str, chance| world.seal.seal(&Secret::new(text.to_owned()), &digest(b"g"), [chance; 12]);
    let change = HookChange {
        remote: Some("4711".to_owned()),
        secret: Some(sealed("new", 1)),
        former: Some((sealed("old", 2), at(20))),
        ..HookChange::default()
    };
    world.store.change_hook(id, &change).expect("changed");
    let send = |secret: &str, hook: &str, guid: &str| {
        world.github_with(
            "ping",
            guid,
            secret,
            "{}",
            &[("content-type", "application/json"), ("x-github-hook-id", hook)],
        )
    };
    assert!(send("new", "4711", "1").is_ok() && send("old", "4711", "2").is_ok());
    assert!(send("new", "4712", "3").is_err() && send("new", "x", "4").is_err());
    let gone = HookChange { former: Some((sealed("old", 2), at(5))), ..HookChange::default() };
    world.store.change_hook(id, &gone).expect("changed");
    assert!(send("old", "4711", "5").is_err() && send("new", "4711", "6").is_ok());
}

#[test]
fn signed_nonsense_is_kept_and_refused_and_another_content_type_is_not_read() {
    let world = world();
    for (guid, body) in [("g-1", "{"), ("g-2", "[]"), ("g-3", "\u{0}")] {
        assert!(matches!(world.github("issues", guid, SHARED, body), Err(Refused::Garbled(_))), "{body}");
    }
    let filter = DeliveryFilter { verdict: Some(Verdict::Garbled), ..DeliveryFilter::default() };
    let kept = world.store.deliveries(&filter).expect("answers");
    assert_eq!(kept.len(), 3);
    assert_eq!(world.store.delivery(kept[2].id).expect("answers").expect("there").1, b"{");
    let typed = world.github_with("issues", "g-4", SHARED, "{}", &[("content-type", "text/plain")]);
    assert!(matches!(typed, Err(Refused::ContentType)));
    let form = "payload=%7B%22zen%22%3A%22x%22%7D";
    let typed = [("content-type", "application/x-www-form-urlencoded")];
    assert!(world.github_with("ping", "g-5", SHARED, form, &typed).is_ok());
    assert!(matches!(
        world.github_with("ping", "", SHARED, "{}", &[("content-type", "application/json")]),
        Err(Refused::Garbled(_))
    ));
}

#[test]
fn a_renamed_repository_is_known_by_its_id() {
    let world = world();
    world.link("acme/app");
    world.github("issues", "g-1", SHARED, &issue(17, "acme/application")).expect("taken in");
    assert_eq!(world.rung("app"), ["github:acme/app#17"]);
}

#[test]
fn a_handshake_is_believed_once_and_only_while_a_creation_of_ours_waits() {
    let world = world();
    assert!(matches!(world.shake(TOKEN, at(1)), Err(Refused::Unsigned(_))), "nobody waits");
    let id = world.pending();
    assert!(matches!(world.shake("another-token", at(1)), Err(Refused::Unsigned(_))));
    assert!(matches!(world.shake(TOKEN, at(61)), Err(Refused::Unsigned(_))), "too late");
    let Ok(Taken::Handshake(secret)) = world.shake(TOKEN, at(1)) else { panic!("believed") };
    assert_eq!(secret.reveal(), "b0".repeat(32));
    assert!(matches!(world.shake(TOKEN, at(2)), Err(Refused::Unsigned(_))), "once");
    let kept = world.store.hooks(None).expect("answers");
    assert!(!kept[0].secret.clone().expect("kept").contains("b0b0"), "sealed");
    // The first heartbeat may come before the 201 that tells us the hook stands.
    world.asana(TOKEN, secret.reveal(), "{}", at(2)).expect("taken in");
    assert_eq!(world.store.hooks(None).expect("answers")[0].heard_at, Some(at(2)));
    world
        .store
        .change_hook(id, &HookChange { state: Some(HookState::Live), ..HookChange::default() })
        .expect("changed");
    assert!(matches!(world.shake(TOKEN, at(3)), Err(Refused::Unsigned(_))), "it stands already");
}

#[test]
fn events_of_asana_make_tasks_due_on_their_link_or_on_every_route_of_the_project() {
    let world = world();
    world.link("acme/app");
    world.pending();
    world.shake(TOKEN, at(1)).expect("believed");
    let event = |gid: &str, at: &str| {
        format!(
            r#"{{"action":"changed","created_at":"{at}","resource":{{"gid":"{gid}","resource_type":"task"}},"parent":null}}"#
        )
    };
    let body = format!(r#"{{"events":[{},{}]}}"#, event("1201", "1"), event("1202", "1"));
    let secret = "b0".repeat(32);
    world.asana(TOKEN, &secret, &body, at(5)).expect("taken in");
    assert_eq!(world.rung("app"), ["asana:1201", "asana:1202"]);
    assert_eq!(world.rung("site"), ["asana:1202"], "what is linked is due on its own route alone");
    let Ok(Taken::In { taken, .. }) = world.asana(TOKEN, &secret, &body, at(9)) else { panic!("taken in") };
    assert!(taken.again, "a retry");
    for _ in 0..2 {
        let Ok(Taken::In { taken, .. }) = world.asana(TOKEN, &secret, "{\"events\":[]}", at(20)) else { panic!("in") };
        assert_eq!(taken.verdict, Verdict::Noted);
    }
    assert!(world.asana(TOKEN, "wrong", &body, at(9)).is_err());
    assert!(world.asana("another", &secret, &body, at(9)).is_err());
}

#[test]
fn a_pull_request_that_closes_an_issue_tells_its_task_once() {
    let world = world();
    world.link("acme/app");
    let pull = |action: &str, merged: bool| {
        format!(
            r#"{{"action":"{action}","number":12,"pull_request":{{"number":12,"title":"Fix it","body":"Fixes #17","html_url":"https://github.com/acme/app/pull/12","merged":{merged},"user":{{"login":"mona"}},"base":{{"ref":"main"}}}},"repository":{{"id":501,"full_name":"acme/app","default_branch":"main"}},"sender":{{"login":"ann"}}}}"#
        )
    };
    world.github("pull_request", "g-1", SHARED, &pull("opened", false)).expect("taken in");
    world.github("pull_request", "g-2", SHARED, &pull("edited", false)).expect("taken in");
    world.github("pull_request", "g-3", SHARED, &pull("closed", true)).expect("taken in");
    let notices = world.store.open_notices(&route("app"), 9).expect("answers");
    let causes: Vec<&str> = notices.iter().map(|notice| notice.cause.as_str()).collect();
    assert_eq!(
        causes,
        ["pull request acme/app#12 of mona is open", "pull request acme/app#12 of mona was merged by ann"]
    );
    assert_eq!(world.rung("app"), ["github:acme/app#17"]);
}

#[test]
fn a_kept_delivery_can_be_done_once_more() {
    let world = world();
    world.github("issues", "g-1", SHARED, &issue(17, "acme/app")).expect("taken in");
    let lease = world.store.acquire(&route("app"), "test", at(20)).expect("answers").expect("free");
    world.store.take_up(&lease, world.store.rung(&route("app"), at(20), 9).expect("answers")).expect("taken up");
    let id = world.store.deliveries(&DeliveryFilter::default()).expect("answers")[0].id;
    let (taken, _) =
        replay(&world.store, &world.config, id, "r9", at(30)).expect("answers").expect("there").expect("understood");
    assert_eq!(taken.routes, [route("app")]);
    assert_eq!(world.rung("app"), ["github:acme/app#17"]);
    assert_eq!(world.store.delivery(id).expect("answers").expect("there").0.replayed_at, Some(at(30)));
    assert!(replay(&world.store, &world.config, 4711, "r9", at(30)).expect("answers").is_none());
    world.github("issues", "g-2", SHARED, "{").expect_err("garbled");
    let garbled = world.store.deliveries(&DeliveryFilter::default()).expect("answers")[0].id;
    assert!(replay(&world.store, &world.config, garbled, "r9", at(30)).expect("answers").expect("there").is_err());
}

#[test]
fn a_delivery_of_a_hook_that_was_replaced_can_be_done_once_more() {
    let world = world();
    let row = world.pending();
    world.shake(TOKEN, at(1)).expect("believed");
    let body = r#"{"events":[{"action":"changed","created_at":"1","resource":{"gid":"1201","resource_type":"task"}}]}"#;
    world.asana(TOKEN, &"b0".repeat(32), body, at(5)).expect("taken in");
    world.asana(TOKEN, &"b0".repeat(32), r#"{"events":[]}"#, at(6)).expect("taken in");
    world.store.forget_hook(row).expect("forgotten");
    let kept = world.store.deliveries(&DeliveryFilter::default()).expect("answers");
    let again = |id| replay(&world.store, &world.config, id, "r9", at(30)).expect("answers").expect("there");
    let (taken, _) = again(kept[1].id).expect("understood");
    assert_eq!(taken.routes, [route("app"), route("site")]);
    assert!(again(kept[0].id).is_err(), "of one that touched nothing nobody knows where it was");
}

#[test]
fn what_github_failed_to_hand_over_is_taken_in_once_however_it_comes() {
    let world = world();
    let body = issue(17, "acme/app");
    fetched(&world.store, &world.config, 1, ("g-1", "issues", body.as_bytes()), at(5)).expect("taken in");
    assert_eq!(world.rung("app"), ["github:acme/app#17"]);
    let Taken::In { taken, .. } = world.github("issues", "g-1", SHARED, &body).expect("taken in") else { panic!("in") };
    assert!(taken.again, "an operator had it redelivered");
}

#[test]
fn a_label_renamed_concerns_only_routes_that_keep_labels() {
    let world = world();
    let body = r#"{"action":"edited","label":{"name":"bug"},"repository":{"id":501,"full_name":"acme/app"}}"#;
    let Taken::In { looks, .. } = world.github("label", "g-1", SHARED, body).expect("taken in") else { panic!("in") };
    assert_eq!(looks, []);
}
