//! The order of a run: start the programs, inject faults, verify, stop. Part 0 ends with an orderly stop; in the other
//! parts `liveoak` is killed while faults are injected.

use crate::faults::{Faults, InjectedFaults};
use crate::log::RunLog;
use crate::plan::StepRng;
use crate::programs::{names, toml};
use crate::sandbox::{Sandbox, send};
use crate::verify;
use rustix::process::Signal;
use std::fs;
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The limit of each wait, also on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// In a run of at least this length every fault must occur.
const LONG_ENOUGH: Duration = Duration::from_secs(15);

const SUDDEN_ENDS: u64 = 2;

/// How long faults are injected after the death of `liveoak`.
const AFTER_ITS_DEATH: Duration = Duration::from_millis(300);

type Outcome<T = ()> = Result<T, String>;

struct LiveoakRun {
    child: Child,
    log: RunLog,
    readers: Vec<JoinHandle<()>>,
}

/// Runs all parts: first the one with an orderly stop, then those in which `liveoak` is killed.
pub(crate) fn all(liveoak: &Path, time: Duration, seed: u64) -> Outcome {
    let liveoak = liveoak.canonicalize().map_err(|error| format!("{}: {error}", liveoak.display()))?;
    let sandbox = Sandbox::new(&liveoak).map_err(|error| format!("no folder for the run: {error}"))?;
    for (there, what) in [
        (sandbox.has_disk(), "no file system of its own: ulimit -f is used to refuse large files"),
        (
            sandbox.has_process_limit(),
            "no setpriv: root never runs out of processes, so that fault is NOT tested",
        ),
        (
            sandbox.dies_with_us(),
            "no setpriv: if this program is killed, liveoak runs on until its time is over",
        ),
    ] {
        if !there {
            println!("  note: {what}");
        }
    }
    fs::write(sandbox.at("liveoak.toml"), toml()).map_err(|error| error.to_string())?;
    orderly(&sandbox, time, seed)?;
    (1..=SUDDEN_ENDS).try_for_each(|part| sudden(&sandbox, seed, part))
}

fn start(sandbox: &Sandbox, time: Duration) -> Outcome<LiveoakRun> {
    for name in names(|_| true) {
        // Left by the part before.
        let _ = fs::remove_file(sandbox.at("pids").join(name));
    }
    let limit = time + 3 * PATIENCE;
    let mut child = sandbox.up(limit).spawn().map_err(|error| format!("liveoak up: {error}"))?;
    sandbox.has_started(child.id());
    let log = RunLog::default();
    let readers = match (child.stdout.take(), child.stderr.take()) {
        (Some(stdout), Some(stderr)) => log.read(stdout, stderr),
        _ => vec![],
    };
    let up = LiveoakRun { child, log, readers };
    let lasting = names(|kind| kind.lasting);
    wait_for(&up.log, "start of all lasting programs", || {
        let missing = lasting.iter().find(|name| sandbox.leader(name).is_none());
        missing.map(|name| format!("{name} does not run"))
    })?;
    wait_for(&up.log, "start of the tree", || is_not(&up.log, "ready", ""))?;
    Ok(up)
}

fn orderly(sandbox: &Sandbox, time: Duration, seed: u64) -> Outcome {
    let up = start(sandbox, time)?;
    let (over, log) = (AtomicBool::new(false), up.log.clone());
    let (outcome, looks) = thread::scope(|scope| {
        let watcher = scope.spawn(|| verify::watch(sandbox, &log, || !over.load(Ordering::Relaxed)));
        let outcome = inject_and_stop(sandbox, up, time, seed);
        over.store(true, Ordering::Relaxed);
        (outcome, watcher.join().unwrap_or_default())
    });
    let injected = outcome?;
    if let Some(errors) = log.events().errors.first() {
        return Err(errors.clone());
    }
    let ran: usize = log.events().histories.values().map(|history| history.attempts.len()).sum();
    println!(
        "  {ran:>6} attempts, {} KiB of output, {looks} looks at all processes",
        log.output().bytes / 1024
    );
    let observed = verify::observed_faults(sandbox, &log, &injected);
    observed.iter().for_each(|(what, count)| println!("  {count:>6} x {what}"));
    match observed.iter().find(|(_, count)| **count == 0) {
        Some((what, _)) if time >= LONG_ENOUGH => Err(format!("this fault never occurred: {what}")),
        _ => Ok(()),
    }
}

fn inject_and_stop(
    sandbox: &Sandbox,
    mut up: LiveoakRun,
    time: Duration,
    seed: u64,
) -> Outcome<InjectedFaults> {
    let begin = Instant::now();
    let faults = Faults::new(sandbox, up.child.id(), &up.log);
    let injected = faults.inject(seed, 0, || begin.elapsed() < time && !up.log.has_errors());
    let steps = || lines(&injected.steps);
    let ended = everything_is_back(sandbox, &up.log).and_then(|()| stop(sandbox, &mut up, seed));
    let status = ended.map_err(|what| format!("{what}\n{}", steps()))?;
    let log = up.log;
    for reader in up.readers {
        reader.join().map_err(|_| "a reader panicked".to_owned())?;
    }
    let text =
        fs::read_to_string(sandbox.at("report.json")).map_err(|error| format!("the report: {error}"))?;
    let mut errors = verify::check_attempts(sandbox, &log, &injected);
    errors.extend(verify::check_report(&text, &log));
    // The exit code 3 means that children were killed: the `stubborn` programs ignore SIGTERM.
    if status.code() != Some(3) {
        errors.push(format!("liveoak ended with {status} instead of 3"));
    }
    if !errors.is_empty() {
        let first = lines(errors.iter().take(10));
        return Err(format!("{} errors:{}{}{}", errors.len(), first, steps(), lines(&log.events().lines)));
    }
    nothing_is_left(sandbox)?;
    Ok(injected)
}

