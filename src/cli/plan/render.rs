//! A plan as a person wants to read it: one headline per repair, old → new per field with the reason,
//! then what waits for a person, what was left alone, and the totals. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anstyle::Style;
use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use super::super::output::{
    BOLD, CYAN, DIM, GREEN, RED, YELLOW, columns, count, cut, harmless, paint, paragraph, wrap,
};
use crate::model::{BySide, Field, FieldChange, Fingerprint, Link, Side, Waiting};
use crate::reconcile::{Action, Plan, Refusal, Repair, Write};

/// Lines of a body's difference that are shown; the rest is counted.
const DIFF_LINES_MAX: usize = 14;

/// Repairs that are shown one by one without `--verbose`; the rest is counted, group by group.
const GROUP_MAX: usize = 200;

/// Where a field's name ends and its values begin.
const FIELD: usize = 24;

/// What is shown beside the plan itself.
#[derive(Debug, Clone, Copy)]
pub struct Beside<'a> {
    /// What both sides are, for the headline: `asana 1201 <-> github acme/app`.
    pub between: &'a str,
    /// What was looked at: `everything`, `what moved`.
    pub looked: &'a str,
    /// Pairs with fields that have been waiting since earlier passes.
    pub waiting: &'a [Link],
    /// The brake that would refuse it.
    pub refusal: Option<&'a Refusal>,
    /// Whether to list all skips and all repairs.
    pub verbose: bool,
    /// Columns to keep to.
    pub width: usize,
}

/// The whole plan as text with styles.
pub fn plan(plan: &Plan, beside: Beside<'_>) -> String {
    let mut page = Page { text: String::new(), width: beside.width };
    page.line(&paint(BOLD, format_args!("Plan for route {}", plan.route)), 0);
    page.dim(2, &format!("{}, looking at {}", beside.between, beside.looked));
    for group in groups(plan) {
        page.group(&group, beside.verbose);
    }
    page.questions(plan);
    page.waiting(plan, beside.waiting);
    page.skips(plan, beside.verbose);
    page.text.push('\n');
    page.totals(plan);
    if let Some(refusal) = beside.refusal {
        page.text.push('\n');
        paragraph(&mut page.text, RED, 0, page.width, &refusal.to_string());
    }
    page.text
}

/// Writes or changes outside a plan in the same words: old → new per field with the reason.
pub fn changes(into: &mut String, side: Side, fields: &[FieldChange], width: usize) {
    let mut page = Page { text: std::mem::take(into), width };
    for (at, change) in fields.iter().enumerate() {
        page.field(if at == 0 { side.service() } else { "" }, change);
    }
    *into = page.text;
}

/// Repairs of one kind, which stand together in every plan.
struct Group<'a> {
    headline: String,
    repairs: Vec<&'a Repair>,
}

/// A kind of repair in words: the verb, and what one and what many of them are about.
type Kind = (&'static str, &'static str, &'static str);

/// The kind of a repair; the side tells where something is created.
fn kind(repair: &Repair) -> Kind {
    match &repair.action {
        Action::Join { .. } => ("Join", "pair that already exists", "pairs that already exist"),
        Action::Update { .. } => ("Update", "pair", "pairs"),
        Action::Create { from, .. } => match from.side() {
            Side::Tracker => ("Create", "issue on github", "issues on github"),
            Side::Forge => ("Create", "task in asana", "tasks in asana"),
        },
        Action::Retire { .. } => ("Retire", "item whose partner was deleted", "items whose partners were deleted"),
        Action::Note { waiting, .. } if !waiting.is_empty() => {
            ("Ask about", "pair whose sides disagree", "pairs whose sides disagree")
        }
        Action::Note { .. } => ("Note", "change of our own record only", "changes of our own record only"),
    }
}

fn groups(plan: &Plan) -> Vec<Group<'_>> {
    let mut found: Vec<(Kind, Vec<&Repair>)> = Vec::new();
    for repair in &plan.repairs {
        let kind = kind(repair);
        match found.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, repairs)) => repairs.push(repair),
            None => found.push((kind, vec![repair])),
        }
    }
    found
        .into_iter()
        .map(|((verb, one, many), repairs)| {
            let number = u64::try_from(repairs.len()).unwrap_or(u64::MAX);
            Group { headline: format!("{verb} {}", count(number, one, many)), repairs }
        })
        .collect()
}

