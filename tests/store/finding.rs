//! Pairs looked for by what became of them, and keys of calls let go of, on both databases.

use std::collections::BTreeMap;

use evenkeel::model::{Content, Field, LinkId, LinkStatus, Status, Waiting};
use evenkeel::store::{Begun, LinkChange, LinkFilter, NewCall, NewDue, NewLink, Record};

use super::support::Database;
use super::{at, due, key, lease, pair, route};
use crate::on_both;

on_both! {
    fn pairs_are_found_by_what_became_of_them(database: &Database) {
        let store = database.open();
        let (app, back) = (route("app"), route("back"));
        // What a person wrote must not be taken for the status.
        let wrote = "\"status\":\"dropped\" and \\\"status\\\":\\\"dropped\\\"";
        let says = |status| Some(Content { status, body: wrote.to_owned(), ..Content::default() });
        let bases = [says(Status::Open), says(Status::Done), None, says(Status::Open), says(Status::Dropped)];
        let links = bases.into_iter().zip(1..).map(|(base, number)| NewLink { base, ..pair(number, number) });
        let holding = lease(&store, "app");
        store.record(&holding, &Record { link: links.collect(), ..Record::default() }, at(0)).expect("linked");
        let other = Record { link: vec![pair(6, 6)], ..Record::default() };
        store.record(&lease(&store, "back"), &other, at(0)).expect("linked");
        let question = Waiting { base: None, said: Default::default(), why: "both moved".to_owned(), since: at(0) };
        let waiting: BTreeMap<Field, Waiting> = [(Field::Title, question)].into();
        let change = vec![
            (LinkId(3), LinkChange { waiting: Some(waiting), ..LinkChange::default() }),
            (LinkId(5), LinkChange { status: Some(LinkStatus::Retired), ..LinkChange::default() }),
        ];
        store.record(&holding, &Record { change, ..Record::default() }, at(0)).expect("changed");
        // Named in another case than the link's; and, for the route beside it, an item of the same name.
        let parked = NewDue { parked: true, ..due("github:ACME/app#2", 0) };
        store.ring(&app, &[due("asana:1", 0), parked], None, at(0)).expect("rung");
        store.ring(&back, &[due("asana:4", 0)], None, at(0)).expect("rung");

        let every = LinkFilter { limit: 100, ..LinkFilter::default() };
        let found = |filter: LinkFilter<'_>| -> Vec<i64> {
            store.find_links(&filter).expect("found").into_iter().map(|link| link.id.0).collect()
        };
        assert_eq!(found(every), [1, 2, 3, 4, 5, 6]);
        assert_eq!(found(LinkFilter { limit: 2, after: Some(LinkId(1)), ..every }), [2, 3]);
        assert_eq!(found(LinkFilter { route: Some(&back), ..every }), [6]);
        assert_eq!(found(LinkFilter { link: Some(LinkStatus::Retired), ..every }), [5]);
        assert_eq!(found(LinkFilter { status: Some(Status::Open), ..every }), [1, 4]);
        assert_eq!(found(LinkFilter { status: Some(Status::Dropped), ..every }), [5]);
        assert_eq!(found(LinkFilter { mismatch: Some(true), ..every }), [1, 2, 3]);
        assert_eq!(found(LinkFilter { mismatch: Some(false), ..every }), [4, 5, 6]);
        assert_eq!(found(LinkFilter { parked: Some(true), ..every }), [2]);
        assert_eq!(found(LinkFilter { parked: Some(false), mismatch: Some(true), ..every }), [1, 3]);

        let items = ["asana:1", "github:acme/APP#2", "asana:4", "asana:99"].map(key);
        let dues = store.dues_of(&app, &items).expect("answers");
        let dues: Vec<String> = dues.iter().map(|due| due.item.to_string()).collect();
        assert_eq!(dues, ["asana:1", "github:ACME/app#2"]);
    }

    fn a_key_is_let_go_of_by_its_own_call_only(database: &Database) {
        let store = database.open();
        let call = |digest: &str| NewCall {
            key: Some("a key".to_owned()),
            request: "0123456789abcdef".to_owned(),
            actor: "api".to_owned(),
            method: "POST".to_owned(),
            path: "/api/reconcile".to_owned(),
            reason: "a look".to_owned(),
            digest: digest.to_owned(),
        };
        assert!(matches!(store.begin_call(&call("one"), at(0)), Ok(Begun::New(_))));
        assert!(matches!(store.begin_call(&call("one"), at(1)), Ok(Begun::UnderWay { .. })));
        assert!(!store.free_call_key("a key", at(1)).expect("answers"));
        assert!(!store.free_call_key("another", at(0)).expect("answers"));
        assert!(store.free_call_key("a key", at(0)).expect("answers"));
        assert!(matches!(store.begin_call(&call("two"), at(2)), Ok(Begun::New(_))));
        // Who looked before it was taken anew does not take it away again.
        assert!(!store.free_call_key("a key", at(0)).expect("answers"));
        assert_eq!(database.number("(SELECT count(*) FROM calls)"), 2, "the calls themselves stay");
    }
}
