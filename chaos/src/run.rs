//! The run: start, harm, and the end.

use crate::eyes;
use crate::faults::{Done, Faults};
use crate::log::Log;
use crate::place::{Place, send};
use crate::plan::Luck;
use crate::programs::{names, toml};
use crate::truth;
use rustix::process::Signal;
use std::fs;
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What is waited for comes within this, also on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A run of this length meets every fault.
const LONG_ENOUGH: Duration = Duration::from_secs(15);

/// How often `liveoak` is killed in the middle of it all.
const SUDDEN_ENDS: u64 = 2;

/// How long the harm goes on when it is dead.
const AFTER_ITS_DEATH: Duration = Duration::from_millis(300);

type Outcome<T = ()> = Result<T, String>;

/// A running `liveoak up`.
struct Up {
    child: Child,
    log: Log,
    readers: Vec<JoinHandle<()>>,
}

/// Both parts: an orderly end after the chaos, and sudden ones in the middle of it.
pub(crate) fn all(liveoak: &Path, time: Duration, seed: u64) -> Outcome {
    let liveoak = liveoak.canonicalize().map_err(|error| format!("{}: {error}", liveoak.display()))?;
    let place = Place::new(&liveoak).map_err(|error| format!("no folder for the run: {error}"))?;
    for (there, what) in [
        (place.has_disk(), "no file system of its own: large files are refused instead (ulimit -f)"),
        (place.has_process_limit(), "no setpriv: root never runs out of processes, so that is NOT tried"),
        (place.dies_with_us(), "no setpriv: if this is killed, liveoak goes on until its time is over"),
    ] {
        if !there {
            println!("  here is {what}");
        }
    }
    fs::write(place.at("liveoak.toml"), toml()).map_err(|error| error.to_string())?;
    orderly(&place, time, seed)?;
    (1..=SUDDEN_ENDS).try_for_each(|part| sudden(&place, seed, part))
}

fn start(place: &Place, time: Duration) -> Outcome<Up> {
    for name in names(|_| true) {
        // Of the run before.
        let _ = fs::remove_file(place.at("pids").join(name));
    }
    let limit = time + 3 * PATIENCE;
    let mut child = place.up(limit).spawn().map_err(|error| format!("liveoak up: {error}"))?;
    place.has_started(child.id());
    let log = Log::default();
    let readers = match (child.stdout.take(), child.stderr.take()) {
        (Some(stdout), Some(stderr)) => log.read(stdout, stderr),
        _ => vec![],
    };
    let up = Up { child, log, readers };
    let lasting = names(|sort| sort.lasting);
    wait_for(&up.log, "start of all that lasts", || {
        let missing = lasting.iter().find(|name| place.leader(name).is_none());
        missing.map(|name| format!("{name} does not run"))
    })?;
    wait_for(&up.log, "start of the tree", || is_not(&up.log, "ready", ""))?;
    Ok(up)
}

fn orderly(place: &Place, time: Duration, seed: u64) -> Outcome {
    let up = start(place, time)?;
    let (over, log) = (AtomicBool::new(false), up.log.clone());
    let (outcome, looks) = thread::scope(|scope| {
        let eyes = scope.spawn(|| eyes::watch(place, &log, || !over.load(Ordering::Relaxed)));
        let outcome = harm_and_stop(place, up, time, seed);
        over.store(true, Ordering::Relaxed);
        (outcome, eyes.join().unwrap_or_default())
    });
    let done = outcome?;
    if let Some(wrong) = log.told().wrong.first() {
        return Err(wrong.clone());
    }
    let ran: usize = log.told().lives.values().map(|life| life.attempts.len()).sum();
    println!(
        "  {ran:>6} attempts, {} KiB of output, {looks} looks at all processes",
        log.output().bytes / 1024
    );
    let met = truth::met(place, &log, &done);
    met.iter().for_each(|(what, count)| println!("  {count:>6} x {what}"));
    match met.iter().find(|(_, count)| **count == 0) {
        Some((what, _)) if time >= LONG_ENOUGH => Err(format!("never met: {what}")),
        _ => Ok(()),
    }
}

fn harm_and_stop(place: &Place, mut up: Up, time: Duration, seed: u64) -> Outcome<Done> {
    let begin = Instant::now();
    let faults = Faults::new(place, up.child.id(), &up.log);
    let done = faults.harm(seed, 0, || begin.elapsed() < time && !up.log.is_wrong());
    let steps = || lines(&done.steps);
    let ended = everything_is_back(place, &up.log).and_then(|()| stop(place, &mut up, seed));
    let status = ended.map_err(|what| format!("{what}\n{}", steps()))?;
    let log = up.log;
    for reader in up.readers {
        reader.join().map_err(|_| "a reader panicked".to_owned())?;
    }
    let text = fs::read_to_string(place.at("report.json")).map_err(|error| format!("the report: {error}"))?;
    let mut wrong = truth::of_attempts(place, &log, &done);
    wrong.extend(truth::of_report(&text, &log));
    // Those that do not care about SIGTERM had to be killed.
    if status.code() != Some(3) {
        wrong.push(format!("liveoak ended with {status} instead of 3"));
    }
    if !wrong.is_empty() {
        let first = lines(wrong.iter().take(10));
        return Err(format!("{} things are wrong:{}{}{}", wrong.len(), first, steps(), last_lines(&log)));
    }
    nothing_is_left(place)?;
    Ok(done)
}