/// The text as it grows.
struct Page {
    text: String,
    width: usize,
}

impl Page {
    fn line(&mut self, styled: &str, indent: usize) {
        let _ = writeln!(self.text, "{:indent$}{}", "", styled.trim_end());
    }

    fn dim(&mut self, indent: usize, text: &str) {
        paragraph(&mut self.text, DIM, indent, self.width, text);
    }

    fn headline(&mut self, style: Style, text: &str) {
        self.text.push('\n');
        paragraph(&mut self.text, style, 0, self.width, text);
    }

    fn group(&mut self, group: &Group<'_>, verbose: bool) {
        self.headline(BOLD, &group.headline);
        // A reason that all share is said once.
        let mut causes = group.repairs.iter().map(|repair| repair.cause.as_str());
        let first = causes.next().unwrap_or_default();
        let asks = |repair: &&Repair| matches!(&repair.action, Action::Note { waiting, .. } if !waiting.is_empty());
        let shared = group.repairs.len() > 1 && causes.all(|cause| cause == first) && !group.repairs.iter().any(asks);
        if shared {
            self.dim(2, first);
        }
        let shown = if verbose { group.repairs.len() } else { GROUP_MAX };
        for repair in group.repairs.iter().take(shown) {
            self.repair(repair, !shared);
        }
        if let Some(rest) = group.repairs.len().checked_sub(shown).filter(|rest| *rest > 0) {
            self.dim(2, &format!("... and {rest} more; --verbose lists them all"));
        }
    }

    fn repair(&mut self, repair: &Repair, with_cause: bool) {
        let (ids, plain) = ids(repair);
        let room = self.width.saturating_sub(2 + columns(&plain) + 2);
        if room >= 20 || columns(&harmless(&repair.title)) <= room {
            self.line(&format!("{ids}  {}", paint(BOLD, cut(&repair.title, room))), 2);
        } else {
            if columns(&plain) + 2 <= self.width {
                self.line(&ids, 2);
            } else {
                paragraph(&mut self.text, CYAN, 2, self.width, &plain);
            }
            self.line(&paint(BOLD, cut(&repair.title, self.width.saturating_sub(4))), 4);
        }
        let (fields, waiting) = match &repair.action {
            Action::Join { writes, waiting, .. } | Action::Update { writes, waiting, .. } => {
                (writes.as_ref().map(Option::as_ref), Some(waiting))
            }
            Action::Retire { gone, write } => {
                let mut writes = BySide { tracker: None, forge: None };
                writes[gone.opposite()] = write.as_ref();
                (writes, None)
            }
            Action::Note { waiting, .. } => (BySide { tracker: None, forge: None }, Some(waiting)),
            Action::Create { .. } => (BySide { tracker: None, forge: None }, None),
        };
        for (side, write) in fields.iter() {
            if let Some(write) = write {
                self.write(side, write);
            }
        }
        let mut waiting = waiting.into_iter().flatten().peekable();
        // Where fields are listed, each brings its own reason.
        if with_cause && waiting.peek().is_none() && fields.iter().all(|(_, write)| write.is_none()) {
            self.dim(4, &repair.cause);
        }
        for (field, question) in waiting {
            self.waits(*field, question);
        }
    }

    fn write(&mut self, side: Side, write: &Write) {
        changes(&mut self.text, side, &write.fields, self.width);
    }