/// Stops `liveoak` while some processes are suspended.
fn stop(sandbox: &Sandbox, up: &mut LiveoakRun, seed: u64) -> Outcome<ExitStatus> {
    let mut rng = StepRng::of(seed, 0, u64::MAX);
    let mut suspended = names(|_| true);
    suspended.retain(|_| rng.below(3) == 0);
    for process in sandbox.processes() {
        if process.name.is_some_and(|name| suspended.contains(&name)) {
            send(process.pid, Signal::STOP);
        }
    }
    let begin = Instant::now();
    send(up.child.id(), Signal::TERM);
    let mut status = None;
    wait_for(&up.log, "end of liveoak", || {
        status = up.child.try_wait().ok().flatten();
        status.is_none().then(|| "it still runs".to_owned())
    })?;
    let took = begin.elapsed();
    if took > Duration::from_secs(25) {
        return Err(format!("the stop took {took:?}, and its budget was 20 s"));
    }
    status.ok_or_else(|| "liveoak was lost".to_owned())
}

/// Kills `liveoak` while faults are injected, and continues to inject them. No process may be left.
fn sudden(sandbox: &Sandbox, seed: u64, part: u64) -> Outcome {
    let mut up = start(sandbox, PATIENCE)?;
    let (over, liveoak) = (AtomicBool::new(false), up.child.id());
    let time = Duration::from_millis(1000 + StepRng::of(seed, part, u64::MAX).below(1500));
    let injected = thread::scope(|scope| {
        let faults = Faults::new(sandbox, liveoak, &up.log);
        let inject = scope.spawn(|| faults.inject(seed, part, || !over.load(Ordering::Relaxed)));
        thread::sleep(time);
        send(liveoak, Signal::KILL);
        thread::sleep(AFTER_ITS_DEATH);
        over.store(true, Ordering::Relaxed);
        inject.join().unwrap_or_default()
    });
    // Only now: until it is reaped, its process id cannot belong to another process.
    up.child.wait().map_err(|error| error.to_string())?;
    println!("  liveoak killed after {} steps", injected.counts.values().sum::<u32>());
    let errors = lines(&up.log.events().errors);
    if !errors.is_empty() {
        return Err(format!("errors before liveoak was killed:{errors}"));
    }
    nothing_is_left(sandbox)
}

/// Waits until all lasting programs run again and the log agrees, all others have run twice more, each `loud` program
/// has printed something new, and there is one guardian.
fn everything_is_back(sandbox: &Sandbox, log: &RunLog) -> Outcome {
    for name in names(|kind| kind.lasting) {
        wait_for(log, &format!("return of {name}"), || {
            let Some((runs, _)) = sandbox.leader(&name) else { return Some("it does not run".to_owned()) };
            let ran = log.events().history(&name).map_or(0, |history| history.ran());
            let early =
                (runs < ran).then(|| format!("{runs} attempts ran, but the log says that {ran} were ready"));
            early.or_else(|| is_not(log, "ready", &format!("/{name}")))
        })?;
    }
    let of = |name: &str| log.events().history(name).map_or(0, |history| history.ran());
    let goals: Vec<_> = names(|kind| !kind.lasting).into_iter().map(|name| (of(&name) + 2, name)).collect();
    for (goal, name) in goals {
        wait_for(log, &format!("two more attempts of {name}"), || {
            (of(&name) < goal).then(|| format!("{} of {goal} ran", of(&name)))
        })?;
    }
    let next = |name: &str| log.output().next(name);
    let heard: Vec<_> =
        names(|kind| kind.name == "loud").into_iter().map(|name| (next(&name), name)).collect();
    for (number, name) in heard {
        wait_for(log, &format!("output of {name}"), || {
            (next(&name) <= number).then(|| format!("the last number is {number}"))
        })?;
    }
    wait_for(log, "guardian", || {
        let count = sandbox.guardians().len();
        (count != 1).then(|| format!("there are {count}"))
    })
}

fn is_not(log: &RunLog, what: &str, name: &str) -> Option<String> {
    let events = log.events();
    let doing = events.histories.get(&format!("/chaos{name}")).map_or("", |history| history.doing.as_str());
    (doing != what).then(|| format!("the log says {doing:?}"))
}

/// Waits until no process of the run is left. Three looks must be empty, because a process does not show its mark
/// during an exec.
fn nothing_is_left(sandbox: &Sandbox) -> Outcome {
    let (begin, mut empty) = (Instant::now(), 0);
    while empty < 3 {
        let left = sandbox.processes();
        empty = if left.is_empty() { empty + 1 } else { 0 };
        if begin.elapsed() > Duration::from_secs(20) {
            return Err(format!("processes are left: {left:#?}"));
        }
        thread::sleep(Duration::from_millis(30));
    }
    Ok(())
}

fn wait_for(log: &RunLog, what: &str, mut missing: impl FnMut() -> Option<String>) -> Outcome {
    let begin = Instant::now();
    while let Some(why) = missing() {
        if begin.elapsed() > PATIENCE || log.has_errors() {
            let errors = [log.events().errors.clone(), log.output().verdict()].concat();
            return Err(format!("no {what}: {why}{}{}", lines(&errors), lines(&log.events().lines)));
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn lines<'a>(all: impl IntoIterator<Item = &'a String>) -> String {
    all.into_iter().map(|line| format!("\n  {line}")).collect()
}
