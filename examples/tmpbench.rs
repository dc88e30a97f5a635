use evenkeel::{config::*, model::*, store::*};
use std::collections::BTreeMap;
use std::time::Instant;
fn main() {
    let dir = tempfile::TempDir::new().unwrap();
    let url = DatabaseUrl::Sqlite(dir.path().join("x.db"));
    let t = Instant::now();
    let store = Store::open(&url).unwrap();
    eprintln!("open fresh {:?}", t.elapsed());
    let app: RouteName = "app".parse().unwrap();
    let now = Timestamp::UNIX_EPOCH;
    let lease = store.acquire(&app, "x", now).unwrap().unwrap();
    let body = "x".repeat(1500);
    let t = Instant::now();
    for page in 0..1000u64 {
        let link = (page * 100 + 1..=page * 100 + 100)
            .map(|n| NewLink {
                task: (1200000000000000 + n).to_string().parse().unwrap(),
                issue: IssueRef { repo: "Acme/App".parse().unwrap(), number: n },
                repo_id: 1,
                issue_id: 5000 + n as i64,
                issue_node_id: format!("I_kw{n}"),
                base: Some(Content { title: format!("Title {n}"), body: body.clone(), ..Content::default() }),
                seen: BySide {
                    tracker: Some(Fingerprint("0123456789abcdef0123456789abcdef".into())),
                    forge: Some(Fingerprint("0123456789abcdef0123456789abcdef".into())),
                },
                waiting: BTreeMap::new(),
            })
            .collect();
        store.record(&lease, &Record { link, ..Record::default() }, now).unwrap();
    }
    eprintln!("insert 100k {:?}", t.elapsed());
    drop(store);
    let t = Instant::now();
    let store = Store::open(&url).unwrap();
    eprintln!("open again {:?}", t.elapsed());
    let t = Instant::now();
    store.ping().unwrap();
    eprintln!("first read {:?}", t.elapsed());
    for round in 0..2 {
        let t = Instant::now();
        for page in 0..1000u64 {
            let keys: Vec<ItemKey> = (page * 100 + 1..=page * 100 + 100)
                .map(|n| ItemKey::Task((1200000000000000 + n).to_string().parse().unwrap()))
                .collect();
            assert_eq!(store.briefs(&app, &keys).unwrap().len(), 100);
        }
        eprintln!("{round} tasks: {:?} per call", t.elapsed() / 1000);
        let t = Instant::now();
        for page in 0..1000u64 {
            let keys: Vec<ItemKey> = (page * 100 + 1..=page * 100 + 100)
                .map(|n| ItemKey::Issue(IssueRef { repo: "Acme/App".parse().unwrap(), number: n }))
                .collect();
            assert_eq!(store.briefs(&app, &keys).unwrap().len(), 100);
        }
        eprintln!("{round} issues: {:?} per call", t.elapsed() / 1000);
    }
    let t = Instant::now();
    let n = store.link_ids(&app, LinkStatus::Active).unwrap().len();
    eprintln!("link_ids {n} {:?}", t.elapsed());
    let t = Instant::now();
    for _ in 0..200 {
        store
            .record(
                &lease,
                &Record {
                    change: vec![(LinkId(5), LinkChange { seen: Some(BySide::default()), ..Default::default() })],
                    notes: vec![("x".into(), "y".into())],
                    ..Record::default()
                },
                now,
            )
            .unwrap();
    }
    eprintln!("record small {:?} each", t.elapsed() / 200);
    eprintln!(
        "{}",
        std::fs::read_to_string("/proc/self/status")
            .unwrap()
            .lines()
            .filter(|l| l.starts_with("VmHWM") || l.starts_with("VmRSS"))
            .collect::<Vec<_>>()
            .join(" ")
    );
}
