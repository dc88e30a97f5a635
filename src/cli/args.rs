//! The command line as a person types it: every command, its options, and help that teaches.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueHint};

use crate::model::{Field, ItemKey, PassId, RouteName, Side};
use crate::store::Verdict;

/// Exit codes, as every help page shows them.
const EXIT_CODES: &str = "\
Exit codes:
  0  settled: both sides are in step, as far as was looked
  1  drift is left: repairs to make, a question, an item that waits
  2  failed, or the command line or configuration is wrong
  3  refused by a brake: the plan is too large to be believed";

/// Everything said on the command line.
#[derive(Debug, Parser)]
#[command(
    name = "evenkeel",
    version,
    about = "Keeps Asana tasks and GitHub issues in step",
    long_about = "Keeps the tasks of an Asana project and the issues of a GitHub repository in step.\n\n\
        Evenkeel looks at both sides, compares them with what they last agreed on, and repairs what drifted. \
        Nothing is created twice, nothing is ever deleted, and whatever a repair overwrites is kept in the history.\n\n\
        To begin:\n  \
        evenkeel demo            see it work without any account\n  \
        evenkeel check           see whether tokens, project and repository are as needed\n  \
        evenkeel plan            see what would be done; writes nothing\n  \
        evenkeel run --once      do it once\n  \
        evenkeel run             keep doing it",
    after_help = EXIT_CODES,
    max_term_width = 80,
)]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command takes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Everywhere")]
pub struct Global {
    /// The configuration file
    ///
    /// Without it: ./config.toml if there is one, then /etc/evenkeel/config.toml, else the environment alone
    /// (ASANA_PAT, ASANA_PROJECT_GID, GITHUB_TOKEN, GITHUB_REPO, DATABASE_URL).
    #[arg(long, short = 'c', global = true, value_name = "FILE", env = "EVENKEEL_CONFIG", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Say more; twice for every request
    #[arg(long, short, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,
    /// Say only what went wrong
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Answer as JSON on standard output, for programs
    #[arg(long, global = true)]
    pub json: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Keep both sides in step: as a service, or once
    #[command(
        long_about = "Keeps both sides in step: as a service on the configured schedule, or once with --once.\n\n\
            The service polls, sweeps and retries as the configuration says. SIGTERM finishes the repair in hand \
            and ends; SIGHUP reads the configuration again; SIGUSR1 forces a pass.\n\n\
            With --once it makes one pass over every route and ends. That is safe while the service runs on the \
            same database: it waits for the service's own pass to end, as long as a lease lasts and five seconds \
            more. Ctrl-C finishes the repair in hand, says what is left and exits with 2; nothing is lost, the next \
            pass takes up the rest.",
        after_help = concat_after("\
Examples:
  evenkeel run                                   the service
  evenkeel run --once                            what changed since the last pass
  evenkeel run --once --full                     everything
  evenkeel run --once --only github:acme/app#17  one pair
  evenkeel run --once --allow-updates 120        past a brake, having read the plan")
    )]
    Run(RunArgs),
    /// Show what would be done; writes nothing anywhere
    #[command(
        long_about = "Shows what the next pass would do and why, and writes nothing anywhere: neither to Asana nor to \
            GitHub nor to the database, but for what it takes of the services' limits.\n\n\
            For each repair it shows old and new value of every field with the reason; then what a person must \
            decide, and what was left alone.",
        after_help = concat_after("\
Examples:
  evenkeel plan                       what moved since the last pass
  evenkeel plan --full                everything on both sides
  evenkeel plan --full --out p.json   keep it, to be carried out by `evenkeel apply p.json`
  evenkeel plan --json | jq '.plans[].plan.repairs | length'

Exit 0 says there is nothing to do, 1 that there is, 3 that a brake would refuse it.")
    )]
    Plan(PlanArgs),
    /// Carry out a plan that `plan --out` kept, if it still holds
    #[command(
        long_about = "Carries out a plan that `evenkeel plan --out FILE` kept.\n\n\
            The plan is made anew in the same way. Only if it is the same does anything happen; otherwise it says \
            which repairs moved, writes nothing and exits with 1.",
        after_help = concat_after("\
Examples:
  evenkeel plan --full --out p.json
  evenkeel apply p.json")
    )]
    Apply(ApplyArgs),
    /// Show how every route is doing
    #[command(after_help = concat_after("\
