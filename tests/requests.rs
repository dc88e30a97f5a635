//! What a pass asks of the services, as counts: the table of what it costs, held against the sandbox's own log.

#![allow(clippy::panic, reason = "a test ends by panicking")]

mod support;

use std::time::Duration;

use evenkeel::engine::{Ended, Engine, Report, Wake};
use evenkeel::model::{BySide, ItemKey, Side};
use evenkeel::sandbox::{Counts, Limits};
use support::rig::Rig;

/// One pass of an engine that lives on, and what it asked of each side.
fn counted(rig: &Rig, engine: &Engine, wake: &Wake) -> (Report, BySide<Counts>) {
    rig.sandbox.log().reset();
    let report = rig.pass_of(engine, wake).unwrap_or_else(|error| panic!("{wake:?}: {error}"));
    let counts = rig.sandbox.log().counts();
    // What a report says is what the services saw.
    for side in Side::BOTH {
        let said = report.requests[side];
        let saw = counts[side];
        assert_eq!((said.sent, said.writes, said.unchanged), (saw.requests, saw.writes, saw.unchanged), "{side}");
    }
    (report, counts)
}

/// A route in step, its cursors taken and its first polls behind it.
fn idle(count: u64) -> (Rig, Engine, evenkeel::sandbox::Population) {
    let rig = Rig::new();
    let population = rig.linked_pairs(count);
    let engine = rig.engine();
    let (report, counts) = counted(&rig, &engine, &Wake::Sweep);
    assert_eq!(report.ended, Ended::Settled, "{:?}", report.messages);
    assert!(report.plan.is_empty(), "{:#?}", report.plan.repairs.first());
    let pages = count.div_ceil(100);
    for (side, counts) in counts.iter() {
        assert!(counts.requests <= pages + 1 && counts.writes == 0, "{side}: {counts:?} for {count} items");
    }
    // Later than everything that was written, and past the first poll, which has no ETag yet.
    rig.clock.advance(Duration::from_secs(3_600));
    counted(&rig, &engine, &Wake::Poll { belt: false });
    (rig, engine, population)
}

const POLL: Wake = Wake::Poll { belt: false };

fn an_idle_poll_is_one_request_to_each_service(count: u64) {
    let (rig, engine, _) = idle(count);
    for _ in 0..3 {
        let (report, counts) = counted(&rig, &engine, &POLL);
        assert_eq!(report.ended, Ended::Settled);
        assert_eq!((counts.tracker.requests, counts.tracker.writes), (1, 0));
        assert_eq!((counts.forge.requests, counts.forge.unchanged), (1, 1), "one conditional request, answered 304");
    }
    // Another process, which knows nothing but the database, asks no more.
    let (_, counts) = counted(&rig, &rig.engine(), &POLL);
    assert_eq!((counts.tracker.requests, counts.forge.requests, counts.forge.unchanged), (1, 1, 1));
    // The belt, which misses less, is one request more.
    let (_, counts) = counted(&rig, &engine, &Wake::Poll { belt: true });
    assert!(counts.tracker.requests <= 2 && counts.forge.requests == 1, "{counts:?}");
}

#[test]
fn an_idle_poll_of_ten_links_is_one_request_to_each_service() {
    an_idle_poll_is_one_request_to_each_service(10);
}

#[test]
fn an_idle_poll_of_ten_thousand_links_is_one_request_to_each_service() {
    an_idle_poll_is_one_request_to_each_service(10_000);
}