    fn field(&mut self, service: &str, change: &FieldChange) {
        let FieldChange { field, before, after, why } = change;
        let head = format!("    {service:<8}{field:<12}");
        let room = self.width.saturating_sub(FIELD);
        match (field, before.as_str(), after.as_str()) {
            (Field::Body, Some(before), Some(after)) => {
                let difference = difference(before, after);
                let said = difference.said();
                self.valued(&head, &said, &said, why, room);
                for (tag, line) in difference.shown {
                    let (sign, style) = match tag {
                        ChangeTag::Delete => ("-", RED),
                        ChangeTag::Insert => ("+", GREEN),
                        ChangeTag::Equal => (" ", DIM),
                    };
                    let line = cut(&line, room.saturating_sub(2));
                    self.line(&paint(style, format!("{sign} {line}").trim_end()), FIELD);
                }
                if difference.hidden > 0 {
                    let more = count(difference.hidden, "more line", "more lines");
                    self.dim(FIELD, &format!("... {more}"));
                }
            }
            (Field::Footer, ..) => {
                let said = if before.is_null() { "added" } else { "brought up to date" };
                self.valued(&head, said, said, why, room);
            }
            _ => {
                let (old, new) = (shown(before), shown(after));
                let inline = format!("{old} → {new}");
                if columns(&inline) <= room {
                    let styled = format!("{} → {}", paint(RED, &old), paint(GREEN, &new));
                    self.valued(&head, &inline, &styled, why, room);
                } else {
                    let mut head = head;
                    for (sign, style, value) in [("-", RED, &old), ("+", GREEN, &new)] {
                        let mut sign = sign;
                        for line in wrap(value, room.saturating_sub(2)) {
                            self.line(&format!("{head}{}", paint(style, format_args!("{sign} {line}"))), 0);
                            head = " ".repeat(FIELD);
                            sign = " ";
                        }
                    }
                    self.dim(FIELD, why);
                }
            }
        }
    }

    /// One line of a field with its reason behind it, or below it where there is no room.
    fn valued(&mut self, head: &str, plain: &str, styled: &str, why: &str, room: usize) {
        let why = harmless(why);
        if columns(plain) + columns(&why) + 4 <= room {
            self.line(&format!("{head}{styled}  {}", paint(DIM, format_args!("({why})"))), 0);
        } else {
            self.line(&format!("{head}{styled}"), 0);
            self.dim(FIELD, &why);
        }
    }

    fn waits(&mut self, field: Field, waiting: &Waiting) {
        let room = self.width.saturating_sub(FIELD);
        let head = format!("    {:<8}{field:<12}", "waits");
        let mut lines = wrap(&waiting.why, room).into_iter();
        self.line(&format!("{head}{}", paint(YELLOW, lines.next().unwrap_or_default())), 0);
        for line in lines {
            self.line(&paint(YELLOW, line), FIELD);
        }
        for (side, said) in waiting.said.iter() {
            let said = cut(said, room.saturating_sub(8));
            self.line(&format!("{}{said}", paint(DIM, format_args!("{:<8}", side.service()))), FIELD);
        }
    }

    fn questions(&mut self, plan: &Plan) {
        if plan.questions.is_empty() {
            return;
        }
        let number = u64::try_from(plan.questions.len()).unwrap_or(u64::MAX);
        self.headline(YELLOW.bold(), &format!("For you to decide: {}", count(number, "question", "questions")));
        for question in &plan.questions {
            self.line(&paint(CYAN, &question.item), 2);
            paragraph(&mut self.text, Style::new(), 4, self.width, &question.what);
        }
    }

    /// Fields that have been waiting since earlier and are not shown with a repair of this plan.
    fn waiting(&mut self, plan: &Plan, links: &[Link]) {
        let repaired = |link: &Link| plan.repairs.iter().any(|repair| repair.link == Some(link.id));
        let links: Vec<&Link> = links.iter().filter(|link| !link.waiting.is_empty() && !repaired(link)).collect();
        if links.is_empty() {
            return;
        }
        let number = u64::try_from(links.len()).unwrap_or(u64::MAX);
        self.headline(YELLOW.bold(), &format!("Waiting for you: {}", count(number, "pair", "pairs")));
        for link in links {
            let fields: Vec<&str> = link.waiting.keys().map(|field| field.as_str()).collect();
            let (task, issue) = (link.key(Side::Tracker), link.key(Side::Forge));
            paragraph(&mut self.text, CYAN, 2, self.width, &format!("{task} ↔ {issue}"));
            self.dim(4, &format!("{}; `evenkeel conflicts show {task}` shows both values", fields.join(", ")));
        }
    }