Examples:
  evenkeel status
  evenkeel status --route app --json"))]
    Status(StatusArgs),
    /// List, make and unmake pairs of a task and an issue
    #[command(after_help = concat_after("\
Examples:
  evenkeel links list
  evenkeel links add asana:1201 github:acme/app#17
  evenkeel links remove asana:1201 --reason \"not the same work\""))]
    Links(LinksArgs),
    /// Propose pairs among what already exists on both sides
    #[command(
        long_about = "Looks for tasks and issues that look like the same work and are not linked yet, and shows what \
            speaks for each pair.\n\nNothing is linked unless you confirm it: one by one on a terminal, with \
            --yes-above, or by naming the pairs.",
        after_help = concat_after("\
Examples:
  evenkeel adopt
  evenkeel adopt --yes-above 95
  evenkeel adopt --pair asana:1201=github:acme/app#17")
    )]
    Adopt(AdoptArgs),
    /// Explain one task or issue: who owns which field, what both sides say, what happens next
    #[command(after_help = concat_after("\
Examples:
  evenkeel why asana:1201
  evenkeel why github:acme/app#17"))]
    Why(WhyArgs),
    /// Put back what a pass changed, or the last change of one item
    #[command(
        long_about = "Puts back what a pass changed, or what was last changed on one item.\n\n\
            Only what nobody has changed since is put back; everything else is left as it is and named, with what \
            was found. Nothing is deleted: an issue that was created is closed and unlinked.",
        after_help = concat_after("\
Examples:
  evenkeel undo 42 --dry-run
  evenkeel undo 42
  evenkeel undo asana:1201")
    )]
    Undo(UndoArgs),
    /// Look after items that failed too often to be tried again
    #[command(after_help = concat_after("\
Examples:
  evenkeel parked list
  evenkeel parked retry 7
  evenkeel parked retry --all
  evenkeel parked drop 7 --reason \"the task is deleted\""))]
    Parked(ParkedArgs),
    /// List the fields that wait for a person, with what both sides say
    #[command(
        long_about = "Lists the fields that wait for a person: both sides changed them, and the route is to ask \
            (on_conflict = \"ask\"; for texts in which both edited the same lines that is so by default).\n\n\
            Only that field of the pair waits; everything else is kept in step. `evenkeel resolve` settles it, and so \
            does making both sides say the same by hand.",
        after_help = concat_after("\
Examples:
  evenkeel conflicts
  evenkeel conflicts show asana:1201
  evenkeel conflicts show asana:1201 --marked > text.md   to edit and take")
    )]
    Conflicts(ConflictsArgs),
    /// Settle a field that waits: take one side's value, both, or a text of your own
    #[command(
        long_about = "Settles a field that waits for a person. Shows first what would be written, and asks.\n\n\
            Of a text only the lines that overlap are taken from the side named; everything else of both edits \
            stands. What is replaced stands whole in the history, with who and why, and `evenkeel undo` puts it back. \
            Only this field is written.\n\n\
            Both sides are read anew first. If one says something else than `evenkeel conflicts` showed, the new \
            values are shown: on a terminal it asks about those; with --yes nothing is written.",
        after_help = concat_after("\
Examples:
  evenkeel resolve asana:1201 --take tracker
  evenkeel resolve github:acme/app#17 --field body --take both --reason \"both are right\"
  evenkeel resolve asana:1201 --field body --take text.md
  echo \"Fix the login\" | evenkeel resolve asana:1201 --field title --take - --yes")
    )]
    Resolve(ResolveArgs),
    /// Show or verify the record of every change made
    #[command(after_help = concat_after("\
