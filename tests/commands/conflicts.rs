//! What waits for a person: listed, shown, settled, over the command line.

use evenkeel::model::{Side, TaskGid};
use evenkeel::sandbox::{Fault, When};
use evenkeel::text::{join_forge, split_forge};
use serde_json::{Value, json};

use super::{Town, flat};

/// Both sides rewrote the same line of the text: that waits by default. Each also changed one that the other did not.
fn disagree(town: &Town, task: &TaskGid, issue: u64) {
    town.sandbox
        .asana()
        .write_notes(task, "<body>It fails on Tuesdays.\n\nSee the log.\n\nAnn saw it.\n\nUrgent.</body>");
    town.body(issue, "It fails on Fridays.\n\nSee the log.\n\nNobody saw it.\n\nNot urgent.");
    town.wants(1, "run --once --full");
}

impl Town {
    /// A pair whose text has three lines, in step.
    fn disagreeing() -> (Self, TaskGid, u64) {
        let (town, task, issue) = Self::paired();
        town.sandbox
            .asana()
            .write_notes(&task, "<body>It fails on Mondays.\n\nSee the log.\n\nNobody saw it.\n\nUrgent.</body>");
        town.settle();
        disagree(&town, &task, issue);
        (town, task, issue)
    }

    /// Replaces what stands above the footer of an issue.
    fn body(&self, issue: u64, text: &str) {
        let whole = self.texts(None, issue).1;
        let body = join_forge(text, split_forge(&whole).footer.as_deref());
        self.sandbox.github().write_body(&self.repo, issue, &body);
    }

    /// What both say: the task's notes as plain text, and the issue's whole body.
    fn texts(&self, task: Option<&TaskGid>, issue: u64) -> (String, String) {
        let world = self.sandbox.world();
        let notes = task.map(|task| world.task(task).expect("a task").html_notes).unwrap_or_default();
        let body = world.issue(&self.repo, issue).expect("an issue").body;
        (notes.replace("<body>", "").replace("</body>", ""), body)
    }
}

#[test]
fn what_waits_is_listed_and_shown_and_nothing_waiting_says_so() {
    let (town, task, _) = Town::paired();
    assert_eq!(town.wants(0, "conflicts").out, "nothing waits for a person\n");
    assert_eq!(town.json(0, "conflicts")["conflicts"], json!([]));
    assert!(town.wants(0, &format!("conflicts show asana:{task}")).out.contains("nothing of asana:"));
    let (town, task, _) = Town::disagreeing();
    let item = format!("asana:{task}");
    let list = town.wants(1, "conflicts").out;
    for said in [
        &format!("{item} ↔ github:acme/app#1"),
        "the body waits: both sides edited the same lines of the text",
        "    <<<<<<< asana\n    It fails on Tuesdays.\n    ||||||| agreed before\n    It fails on Mondays.\n    =======\n    \
         It fails on Fridays.\n    >>>>>>> github\n",
        "1 field waits for a person",
        "evenkeel resolve ITEM --take tracker|forge|both|FILE",
    ] {
        assert!(list.contains(said), "{said:?} in\n{list}");
    }
    let whole = town.json(1, &format!("conflicts show {item}"));
    assert_eq!(town.json(1, "conflicts")["conflicts"], whole["conflicts"]);
    let first = &whole["conflicts"][0];
    assert_eq!(
        (&first["field"], &first["base"]),
        (&json!("body"), &json!("It fails on Mondays.\n\nSee the log.\n\nNobody saw it.\n\nUrgent."))
    );
    assert_eq!(first["overlaps"][0]["forge"], "It fails on Fridays.", "{first:#}");
    assert_eq!(first["task_url"], json!(format!("https://app.asana.com/0/0/{task}/f")));
    assert!(town.wants(1, "status").out.contains("evenkeel conflicts"));
    assert!(
        flat(&town.wants(1, &format!("why {item}")).out).contains(&format!("evenkeel resolve {item} --field body"))
    );
    let unknown = town.wants(2, "conflicts show asana:77");
    assert!(unknown.err.contains("is not linked"), "{}", unknown.err);
}

#[test]
fn a_text_that_waits_is_settled_and_every_way_ends_in_step() {
    for (take, line) in [
        ("tracker", "It fails on Tuesdays."),
        ("forge", "It fails on Fridays."),
        ("both", "It fails on Tuesdays.\nIt fails on Fridays."),
    ] {
        let (town, task, issue) = Town::disagreeing();
        let writes = town.writes();
        let nobody = town.wants(2, &format!("resolve asana:{task} --take {take}"));
        assert!(
            nobody.out.contains("to be written:") && nobody.err.contains("--yes"),
            "{}\n{}",
            nobody.out,
            nobody.err
        );
        assert_eq!(town.writes(), writes, "it was only shown");
        let done = town.wants(0, &format!("resolve asana:{task} --take {take} --yes --reason phoned"));
        assert!(done.out.contains("the body is settled: asana was written, github was written"), "{}", done.out);
        let wanted = format!("{line}\n\nSee the log.\n\nAnn saw it.\n\nNot urgent.");
        let (notes, body) = town.texts(Some(&task), issue);
        assert!(body.starts_with(&wanted), "{take}: {body}");
        assert!(notes.starts_with(&wanted), "{take}: {notes}");
        assert_eq!(town.wants(0, "conflicts").out, "nothing waits for a person\n");
        town.settle();
        assert!(town.json(0, "plan --full")["plans"][0]["plan"]["repairs"].as_array().is_some_and(Vec::is_empty));

        // What was replaced stands whole in the history, with who and why, and comes back.
        let history = town.json(0, &format!("history show --item github:acme/app#{issue}")).to_string();
        assert!(
            history.contains("It fails on Fridays.\\n\\nSee the log.\\n\\nNobody saw it.\\n\\nNot urgent."),
            "{history}"
        );
        assert!(history.contains("settled by hand") && history.contains("phoned"), "{history}");
    }
}