    fn skips(&mut self, plan: &Plan, verbose: bool) {
        if plan.left_alone.is_empty() {
            return;
        }
        let total: u64 = plan.left_alone.values().sum();
        self.headline(BOLD, &format!("Left alone: {}", count(total, "item", "items")));
        let mut by_why: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for skip in &plan.skips {
            by_why.entry(&skip.why).or_default().push(skip.item.to_string());
        }
        for (why, number) in &plan.left_alone {
            let mut lines = wrap(why, self.width.saturating_sub(9)).into_iter();
            let first = lines.next().unwrap_or_default();
            self.line(&format!("{number:>5}  {first}"), 2);
            for line in lines {
                self.line(&line, 9);
            }
            if verbose {
                let items = by_why.get(why.as_str()).map(Vec::as_slice).unwrap_or_default();
                for item in items {
                    self.line(&paint(CYAN, item), 9);
                }
                let listed = u64::try_from(items.len()).unwrap_or(u64::MAX);
                if let Some(rest) = number.checked_sub(listed).filter(|rest| *rest > 0) {
                    self.dim(9, &format!("... and {rest} more"));
                }
            }
        }
    }

    fn totals(&mut self, plan: &Plan) {
        let tally = Tally::of(plan);
        let said = tally.said();
        let style = if plan.is_empty() { GREEN } else { BOLD };
        paragraph(&mut self.text, style, 0, self.width, &said);
        let Fingerprint(hash) = plan.hash();
        self.dim(0, &format!("{}, plan {hash}", count(plan.links, "linked pair", "linked pairs")));
    }
}

/// How much of what a plan holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Pairs that are joined.
    pub joins: u64,
    /// Pairs that are updated.
    pub updates: u64,
    /// Partners that are created.
    pub creations: u64,
    /// Items that are retired.
    pub retirements: u64,
    /// Pairs that a person will be asked about.
    pub asked: u64,
    /// Notes of our own.
    pub notes: u64,
    /// Questions for a person.
    pub questions: u64,
}

impl Tally {
    /// Counts a plan.
    pub fn of(plan: &Plan) -> Self {
        let mut tally = Self { questions: u64::try_from(plan.questions.len()).unwrap_or(u64::MAX), ..Self::default() };
        for repair in &plan.repairs {
            *match &repair.action {
                Action::Join { .. } => &mut tally.joins,
                Action::Update { .. } => &mut tally.updates,
                Action::Create { .. } => &mut tally.creations,
                Action::Retire { .. } => &mut tally.retirements,
                Action::Note { waiting, .. } if !waiting.is_empty() => &mut tally.asked,
                Action::Note { .. } => &mut tally.notes,
            } += 1;
        }
        tally
    }

    /// In words: `Nothing to do`, or `4 to create, 7 to update, 1 to retire; 2 questions`.
    pub fn said(self) -> String {
        let Self { joins, updates, creations, retirements, asked, notes, questions } = self;
        let parts: Vec<String> = [
            (joins, "to join"),
            (updates, "to update"),
            (creations, "to create"),
            (retirements, "to retire"),
            (asked, "to ask about"),
            (notes, "to note"),
        ]
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, what)| format!("{number} {what}"))
        .collect();
        let mut said = if parts.is_empty() { "Nothing to do".to_owned() } else { parts.join(", ") };
        if questions > 0 {
            let _ = write!(said, "; {}", count(questions, "question", "questions"));
        }
        said
    }
}

/// Both ids, styled and plain. A creation has one.
fn ids(repair: &Repair) -> (String, String) {
    let (one, other) = match (&repair.items.tracker, &repair.items.forge) {
        (Some(task), Some(issue)) => (task.to_string(), Some(issue.to_string())),
        (Some(item), None) | (None, Some(item)) => (item.to_string(), None),
        (None, None) => (String::new(), None),
    };
    match other {
        Some(other) => (format!("{} ↔ {}", paint(CYAN, &one), paint(CYAN, &other)), format!("{one} ↔ {other}")),
        None => (paint(CYAN, &one), one),
    }
}

