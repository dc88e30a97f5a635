//! A plan kept in a file between `plan --out` and `apply`: what it was made from, its hash, and itself.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::super::Failure;
use crate::engine::Wake;
use crate::model::{Fingerprint, ItemKey, RouteName, Timestamp};
use crate::reconcile::Plan;

/// The first words of every such file, so that a foreign one is told apart.
const FORMAT: &str = "evenkeel plan";

/// Raised whenever a kept plan of before can no longer be compared with one made now.
const VERSION: u32 = 1;

/// Largest file that is read, in bytes: a plan of 10,000 repairs takes some 40 MB.
const BYTES_MAX: u64 = 256 * 1024 * 1024;

/// What `plan --out` writes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    format: String,
    version: u32,
    /// The route it is for.
    pub route: RouteName,
    /// What was looked at.
    looked: Looked,
    /// When it was made.
    pub made_at: Timestamp,
    /// The plan's hash.
    pub hash: Fingerprint,
    /// The plan.
    pub plan: Plan,
}

/// A [`Wake`] as it stands in the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "at")]
enum Looked {
    Moved { belt: bool },
    Everything,
    Items { items: Vec<ItemKey> },
    Due,
}

impl Kept {
    /// The wake to make the plan anew with.
    pub fn wake(&self) -> Wake {
        match &self.looked {
            Looked::Moved { belt } => Wake::Poll { belt: *belt },
            Looked::Everything => Wake::Sweep,
            Looked::Items { items } => Wake::Visit(items.clone()),
            Looked::Due => Wake::Retry,
        }
    }
}

/// Writes a plan to a file, whole or not at all.
pub fn write(file: &Path, wake: &Wake, made_at: Timestamp, plan: &Plan) -> Result<(), Failure> {
    let kept = Kept {
        format: FORMAT.to_owned(),
        version: VERSION,
        route: plan.route.clone(),
        looked: match wake {
            Wake::Poll { belt } => Looked::Moved { belt: *belt },
            Wake::Sweep => Looked::Everything,
            Wake::Visit(items) => Looked::Items { items: items.clone() },
            Wake::Retry | Wake::Overtake(_) => Looked::Due,
        },
        made_at,
        hash: plan.hash(),
        plan: plan.clone(),
    };
    let failed = |why: String| Failure::new(format!("keeping the plan in {}: {why}", file.display()));
    let text = serde_json::to_vec_pretty(&kept).map_err(|error| failed(error.to_string()))?;
    // Beside the target first, so that a full disk leaves no half plan. The temporary file is readable by
    // its owner only, which suits it: the plan holds the words of tasks.
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut whole = tempfile::NamedTempFile::new_in(folder).map_err(|error| failed(error.to_string()))?;
    std::io::Write::write_all(&mut whole, &text).map_err(|error| failed(error.to_string()))?;
    whole.persist(file).map_err(|error| failed(error.error.to_string()))?;
    Ok(())
}

/// Reads a kept plan; refuses what is none, is damaged, or was written by another version.
pub fn read(file: &Path) -> Result<Kept, Failure> {
    let shown = file.display();
    let again = "make it again with `evenkeel plan --out FILE`";
    let mut bytes = Vec::new();
    fs::File::open(file)
        .and_then(|open| open.take(BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| Failure::new(format!("reading the plan {shown}: {error}")).hint(again))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > BYTES_MAX {
        return Err(Failure::new(format!("{shown} is larger than {BYTES_MAX} bytes: no plan")).hint(again));
    }
    parse(&bytes).map_err(|why| Failure::new(format!("{shown}: {why}")).hint(again))
}

/// What a file's bytes hold, or why they are no plan.
fn parse(bytes: &[u8]) -> Result<Kept, String> {
    #[derive(Deserialize)]
    struct Head {
        format: String,
        version: u32,
    }
    let head: Head = serde_json::from_slice(bytes)
        .map_err(|error| format!("this is no plan kept by `evenkeel plan --out` ({error})"))?;
    if head.format != FORMAT {
        return Err(format!("this is no plan kept by `evenkeel plan --out` (its format is {:?})", head.format));
    }
    if head.version != VERSION {
        return Err(format!("the plan has version {}, this program knows version {VERSION}", head.version));
    }
    let kept: Kept = serde_json::from_slice(bytes).map_err(|error| format!("the plan is damaged: {error}"))?;
    if kept.plan.hash() != kept.hash || kept.plan.route != kept.route {
        return Err("the plan was altered after it was kept: its hash does not fit".to_owned());
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let plan = Plan::new("app".parse().expect("a route"));
        let wake = Wake::Visit(vec!["asana:1201".parse().expect("a key")]);
        write(file.path(), &wake, Timestamp::UNIX_EPOCH, &plan).expect("written");
        file
    }

    #[test]
    fn a_kept_plan_is_read_back_as_it_was() {
        let file = kept();
        let read = read(file.path()).expect("a plan");
        assert_eq!(read.wake(), Wake::Visit(vec!["asana:1201".parse().expect("a key")]));
        assert_eq!(read.plan, Plan::new("app".parse().expect("a route")));
    }

    #[test]
    fn what_is_no_plan_or_was_altered_is_refused_with_the_way_out() {
        let text = fs::read_to_string(kept().path()).expect("text");
        for (damaged, wanted) in [
            (String::new(), "no plan"),
            ("{}".to_owned(), "no plan"),
            (text[..text.len() / 2].to_owned(), "no plan"),
            (text.replace("evenkeel plan", "other"), "format"),
            (text.replace("\"version\": 1", "\"version\": 9"), "version 9"),
            (text.replace("\"route\": \"app\"", "\"route\": \"web\""), "altered"),
            (text.replacen("\"questions\"", "\"quests\"", 1), "damaged"),
        ] {
            let file = tempfile::NamedTempFile::new().expect("a temporary file");
            fs::write(file.path(), damaged).expect("written");
            let failure = read(file.path()).expect_err(wanted);
            assert!(failure.message.contains(wanted), "{}", failure.message);
            assert!(failure.hint.is_some());
        }
    }
}