#[test]
fn a_text_is_given_out_with_marks_edited_and_taken() {
    let (town, task, issue) = Town::disagreeing();
    let marked = town.wants(1, &format!("conflicts show asana:{task} --marked")).out;
    let file = town.folder.path().join("text.md");
    std::fs::write(&file, &marked).expect("written");
    let refused = town.wants(2, &format!("resolve asana:{task} --take text.md --yes"));
    assert!(refused.err.contains("mark"), "{}", refused.err);
    let lines: Vec<&str> = marked.lines().filter(|line| !line.starts_with(['<', '|', '=', '>'])).collect();
    std::fs::write(&file, lines.join("\n").replace("It fails on Mondays.\n", "")).expect("written");
    town.wants(0, &format!("resolve github:acme/app#{issue} --field body --take text.md --yes"));
    let (_, body) = town.texts(Some(&task), issue);
    assert!(body.starts_with("It fails on Tuesdays.\nIt fails on Fridays.\n\nSee the log."), "{body}");
    town.settle();
    for (line, said) in [
        (format!("resolve asana:{task} --take tracker --yes"), "nothing of"),
        (format!("resolve asana:{task} --field title --take tracker --yes"), "does not wait"),
        (format!("resolve asana:{task} --field body --take nowhere.md --yes"), "opening the file"),
        (format!("resolve asana:{task} --field colour --take forge"), "is no field"),
    ] {
        let refused = town.wants(2, &line);
        assert!(refused.err.contains(said), "{line}: {}", refused.err);
    }
}

#[test]
fn who_goes_on_writing_is_not_overwritten_unseen() {
    let (town, task, issue) = Town::disagreeing();
    town.body(issue, "It fails on Sundays.\n\nSee the log.\n\nNobody saw it.\n\nUrgent.");
    let writes = town.writes();
    let refused = town.wants(2, &format!("resolve asana:{task} --take tracker --yes"));
    assert!(refused.out.contains("It fails on Sundays."), "{}", refused.out);
    assert!(refused.err.contains("a side moved"), "{}", refused.err);
    assert_eq!(town.writes(), writes);
    let answer = town.run(&format!("resolve asana:{task} --take tracker --yes --json"));
    let answer: Value = serde_json::from_str(&answer.out).expect("JSON");
    let seen = answer["conflict"]["seen"].as_str().expect("a number");
    assert!(refused.err.contains(&format!("--yes --seen {seen}")), "{}", refused.err);
    town.wants(0, &format!("resolve asana:{task} --take tracker --yes --seen {seen}"));
    assert!(town.texts(Some(&task), issue).1.starts_with("It fails on Tuesdays.\n\nSee the log.\n\nAnn saw it."));
    town.settle();
}

#[test]
fn what_could_not_be_read_at_last_is_not_said_to_be_settled() {
    let (town, task, _) = Town::disagreeing();
    let writes = town.writes();
    for json in ["", " --json"] {
        // Readable when it was shown, not any more when it is to be written.
        let line = format!("resolve asana:{task} --take tracker --yes{json}");
        let hidden = When::side(Side::Forge).reads();
        let answer = town.overtaken(&line, |_| town.sandbox.faults().chance(1.0, hidden, Fault::Hidden));
        town.sandbox.faults().clear();
        assert_eq!(answer.code, 2, "{}\n{}", answer.out, answer.err);
        if json.is_empty() {
            assert!(!answer.out.contains("is settled"), "{}", answer.out);
            let said = "the body is not settled (asana was not tried, github was not tried): github: ";
            assert!(flat(&answer.err).contains(said) && answer.err.contains("404"), "{}", answer.err);
        } else {
            let said: Value = serde_json::from_str(&answer.out).expect("JSON");
            assert_eq!((&said["resolved"], &said["ended"]), (&json!(false), &json!("failed")), "{said:#}");
            assert!(said["messages"][0].as_str().is_some_and(|why| why.contains("404")), "{said:#}");
        }
    }
    assert_eq!(town.writes(), writes);
    town.wants(0, &format!("resolve asana:{task} --take tracker --yes"));
    town.settle();
}

#[test]
fn while_one_field_waits_the_others_are_kept_in_step_and_people_end_it_by_hand() {
    let (town, task, issue) = Town::disagreeing();
    town.sandbox.asana().rename(&task, "Fix the login page");
    town.wants(1, "run --once --full");
    assert_eq!(town.issue_title(issue), "Fix the login page");
    let waits = town.json(1, "conflicts");
    assert_eq!(waits["conflicts"].as_array().map(Vec::len), Some(1), "{waits:#}");
    town.body(issue, "Whatever.");
    town.sandbox.asana().write_notes(&task, "<body>Whatever.</body>");
    town.wants(0, "run --once --full");
    assert_eq!(town.wants(0, "conflicts").out, "nothing waits for a person\n");
}