Examples:
  evenkeel history show --item asana:1201
  evenkeel history show --pass 42
  evenkeel history verify"))]
    History(HistoryArgs),
    /// Look after the hooks through which Asana and GitHub tell of changes
    #[command(
        long_about = "Looks after the hooks through which Asana and GitHub tell of changes at once. Without them every \
            change is found by the next poll.\n\n\
            The service does the same by itself, at its start and on schedule, where [webhooks] public_url is set. \
            Hooks are made only while it runs and public_url leads to it: Asana shakes hands with it first.",
        after_help = concat_after("\
Examples:
  evenkeel webhooks list
  evenkeel webhooks ensure
  evenkeel webhooks rotate --route app
  evenkeel webhooks remove")
    )]
    Webhooks(WebhooksArgs),
    /// Look at what Asana and GitHub delivered, and do it once more
    #[command(after_help = concat_after("\
Examples:
  evenkeel deliveries list --item github:acme/app#17
  evenkeel deliveries list --verdict garbled
  evenkeel deliveries show 412 --body
  evenkeel deliveries replay 412"))]
    Deliveries(DeliveriesArgs),
    /// See whether tokens, permissions, project, repository and database are as needed
    #[command(after_help = concat_after("\
Examples:
  evenkeel check
  evenkeel check --route app"))]
    Check(CheckArgs),
    /// Show the whole thing at work on a small Asana and a small GitHub of its own
    #[command(
        long_about = "Shows the whole thing at work without any account: starts a small Asana and a small GitHub on \
            this machine, fills them with a believable project, shows the plan, carries it out over real HTTP, shows \
            both sides, and makes a second pass that finds nothing to do.\n\n\
            With --keep everything stays up until Ctrl-C, with the addresses and tokens printed, so that curl and \
            every other command can be pointed at it.",
        after_help = concat_after("\
Examples:
  evenkeel demo
  evenkeel demo --keep

Exit 0 says that the second pass planned nothing.")
    )]
    Demo(DemoArgs),
    /// Print a completion script for a shell
    #[command(after_help = "\
Examples:
  evenkeel completions bash > ~/.local/share/bash-completion/completions/evenkeel
  evenkeel completions zsh > ~/.zfunc/_evenkeel
  evenkeel completions fish > ~/.config/fish/completions/evenkeel.fish")]
    Completions(CompletionsArgs),
}

/// Examples followed by the exit codes.
fn concat_after(examples: &str) -> String {
    format!("{examples}\n\n{EXIT_CODES}")
}

/// What a pass or plan looks at.
#[derive(Debug, Clone, Default, Args)]
pub struct Scope {
    /// Look at everything on both sides, not only at what moved since the last pass
    #[arg(long, conflicts_with = "only")]
    pub full: bool,
    /// Only this route
    #[arg(long, value_name = "NAME")]
    pub route: Option<RouteName>,
    /// Only this item and its partner: asana:GID or github:OWNER/REPO#N; may be given several times
    #[arg(long, value_name = "ITEM")]
    pub only: Vec<ItemKey>,
}

/// `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Make one pass and end
    #[arg(long)]
    pub once: bool,
    /// What to look at.
    #[command(flatten)]
    pub scope: Scope,
    /// What the operator allows.
    #[command(flatten)]
    pub allow: AllowArgs,
}

/// What an operator allows beyond the brakes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Past a brake (for this pass only)")]
pub struct AllowArgs {
    /// Allow so many linked items to be updated
    #[arg(long, value_name = "N")]
    pub allow_updates: Option<u64>,
    /// Allow so many items to be closed or completed because their partner was deleted
    #[arg(long, value_name = "N")]
    pub allow_retirements: Option<u64>,
    /// Believe a side that shows no item at all although items are linked
    #[arg(long)]
    pub allow_empty: bool,
}

/// `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// What to look at.
    #[command(flatten)]
    pub scope: Scope,
    /// Keep the plan in this file, for `evenkeel apply`; needs --route if there are several
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub out: Option<PathBuf>,
}

/// `apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// A plan kept by `evenkeel plan --out`
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// What the operator allows.
    #[command(flatten)]
    pub allow: AllowArgs,
}