#[test]
fn changed_issues_cost_their_page_and_two_requests_each() {
    let (rig, engine, population) = idle(200);
    for changed in [1, 5, 40] {
        for index in 0..changed {
            let number = population.item(index).issue.expect("an issue");
            rig.sandbox.github().retitle(&rig.repo.name, number, &format!("Renamed for the {changed} in {index}"));
        }
        let (report, counts) = counted(&rig, &engine, &POLL);
        assert_eq!((report.ended, report.counts.updated), (Ended::Settled, changed), "{:?}", report.messages);
        assert!(counts.forge.requests <= 1 && counts.forge.writes == 0, "{changed}: {counts:?}");
        // Its events, and for each task one re-read and one write.
        assert_eq!((counts.tracker.requests, counts.tracker.writes), (1 + 2 * changed, changed), "{changed}");
        // Our own echo: it is looked at and found in step, nothing is written, nothing is read on the other side.
        let (report, counts) = counted(&rig, &engine, &POLL);
        assert_eq!((report.ended, counts.tracker.writes, counts.forge.writes), (Ended::Settled, 0, 0));
        assert!(counts.tracker.requests <= 1 + changed.min(5), "{changed}: {counts:?}");
        assert_eq!(counts.forge.requests, 1);
        rig.clock.advance(Duration::from_secs(3_600));
        for _ in 0..3 {
            counted(&rig, &engine, &POLL);
        }
        let (_, counts) = counted(&rig, &engine, &POLL);
        assert_eq!((counts.tracker.requests, counts.forge.requests, counts.forge.unchanged), (1, 1, 1), "{changed}");
    }
}

#[test]
fn changed_tasks_cost_their_page_and_two_requests_each() {
    let (rig, engine, population) = idle(200);
    for changed in [1, 5, 40] {
        for index in 0..changed {
            let task = population.item(index).task.expect("a task");
            rig.sandbox.asana().rename(&task, &format!("Renamed for the {changed} in {index}"));
        }
        let (report, counts) = counted(&rig, &engine, &POLL);
        assert_eq!((report.ended, report.counts.updated), (Ended::Settled, changed), "{:?}", report.messages);
        // The events name the tasks but carry no words: few are read one by one, many by one listing.
        let words = if changed > 5 { 1 } else { changed };
        assert!(counts.tracker.requests <= 1 + words && counts.tracker.writes == 0, "{changed}: {counts:?}");
        assert_eq!((counts.forge.requests, counts.forge.writes), (1 + 2 * changed, changed), "{changed}");
        // Our own echo in the list of issues.
        let (report, counts) = counted(&rig, &engine, &POLL);
        assert_eq!((report.ended, counts.tracker.writes, counts.forge.writes), (Ended::Settled, 0, 0));
        assert_eq!((counts.tracker.requests, counts.forge.requests), (1, 1), "{changed}");
        rig.clock.advance(Duration::from_secs(3_600));
        for _ in 0..3 {
            counted(&rig, &engine, &POLL);
        }
        let (_, counts) = counted(&rig, &engine, &POLL);
        assert_eq!((counts.tracker.requests, counts.forge.requests, counts.forge.unchanged), (1, 1, 1), "{changed}");
    }
}

#[test]
fn a_visit_reads_the_item_named_then_its_partner_then_writes() {
    let (rig, engine, population) = idle(30);
    let pair = population.item(7);
    let (task, number) = (pair.task.expect("a task"), pair.issue.expect("an issue"));
    let issue = rig.issue_key(number);
    // So that the client knows the repository's id, as one at work does.
    counted(&rig, &engine, &Wake::Visit(vec![issue.clone()]));

    rig.sandbox.github().retitle(&rig.repo.name, number, "Named by a webhook");
    let (report, counts) = counted(&rig, &engine, &Wake::Visit(vec![issue.clone()]));
    assert_eq!((report.ended, report.counts.updated), (Ended::Settled, 1), "{:?}", report.messages);
    assert_eq!((counts.forge.requests, counts.forge.writes), (1, 0), "one read of the item named");
    assert_eq!((counts.tracker.requests, counts.tracker.writes), (2, 1), "one re-read of the partner, one write");

    // The webhook that our own write sets off.
    let (report, counts) = counted(&rig, &engine, &Wake::Visit(vec![ItemKey::Task(task.clone())]));
    assert_eq!(report.ended, Ended::Settled);
    assert_eq!((counts.tracker.requests, counts.tracker.writes, counts.forge.requests), (1, 0, 0), "an echo");

    rig.sandbox.asana().rename(&task, "Renamed in Asana");
    let (report, counts) = counted(&rig, &engine, &Wake::Visit(vec![ItemKey::Task(task)]));
    assert_eq!((report.ended, report.counts.updated), (Ended::Settled, 1), "{:?}", report.messages);
    assert_eq!((counts.tracker.requests, counts.tracker.writes), (1, 0));
    assert_eq!((counts.forge.requests, counts.forge.writes), (2, 1));
    let (_, counts) = counted(&rig, &engine, &Wake::Visit(vec![issue]));
    assert_eq!((counts.forge.requests, counts.forge.writes, counts.tracker.requests), (1, 0, 0), "an echo");
}

