//! Plays simulated worlds and says which laws were broken: `cargo run --release --example simulate -- --seeds 0..1000`.
//!
//! Each job is a process of its own on a core of its own: SQLite's locks and the kernel's, which all threads of a process
//! share, would take as long as the worlds themselves.

#![allow(clippy::print_stdout, reason = "it reports to whoever runs it")]
#![allow(clippy::panic, reason = "who cannot share the work says so")]

#[path = "../tests/simulation/mod.rs"]
mod simulation;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::ops::Range;
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Instant;

use clap::Parser;
use serde::{Deserialize, Serialize};
use simulation::{Outcome, acts, keep_to_one_core, play, shrink};

#[derive(Parser)]
struct Args {
    /// Which worlds.
    #[arg(long, value_parser = range, default_value = "0..1000")]
    seeds: Range<u64>,
    /// Steps in each.
    #[arg(long, default_value_t = 40)]
    steps: usize,
    /// Says what happens in the shortened world, or with `--whole` in every one.
    #[arg(long)]
    tell: bool,
    /// Go on after broken laws.
    #[arg(long)]
    all: bool,
    /// Do not shorten what fails.
    #[arg(long)]
    whole: bool,
    /// Processes that share the work.
    #[arg(long, default_value_t = std::thread::available_parallelism().map_or(1, usize::from))]
    jobs: usize,
    /// Plays every so many of the worlds in this process, as one of the jobs, and answers in JSON.
    #[arg(long, hide = true, requires = "first")]
    every: Option<usize>,
    /// The first of those.
    #[arg(long, hide = true)]
    first: Option<u64>,
}

/// What came of some worlds.
#[derive(Default, Serialize, Deserialize)]
struct Sums {
    worlds: u64,
    /// By name.
    counts: BTreeMap<String, u64>,
    /// The worlds that broke a law, and how.
    broken: Vec<(u64, String)>,
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("write A..B")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| error.to_string());
    Ok(number(from)?..number(to)?)
}

fn main() -> ExitCode {
    env_logger::Builder::new().parse_env(env_logger::Env::default().default_filter_or("off")).init();
    let args = Args::parse();
    let began = Instant::now();
    if let (Some(every), Some(first)) = (args.every, args.first) {
        println!("{}", serde_json::to_string(&job(&args, first, every)).expect("JSON"));
        return ExitCode::SUCCESS;
    }
    let Sums { worlds, counts, mut broken } = share(&args).unwrap_or_else(|error| panic!("sharing the work: {error}"));
    let took = began.elapsed().as_secs_f64();
    println!("{worlds} worlds in {took:.1} s: {:.0} a minute; {counts:?}", worlds as f64 / took * 60.0);
    broken.sort();
    for (seed, message) in broken.iter().take(if args.whole { 0 } else { 1 }) {
        let (steps, message) = shrink::shrink(*seed, acts::draw(*seed, args.steps), message);
        println!("seed {seed}, shortened to {} steps: {message}", steps.len());
        println!("{}", serde_json::to_string(&(seed, &steps)).expect("JSON"));
        if args.tell {
            play(*seed, &steps, true);
        }
    }
    println!("{} worlds broke a law", broken.len());
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Lets one process play for each job, and sums up. Unless all are wanted, none begins another world once one broke a law.
fn share(args: &Args) -> io::Result<Sums> {
    let jobs = args.jobs.max(1);
    let program = std::env::current_exe()?;
    let start = |number: usize| {
        let mut words = vec![format!("--seeds={}..{}", args.seeds.start, args.seeds.end)];
        words.push(format!("--steps={}", args.steps));
        words.extend([format!("--every={jobs}"), format!("--first={}", args.seeds.start + number as u64)]);
        let flags = [("--tell", args.tell), ("--all", args.all), ("--whole", args.whole)];
        words.extend(flags.iter().filter(|(_, set)| *set).map(|(flag, _)| (*flag).to_owned()));
        Command::new(&program).args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()
    };
    let mut children = (0..jobs).map(start).collect::<io::Result<Vec<Child>>>()?;
    // Closed when the others are to stop.
    let mut pipes: Vec<Option<ChildStdin>> = children.iter_mut().map(|child| child.stdin.take()).collect();
    let mut sums = Sums::default();
    let (tell, answers) = mpsc::channel();
    for child in children {
        let tell = tell.clone();
        std::thread::spawn(move || tell.send(child.wait_with_output()));
    }
    drop(tell);
    for answer in answers {
        let answer = answer?;
        if !answer.status.success() {
            return Err(io::Error::other(format!("a process ended with {}", answer.status)));
        }
        let part: Sums = serde_json::from_slice(&answer.stdout)?;
        sums.worlds += part.worlds;
        for (what, count) in part.counts {
            *sums.counts.entry(what).or_default() += count;
        }
        if !part.broken.is_empty() && !args.all {
            pipes.clear();
        }
        sums.broken.extend(part.broken);
    }
    Ok(sums)
}

/// Plays every so many of the worlds, until the input ends.
fn job(args: &Args, first: u64, every: usize) -> Sums {
    keep_to_one_core(usize::try_from(first - args.seeds.start).unwrap_or(0));
    let stop = Arc::new(AtomicBool::new(false));
    let told = stop.clone();
    std::thread::spawn(move || {
        let _ = io::stdin().read(&mut [0]);
        told.store(true, Ordering::Relaxed);
    });
    let mut sums = Sums::default();
    for seed in (first..args.seeds.end).step_by(every) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let Outcome { broken, counts, .. } = play(seed, &acts::draw(seed, args.steps), args.tell && args.whole);
        sums.worlds += 1;
        for (what, count) in counts {
            *sums.counts.entry(what.to_owned()).or_default() += count;
        }
        if let Some(broken) = broken {
            eprintln!("seed {seed}: {broken}");
            sums.broken.push((seed, broken));
            if !args.all {
                break;
            }
        }
    }
    sums
}