/// `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Only this route
    #[arg(long, value_name = "NAME")]
    pub route: Option<RouteName>,
}

/// `links`.
#[derive(Debug, Args)]
pub struct LinksArgs {
    /// What to do with them.
    #[command(subcommand)]
    pub action: LinksAction,
}

/// What to do with links.
#[derive(Debug, Subcommand)]
pub enum LinksAction {
    /// List the pairs
    List {
        /// Only this route
        #[arg(long, value_name = "NAME")]
        route: Option<RouteName>,
        /// Only pairs with a field that waits for a person
        #[arg(long)]
        waiting: bool,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 1000)]
        limit: u32,
    },
    /// Make a pair of a task and an issue that exist; shows what would be written first
    Add {
        /// One of the two, such as asana:1201
        #[arg(value_name = "ITEM")]
        one: ItemKey,
        /// The other, such as github:acme/app#17
        #[arg(value_name = "PARTNER")]
        other: ItemKey,
        /// The route, if the items do not say it
        #[arg(long, value_name = "NAME")]
        route: Option<RouteName>,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Unmake a pair; both items stay as they are and are not paired again
    Remove {
        /// One of the pair
        #[arg(value_name = "ITEM")]
        item: ItemKey,
        /// Why, for the history
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

/// `adopt`.
#[derive(Debug, Args)]
pub struct AdoptArgs {
    /// Only this route
    #[arg(long, value_name = "NAME")]
    pub route: Option<RouteName>,
    /// Link every proposal with at least this score (60 to 100) without asking
    #[arg(long, value_name = "SCORE", value_parser = clap::value_parser!(u32).range(60..=100))]
    pub yes_above: Option<u32>,
    /// Link exactly this pair, such as asana:1201=github:acme/app#17; may be given several times
    #[arg(long = "pair", value_name = "TASK=ISSUE", value_parser = pair)]
    pub pairs: Vec<(ItemKey, ItemKey)>,
}

/// Reads `asana:1201=github:acme/app#17`, in either order; answers the task first.
fn pair(text: &str) -> Result<(ItemKey, ItemKey), String> {
    let wrong = || format!("{text:?} is not a pair such as asana:1201=github:acme/app#17");
    let (one, other) = text.split_once('=').ok_or_else(wrong)?;
    match (one.parse(), other.parse()) {
        (Ok(task @ ItemKey::Task(_)), Ok(issue @ ItemKey::Issue(_)))
        | (Ok(issue @ ItemKey::Issue(_)), Ok(task @ ItemKey::Task(_))) => Ok((task, issue)),
        _ => Err(wrong()),
    }
}

/// `why`.
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// A task or an issue: asana:GID or github:OWNER/REPO#N
    #[arg(value_name = "ITEM")]
    pub item: ItemKey,
    /// The route, if the item does not say it
    #[arg(long, value_name = "NAME")]
    pub route: Option<RouteName>,
}

/// `undo`.
#[derive(Debug, Args)]
pub struct UndoArgs {
    /// The number of a pass, or an item: asana:GID or github:OWNER/REPO#N
    #[arg(value_name = "PASS|ITEM", value_parser = undo_target)]
    pub target: UndoTarget,
    /// Show what would be put back; write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}

/// What is to be undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UndoTarget {
    /// Everything one pass did.
    Pass(PassId),
    /// The latest change of one item.
    Item(ItemKey),
}

/// Reads a pass number or an item.
fn undo_target(text: &str) -> Result<UndoTarget, String> {
    if let Ok(number) = text.parse::<i64>() {
        return Ok(UndoTarget::Pass(PassId(number)));
    }
    text.parse().map(UndoTarget::Item).map_err(|error| format!("{error}, nor the number of a pass"))
}

/// `conflicts`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ConflictsArgs {
    /// One of them, instead of the list.
    #[command(subcommand)]
    pub action: Option<ConflictsAction>,
    /// Only this route
    #[arg(long, value_name = "NAME")]
    pub route: Option<RouteName>,
    /// At most so many pairs
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub limit: u32,
}