#[test]
fn a_lost_events_token_is_one_sweep_of_the_project_and_nothing_written() {
    let (rig, engine, _) = idle(250);
    rig.sandbox.asana().forget_sync_tokens();
    let (report, counts) = counted(&rig, &engine, &POLL);
    assert_eq!(report.ended, Ended::Settled);
    // The token that is too old brings the fresh one, then three pages.
    assert_eq!((counts.tracker.requests, counts.tracker.writes), (4, 0));
    assert_eq!((counts.forge.requests, counts.forge.unchanged), (1, 1));
}

/// Imports what stands in the project, as the service does: a poll a minute by one engine. Answers the requests of
/// all passes but idle ones, which are counted elsewhere, and what was told off by either service.
fn imported(rig: &Rig, wanted: usize) -> (u64, Vec<String>) {
    rig.sandbox.github().habits(|habits| habits.limits = Limits::published());
    rig.sandbox.asana().habits(|habits| habits.per_minute = Some(150));
    let engine = rig.engine();
    rig.sandbox.log().reset();
    let mut told_off = Vec::new();
    let mut requests = 0;
    for pass in 0.. {
        let before = rig.sandbox.log().requests().len();
        let report = rig.pass_of(&engine, &POLL).expect("a pass");
        assert_eq!(report.counts.parked, 0, "pass {pass}: {:?}", report.messages);
        let seen = rig.sandbox.log().requests();
        told_off.extend(
            seen[before.min(seen.len())..]
                .iter()
                .filter(|seen| matches!(seen.status, 403 | 429))
                .map(|seen| format!("{:?} {} {}", seen.method, seen.path, seen.status)),
        );
        let took = report.requests.tracker.sent + report.requests.forge.sent;
        requests += if took <= 2 { 0 } else { took };
        let made = rig.sandbox.world().issues(&rig.repo.name).len();
        if made == wanted && report.ended == Ended::Settled {
            break;
        }
        assert!(pass < 400, "{made} of {wanted} after {pass} passes: {:?}", report.messages);
    }
    assert_eq!(
        rig.sandbox.log().counts().forge.created,
        u64::try_from(wanted).expect("it fits"),
        "each issue is made once"
    );
    rig.holds("the import");
    (requests, told_off)
}

#[test]
fn an_import_stays_below_every_limit_and_within_two_requests_and_a_fifth_for_a_task() {
    let rig = Rig::new();
    for number in 0..200 {
        rig.task(&format!("Task {number}"), &format!("What task {number} is about."));
    }
    let (requests, told_off) = imported(&rig, 200);
    assert_eq!(told_off, Vec::<String>::new());
    assert!(requests * 10 <= 200 * 22, "{requests} requests for 200 tasks");
}

#[test]
fn an_import_longer_than_an_hour_s_creations_waits_for_the_next_hour_and_parks_nothing() {
    let rig = Rig::new();
    for number in 0..620 {
        rig.task(&format!("Task {number}"), "x");
    }
    let (requests, told_off) = imported(&rig, 620);
    assert_eq!(told_off, Vec::<String>::new());
    assert!(requests * 10 <= 620 * 22, "{requests} requests for 620 tasks");
}