/// A field's value for a person: text as it is, sets as a list, nothing as `(none)`.
pub fn shown(value: &Value) -> String {
    let said = match value {
        Value::Null => String::new(),
        Value::String(text) => harmless(text),
        Value::Array(values) => values.iter().map(shown).collect::<Vec<_>>().join(", "),
        // Assignees: known people by name, accounts nobody is mapped to behind them.
        Value::Object(parts) => {
            let lists = ["known", "unknown"].into_iter().filter_map(|part| parts.get(part));
            lists.map(shown).filter(|said| said != "(none)").collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    };
    if said.is_empty() { "(none)".to_owned() } else { said }
}

/// What two sides say that disagree, line by line, with the side in front of each line that is its alone.
pub fn disagreement(text: &mut String, said: &BySide<String>, width: usize) {
    let room = width.saturating_sub(11);
    let difference = difference(&said.tracker, &said.forge);
    for (tag, line) in difference.shown {
        let (side, style) = match tag {
            ChangeTag::Delete => (Side::Tracker.service(), YELLOW),
            ChangeTag::Insert => (Side::Forge.service(), YELLOW),
            ChangeTag::Equal => ("", DIM),
        };
        let mut label = format!("  {side:<8}");
        let lines = wrap(&line, room);
        let lines = if lines.is_empty() { vec![String::new()] } else { lines };
        for line in lines {
            let _ = writeln!(text, "{}", format!("{label} {}", paint(style, line)).trim_end());
            label = " ".repeat(10);
        }
    }
    if difference.hidden > 0 {
        let more = count(difference.hidden, "more line", "more lines");
        paragraph(text, DIM, 11, width, &format!("... {more}; --json has them all"));
    }
}

/// A body's change, line by line.
struct Difference {
    added: u64,
    removed: u64,
    shown: Vec<(ChangeTag, String)>,
    hidden: u64,
}

impl Difference {
    fn said(&self) -> String {
        let lines = |number| count(number, "line", "lines");
        match (self.added, self.removed) {
            (added, 0) => format!("{} added", lines(added)),
            (0, removed) => format!("{} removed", lines(removed)),
            (added, removed) => format!("{} added, {removed} removed", lines(added)),
        }
    }
}

/// Compares two bodies line by line, with one line of what stands around each change.
fn difference(before: &str, after: &str) -> Difference {
    // A last line without its end would differ from the same line with one; no text is no line, not an empty one.
    let [before, after] = [before, after].map(|text| match text.trim_end_matches('\n') {
        "" => String::new(),
        text => format!("{text}\n"),
    });
    let diff = TextDiff::configure().timeout(std::time::Duration::from_millis(200)).diff_lines(&before, &after);
    let mut found = Difference { added: 0, removed: 0, shown: Vec::new(), hidden: 0 };
    for group in diff.grouped_ops(1) {
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            match change.tag() {
                ChangeTag::Insert => found.added += 1,
                ChangeTag::Delete => found.removed += 1,
                ChangeTag::Equal => {}
            }
            if found.shown.len() < DIFF_LINES_MAX {
                found.shown.push((change.tag(), change.value().trim_end_matches(['\n', '\r']).to_owned()));
            } else if change.tag() != ChangeTag::Equal {
                found.hidden += 1;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::model::{Change, Content, ItemKey, LinkId, LinkStatus};
    use crate::reconcile::{Question, Skip};

    #[test]
    fn a_text_where_none_was_only_adds_lines() {
        assert_eq!(difference("", "one\ntwo").said(), "2 lines added");
        assert_eq!(difference("one\n", "").said(), "1 line removed");
        assert_eq!(difference("one", "one\n\ntwo\n").said(), "2 lines added");
    }

    /// The text as a pipe shows it.
    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    fn keys(task: &str, issue: &str) -> BySide<Option<ItemKey>> {
        BySide { tracker: Some(task.parse().expect("a task")), forge: Some(issue.parse().expect("an issue")) }
    }

    fn change(field: Field, before: Value, after: Value, why: &str) -> FieldChange {
        FieldChange { field, before, after, why: why.to_owned() }
    }

    fn update(title: &str, fields: Vec<FieldChange>) -> Repair {
        let items = keys("asana:1204000000000017", "github:acme/app#17");
        let write = Write { item: items.forge.clone().expect("an issue"), change: Change::default(), fields };
        Repair {
            link: Some(LinkId(1)),
            items,
            title: title.to_owned(),
            cause: "title edited on asana".to_owned(),
            action: Action::Update {
                writes: BySide { tracker: None, forge: Some(write) },
                base: Box::new(Content::default()),
                waiting: BTreeMap::new(),
            },
            seen: BySide::default(),
        }
    }

    fn beside(width: usize) -> Beside<'static> {
        Beside {
            between: "asana project 1201 ↔ github acme/app",
            looked: "everything on both sides",
            waiting: &[],
            refusal: None,
            verbose: true,
            width,
        }
    }

    fn sample() -> Plan {
        let mut plan = Plan::new("app".parse().expect("a route"));
        plan.links = 30;
        plan.repairs.push(update(
            "Fix the login on mobile",
            vec![
                change(Field::Title, json!("Fix login"), json!("Fix the login on mobile"), "edited on asana"),
                change(Field::Status, json!("open"), json!("done"), "edited on asana"),
                change(
                    Field::Body,
                    json!("Steps:\n- open\n- tap\n"),
                    json!("Steps:\n- open the app\n- tap\n"),
                    "edits of both sides, merged",
                ),
                change(Field::Labels, json!([]), json!(["bug", "ios"]), "edited on asana"),
                change(Field::Assignees, json!({"known": ["ann"]}), json!({"known": []}), "edited on asana"),
            ],
        ));
        plan.repairs.push(Repair {
            action: Action::Note { status: LinkStatus::Left, base: None, waiting: BTreeMap::new() },
            cause: "the task left the project".to_owned(),
            ..update("Old work", Vec::new())
        });
        plan.questions.push(Question {
            link: None,
            item: "asana:1204000000000018".parse().expect("a task"),
            what: "two items carry its marker".to_owned(),
        });
        plan.skip(Skip { item: "asana:1".parse().expect("a task"), why: "done before it was first seen".to_owned() });
        plan
    }

    #[test]
    fn a_plan_reads_like_a_page() {
        let hash = sample().hash();
        let page = plain(&plan(&sample(), beside(80)));
        let wanted = format!(
            "\
Plan for route app
  asana project 1201 ↔ github acme/app, looking at everything on both sides

Update 1 pair
  asana:1204000000000017 ↔ github:acme/app#17  Fix the login on mobile
    github  title       Fix login → Fix the login on mobile  (edited on asana)
            status      open → done  (edited on asana)
            body        1 line added, 1 removed  (edits of both sides, merged)
                          Steps:
                        - - open
                        + - open the app
                          - tap
            labels      (none) → bug, ios  (edited on asana)
            assignees   ann → (none)  (edited on asana)

Note 1 change of our own record only
  asana:1204000000000017 ↔ github:acme/app#17  Old work
    the task left the project

For you to decide: 1 question
  asana:1204000000000018
    two items carry its marker

Left alone: 1 item
      1  done before it was first seen
         asana:1

1 to update, 1 to note; 1 question
30 linked pairs, plan {hash}
"
        );
        assert_eq!(page, wanted, "\n{page}");
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_asked(
            title in any::<String>(), old in any::<String>(), new in any::<String>(), why in any::<String>(),
            width in 60_usize..120,
        ) {
            let fields = Field::ALL
                .into_iter()
                .map(|field| change(field, json!(old), json!(new), &why))
                .collect();
            let mut plan = sample();
            plan.repairs.push(update(&title, fields));
            for line in plain(&super::plan(&plan, beside(width))).lines() {
                prop_assert!(columns(line) <= width, "{} columns: {line:?}", columns(line));
            }
        }
    }
}