/// What to see of what waits.
#[derive(Debug, Subcommand)]
pub enum ConflictsAction {
    /// Show what waits on one pair, whole
    Show {
        /// One of the pair
        #[arg(value_name = "ITEM")]
        item: ItemKey,
        /// Only this field
        #[arg(long, value_name = "FIELD", value_parser = field)]
        field: Option<Field>,
        /// Print the text alone, both versions of overlapping lines between marks: edit it, then take the file
        #[arg(long)]
        marked: bool,
    },
}

/// `resolve`.
#[derive(Debug, Args)]
pub struct ResolveArgs {
    /// One of the pair: asana:GID or github:OWNER/REPO#N
    #[arg(value_name = "ITEM")]
    pub item: ItemKey,
    /// Which field, if several wait: title, body or status
    #[arg(long, value_name = "FIELD", value_parser = field)]
    pub field: Option<Field>,
    /// tracker (asana), forge (github), both (texts only), or a file with the text itself; - reads standard input
    #[arg(long, value_name = "tracker|forge|both|FILE", value_hint = ValueHint::FilePath)]
    pub take: String,
    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// The question as it was seen, by the number shown with it; without it, as `evenkeel conflicts` shows it
    #[arg(long, value_name = "NUMBER")]
    pub seen: Option<String>,
}

/// Reads the name of a field.
fn field(text: &str) -> Result<Field, String> {
    let known = Field::ALL.into_iter().find(|field| field.as_str() == text);
    known.ok_or_else(|| format!("{text:?} is no field; title, body and status can wait"))
}

/// `parked`.
#[derive(Debug, Args)]
pub struct ParkedArgs {
    /// What to do with them.
    #[command(subcommand)]
    pub action: ParkedAction,
}

