//! The way to the workers breaks, and is mended.

use super::*;
use crate::server::message::Admission;

/// Answers the path.
struct Path;

impl Service for Path {
    fn admit(&self, _: &Head) -> Result<Admission, Answer> {
        Ok(Admission { body_bytes_max: 0, pace: Pace::Quick })
    }

    fn answer(&self, request: Request) -> Answer {
        Answer { body: request.head.path.into_bytes(), ..Answer::empty(200) }
    }
}

fn head(target: &str) -> Head {
    Head::new(RequestId::from_number(7), "GET".to_owned(), target, Vec::new(), None)
}

async fn ask(back: &Back, target: &str) -> io::Result<Vec<u8>> {
    let _turn = back.turn(Source::Nobody, Pace::Quick).await.expect("a worker");
    let line = back.send(&head(target), target, Vec::new()).await?;
    Ok(back.receive(line, true).await?.0.body)
}

fn with_back(test: impl AsyncFnOnce(&Back)) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().expect("a runtime").block_on(async {
        let back = Back::open(Arc::new(Path)).await.expect("workers");
        test(&back).await;
        assert!(back.close(Instant::now() + Duration::from_secs(10)), "all workers end, old houses' too");
    });
}

#[test]
fn lines_are_kept_and_a_broken_one_is_made_anew() {
    with_back(async |back| {
        for _ in 0..20 {
            assert_eq!(ask(back, "/a").await.expect("an answer"), b"/a");
            assert_eq!(lock(&back.lines).len(), WORKERS);
        }
        lock(&back.lines).clear();
        assert_eq!(ask(back, "/b").await.expect("an answer"), b"/b");
        assert_eq!(lock(&back.lines).len(), 1);
    });
}

#[test]
fn when_no_line_can_be_made_the_whole_house_is() {
    with_back(async |back| {
        let socket = back.house.lock().await.0.folder.path().join("s");
        std::fs::remove_file(&socket).expect("the socket");
        // The lines that stand go on.
        assert_eq!(ask(back, "/a").await.expect("an answer"), b"/a");
        lock(&back.lines).clear();
        assert_eq!(ask(back, "/b").await.expect("an answer"), b"/b");
    });
}

#[test]
fn what_only_the_gate_may_say_is_not_for_strangers() {
    use std::os::unix::fs::PermissionsExt as _;
    with_back(async |back| {
        let house = back.house.lock().await;
        let mode = std::fs::metadata(house.0.folder.path()).expect("the folder").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    });
}
