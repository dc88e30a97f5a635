//! Plays simulated worlds and says which laws were broken: `cargo run --release --example simulate -- --seeds 0..1000`.

#![allow(clippy::print_stdout, reason = "it reports to whoever runs it")]

#[path = "../tests/simulation/mod.rs"]
mod simulation;

use std::collections::BTreeMap;
use std::ops::Range;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use clap::Parser;
use simulation::{Outcome, acts, play, shrink};

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
    /// Workers.
    #[arg(long, default_value_t = std::thread::available_parallelism().map_or(1, usize::from))]
    jobs: usize,
}

/// Worlds, counts by name, and the worlds that broke a law.
type Sums = (u64, BTreeMap<&'static str, u64>, Vec<(u64, String)>);

fn range(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("write A..B")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| error.to_string());
    Ok(number(from)?..number(to)?)
}

fn main() -> ExitCode {
    env_logger::Builder::new().parse_env(env_logger::Env::default().default_filter_or("off")).init();
    let args = Args::parse();
    let (next, stop) = (AtomicU64::new(args.seeds.start), AtomicBool::new(false));
    let sums: Mutex<Sums> = Mutex::default();
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..args.jobs {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= args.seeds.end || stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let Outcome { broken, counts, .. } =
                        play(seed, &acts::draw(seed, args.steps), args.tell && args.whole);
                    let mut sums = sums.lock().expect("no worker panicked");
                    sums.0 += 1;
                    for (what, count) in counts {
                        *sums.1.entry(what).or_default() += count;
                    }
                    if let Some(broken) = broken {
                        eprintln!("seed {seed}: {broken}");
                        sums.2.push((seed, broken));
                        stop.store(!args.all, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let (worlds, counts, broken) = sums.into_inner().expect("no worker panicked");
    let took = began.elapsed();
    let rate = worlds as f64 / took.as_secs_f64() * 60.0;
    println!("{worlds} worlds in {:.1} s: {rate:.0} a minute; {counts:?}", took.as_secs_f64());
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