/// What to do with parked items.
#[derive(Debug, Subcommand)]
pub enum ParkedAction {
    /// List them with their last error
    List {
        /// Only this route
        #[arg(long, value_name = "NAME")]
        route: Option<RouteName>,
    },
    /// Let the next pass try them again
    Retry {
        /// Their numbers, as `parked list` shows them
        #[arg(value_name = "ID", required_unless_present = "all")]
        ids: Vec<i64>,
        /// All of them
        #[arg(long, conflicts_with = "ids")]
        all: bool,
    },
    /// Forget one until it changes, or until the next whole look, which tries it again
    #[command(after_help = "\
Dropping keeps nothing from being made or written for good. For that:
  an item without a partner   take it out of the project, or leave it out with a
                              filter of the route
  a pair                      evenkeel links remove ITEM
  one field of all pairs      off in [route.fields]")]
    Drop {
        /// Its number, as `parked list` shows it
        #[arg(value_name = "ID")]
        id: i64,
        /// Why, for the history
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

/// `history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// What to do with it.
    #[command(subcommand)]
    pub action: HistoryAction,
}

/// What to do with the history.
#[derive(Debug, Subcommand)]
pub enum HistoryAction {
    /// Show what was changed, newest first
    Show {
        /// Only this route
        #[arg(long, value_name = "NAME")]
        route: Option<RouteName>,
        /// Only this pass
        #[arg(long, value_name = "N")]
        pass: Option<i64>,
        /// Only this item
        #[arg(long, value_name = "ITEM")]
        item: Option<ItemKey>,
        /// Only what came after this number; oldest first
        #[arg(long, value_name = "SEQ")]
        after: Option<i64>,
        /// At most so many entries
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u32,
    },
    /// Verify that no entry was altered, removed or put in between
    Verify,
}

/// `webhooks`.
#[derive(Debug, Args)]
pub struct WebhooksArgs {
    /// What to do with them.
    #[command(subcommand)]
    pub action: WebhooksAction,
}

/// What to do with hooks.
#[derive(Debug, Clone, Subcommand)]
pub enum WebhooksAction {
    /// See to it that each project and repository has exactly one live hook
    ///
    /// Makes what is missing, mends or replaces what does not do, removes doubles, and fetches the deliveries that
    /// GitHub failed to hand over.
    Ensure(HookScope),
    /// List them, as we and the services know them
    List(HookScope),
    /// Give them new secrets; what is on its way stays good for an hour
    ///
    /// On Asana another hook takes the place of each; on GitHub the secret of the configuration is set, if there is
    /// one, else a new one.
    Rotate(HookScope),
    /// Remove all of ours
    ///
    /// The service makes them again as long as public_url is set.
    Remove(HookScope),
}

/// Whose hooks.
#[derive(Debug, Clone, Default, Args)]
pub struct HookScope {
    /// Only those on the project and the repository of this route
    #[arg(long, value_name = "NAME")]
    pub route: Option<RouteName>,
}

/// `deliveries`.
#[derive(Debug, Args)]
pub struct DeliveriesArgs {
    /// What to do with them.
    #[command(subcommand)]
    pub action: DeliveriesAction,
}

/// What to do with deliveries.
#[derive(Debug, Subcommand)]
pub enum DeliveriesAction {
    /// List them, newest first
    List {
        /// Only those of this service
        #[arg(long, value_name = "asana|github", value_parser = side)]
        side: Option<Side>,
        /// Only those that touched this item
        #[arg(long, value_name = "ITEM")]
        item: Option<ItemKey>,
        /// Only those that made something due, had nothing to tell, or could not be understood
        #[arg(long, value_name = "due|noted|garbled", value_parser = verdict)]
        verdict: Option<Verdict>,
        /// Only those older than this one
        #[arg(long, value_name = "ID")]
        before: Option<i64>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Show one: what it told, what it touched and what came of that
    Show {
        /// Its number, as `deliveries list` shows it
        #[arg(value_name = "ID")]
        id: i64,
        /// Show the body too
        #[arg(long)]
        body: bool,
    },
    /// Do once more what one asked for, as it is understood now
    Replay {
        /// Its number, as `deliveries list` shows it
        #[arg(value_name = "ID")]
        id: i64,
    },
}

/// Reads the name of a service.
fn side(text: &str) -> Result<Side, String> {
    let found = Side::BOTH.into_iter().find(|side| side.service() == text);
    found.ok_or_else(|| format!("{text:?} is neither asana nor github"))
}

/// Reads what a delivery came to.
fn verdict(text: &str) -> Result<Verdict, String> {
    let found = Verdict::ALL.into_iter().find(|verdict| verdict.as_str() == text);
    found.ok_or_else(|| format!("{text:?} is none of due, noted, garbled"))
}

/// `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Only this route
    #[arg(long, value_name = "NAME")]
    pub route: Option<RouteName>,
}

/// `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Leave everything running until Ctrl-C, with addresses and tokens printed
    #[arg(long)]
    pub keep: bool,
}

/// `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_pair_is_read_in_either_order() {
        let wanted = ("asana:1".parse().expect("a key"), "github:a/b#2".parse().expect("a key"));
        assert_eq!(pair("asana:1=github:a/b#2"), Ok(wanted.clone()));
        assert_eq!(pair("github:a/b#2=asana:1"), Ok(wanted));
        for wrong in ["asana:1", "asana:1=asana:2", "=", "github:a/b#1=github:a/b#2"] {
            assert!(pair(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_service_and_a_verdict_are_read_by_their_names() {
        assert_eq!((side("asana"), side("github")), (Ok(Side::Tracker), Ok(Side::Forge)));
        assert!(side("tracker").is_err());
        assert_eq!(verdict("garbled"), Ok(Verdict::Garbled));
        assert!(verdict("bad").is_err_and(|said| said.contains("noted")));
    }

    #[test]
    fn undo_takes_a_pass_or_an_item() {
        assert_eq!(undo_target("42"), Ok(UndoTarget::Pass(PassId(42))));
        assert_eq!(undo_target("asana:42").map(|target| matches!(target, UndoTarget::Item(_))), Ok(true));
        assert!(undo_target("yesterday").is_err());
    }
}