/// Asks for the end while some processes are suspended.
fn stop(place: &Place, up: &mut Up, seed: u64) -> Outcome<ExitStatus> {
    let mut luck = Luck::of(seed, 0, u64::MAX);
    let mut suspended = names(|_| true);
    suspended.retain(|_| luck.below(3) == 0);
    for process in place.processes() {
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

/// In the middle of it all `liveoak` is killed, and the harm goes on.
fn sudden(place: &Place, seed: u64, part: u64) -> Outcome {
    let mut up = start(place, PATIENCE)?;
    let (over, liveoak) = (AtomicBool::new(false), up.child.id());
    let time = Duration::from_millis(1000 + Luck::of(seed, part, u64::MAX).below(1500));
    let done = thread::scope(|scope| {
        let faults = Faults::new(place, liveoak, &up.log);
        let harm = scope.spawn(|| faults.harm(seed, part, || !over.load(Ordering::Relaxed)));
        thread::sleep(time);
        send(liveoak, Signal::KILL);
        thread::sleep(AFTER_ITS_DEATH);
        over.store(true, Ordering::Relaxed);
        harm.join().unwrap_or_default()
    });
    // Not before: until then its number is nobody else's.
    up.child.wait().map_err(|error| error.to_string())?;
    println!("  liveoak killed after {} steps", done.counts.values().sum::<u32>());
    let wrong = lines(&up.log.told().wrong);
    if !wrong.is_empty() {
        return Err(format!("until it was killed:{wrong}"));
    }
    nothing_is_left(place)
}

/// Whatever lasts runs again, the others come and go, and what was told of them is so.
fn everything_is_back(place: &Place, log: &Log) -> Outcome {
    for name in names(|sort| sort.lasting) {
        wait_for(log, &format!("return of {name}"), || {
            let Some((runs, _)) = place.leader(&name) else { return Some("it does not run".to_owned()) };
            let ran = log.told().life(&name).map_or(0, |life| life.ran());
            let early = (runs < ran).then(|| format!("{runs} attempts ran, {ran} were told to be ready"));
            early.or_else(|| is_not(log, "ready", &format!("/{name}")))
        })?;
    }
    let of = |name: &str| log.told().life(name).map_or(0, |life| life.ran());
    let goals: Vec<_> = names(|sort| !sort.lasting).into_iter().map(|name| (of(&name) + 2, name)).collect();
    for (goal, name) in goals {
        wait_for(log, &format!("two more attempts of {name}"), || {
            (of(&name) < goal).then(|| format!("{} of {goal} ran", of(&name)))
        })?;
    }
    let next = |name: &str| log.output().next(name);
    let heard: Vec<_> =
        names(|sort| sort.name == "loud").into_iter().map(|name| (next(&name), name)).collect();
    for (number, name) in heard {
        wait_for(log, &format!("word from {name}"), || {
            (next(&name) <= number).then(|| format!("it has come to {number}"))
        })?;
    }
    wait_for(log, "guardian", || {
        let count = place.guardians().len();
        (count != 1).then(|| format!("there are {count}"))
    })
}

fn is_not(log: &Log, what: &str, name: &str) -> Option<String> {
    let told = log.told();
    let doing = told.lives.get(&format!("/chaos{name}")).map_or("", |life| life.doing.as_str());
    (doing != what).then(|| format!("it is told to be {doing:?}"))
}

/// One empty look is not believed: in the middle of an exec a process does not show its mark.
fn nothing_is_left(place: &Place) -> Outcome {
    let (begin, mut empty) = (Instant::now(), 0);
    while empty < 3 {
        let left = place.processes();
        empty = if left.is_empty() { empty + 1 } else { 0 };
        if begin.elapsed() > Duration::from_secs(20) {
            return Err(format!("left over: {left:#?}"));
        }
        thread::sleep(Duration::from_millis(30));
    }
    Ok(())
}

/// Waits until `missing` has nothing to say.
fn wait_for(log: &Log, what: &str, mut missing: impl FnMut() -> Option<String>) -> Outcome {
    let begin = Instant::now();
    while let Some(why) = missing() {
        if begin.elapsed() > PATIENCE || log.is_wrong() {
            let wrong = [log.told().wrong.clone(), log.output().verdict()].concat();
            return Err(format!("no {what}: {why}{}{}", lines(&wrong), last_lines(log)));
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn last_lines(log: &Log) -> String {
    lines(&log.told().lines)
}

fn lines<'a>(all: impl IntoIterator<Item = &'a String>) -> String {
    all.into_iter().map(|line| format!("\n  {line}")).collect()
}
