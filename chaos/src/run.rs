//! The run: start, harm, and the questions at the end.

use crate::faults::{Luck, harm};
use crate::log::Log;
use crate::place::{Place, send};
use crate::programs::{names, toml};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

/// What is waited for comes within this, also on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

type Outcome<T = ()> = Result<T, String>;

/// Both parts: an orderly end after the chaos, and a sudden one in the middle of it.
pub(crate) fn all(liveoak: &Path, time: Duration, seed: u64) -> Outcome {
    let liveoak = liveoak.canonicalize().map_err(|error| format!("{}: {error}", liveoak.display()))?;
    let mut luck = Luck(seed);
    let place = Place::new().map_err(|error| format!("no folder for the run: {error}"))?;
    if !place.has_disk() {
        println!("no file system of its own can be had here: large files are refused instead (ulimit -f)");
    }
    fs::write(place.at("liveoak.toml"), toml(as_nobody())).map_err(|error| error.to_string())?;
    orderly(&place, &liveoak, time, &mut luck)?;
    sudden(&place, &liveoak, Duration::from_secs(3).min(time), &mut luck)
}

/// Root may have as many processes as it likes, so somebody else has to run out of them.
fn as_nobody() -> &'static [&'static str] {
    let line = ["setpriv", "--reuid", "65534", "--clear-groups"];
    let mut command = Command::new(line[0]);
    command.args(&line[1..]).arg("true").stdout(Stdio::null()).stderr(Stdio::null());
    if command.status().is_ok_and(|status| status.success()) {
        const { &["setpriv", "--reuid", "65534", "--clear-groups"] }
    } else {
        &[]
    }
}

fn start(place: &Place, liveoak: &Path) -> Outcome<(Child, Log)> {
    for name in names(|_| true) {
        // Of the run before.
        let _ = fs::remove_file(place.at("pids").join(name));
    }
    let mut up = place.up(liveoak).spawn().map_err(|error| format!("liveoak up: {error}"))?;
    let log = Log::default();
    if let (Some(stdout), Some(stderr)) = (up.stdout.take(), up.stderr.take()) {
        log.read(stdout, stderr);
    }
    let lasting = names(|sort| sort.lasting);
    wait_for(&log, "start of all that lasts", || {
        lasting.iter().all(|name| place.process_of(name).is_some())
    })?;
    Ok((up, log))
}

fn orderly(place: &Place, liveoak: &Path, time: Duration, luck: &mut Luck) -> Outcome {
    let (mut up, log) = start(place, liveoak)?;
    let done = harm(place, up.id(), &log, luck, time);
    for (what, count) in done {
        println!("  {count:>6} x {what}");
    }
    everything_is_back(place, &log)?;
    println!(
        "  {:>6} attempts, {} KiB of output",
        log.told().restarts,
        log.bytes.load(Ordering::Relaxed) / 1024
    );

    let begin = Instant::now();
    send(up.id(), Signal::TERM);
    let mut status = None;
    wait_for(&log, "end of liveoak", || {
        status = up.try_wait().ok().flatten();
        status.is_some()
    })?;
    let took = begin.elapsed();
    if took > Duration::from_secs(25) {
        return Err(format!("the stop took {took:?}, and its budget was 20 s"));
    }
    match status.and_then(|status| status.code()) {
        // Those that do not care about SIGTERM had to be killed.
        Some(3) => {}
        code => return Err(format!("liveoak ended with {code:?} instead of 3: {}", last_lines(&log))),
    }
    report_is_whole(place)?;
    nothing_is_left(place)?;
    let wrong = log.told().wrong.clone();
    wrong.map_or(Ok(()), Err)
}

/// In the middle of it all `liveoak` is killed.
fn sudden(place: &Place, liveoak: &Path, time: Duration, luck: &mut Luck) -> Outcome {
    let (mut up, log) = start(place, liveoak)?;
    harm(place, up.id(), &log, luck, time);
    send(up.id(), Signal::KILL);
    up.wait().map_err(|error| error.to_string())?;
    nothing_is_left(place)
}

/// Whatever lasts runs again, and what was told of it is so.
fn everything_is_back(place: &Place, log: &Log) -> Outcome {
    let lasting = names(|sort| sort.lasting);
    let missing = || -> Vec<&String> {
        let told = log.told();
        let is_back = |name: &&String| {
            let doing = told.doing.get(&format!("/chaos/{name}")).map(String::as_str);
            place.process_of(name).is_none() || doing != Some("ready")
        };
        lasting.iter().filter(is_back).collect()
    };
    let back = wait_for(log, "return of all that lasts", || missing().is_empty());
    back.map_err(|what| format!("{what}\nnot back: {:?}", missing()))?;
    // The others come and go; what is told of them comes true as well.
    for name in names(|sort| !sort.lasting) {
        wait_for(log, &format!("agreement about {name}"), || {
            let runs = place.process_of(&name).is_some();
            let told = log.told();
            told.doing.get(&format!("/chaos/{name}")).is_some_and(|doing| (doing == "ready") == runs)
        })?;
    }
    Ok(())
}

/// The report names every program once.
fn report_is_whole(place: &Place) -> Outcome {
    let text = fs::read_to_string(place.at("report.json")).map_err(|error| format!("the report: {error}"))?;
    let report: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| format!("{error} in {text}"))?;
    let mut named = BTreeSet::new();
    for entry in ["children", "ended_earlier"].iter().flat_map(|part| report[part].as_array()).flatten() {
        let path = entry["path"].as_str().unwrap_or_default();
        if !named.insert(path.to_owned()) {
            return Err(format!("the report names {path} twice"));
        }
    }
    let all: BTreeSet<String> = names(|_| true).iter().map(|name| format!("/chaos/{name}")).collect();
    if named == all {
        return Ok(());
    }
    let missing: Vec<_> = all.symmetric_difference(&named).collect();
    Err(format!("the report and the programs differ in {missing:?}"))
}

fn nothing_is_left(place: &Place) -> Outcome {
    let begin = Instant::now();
    while !place.processes().is_empty() {
        if begin.elapsed() > Duration::from_secs(20) {
            let line = |pid: u32| fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let left: Vec<String> = place.processes().into_iter().map(line).collect();
            return Err(format!("left over:\n{}", left.concat()));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn wait_for(log: &Log, what: &str, mut holds: impl FnMut() -> bool) -> Outcome {
    let begin = Instant::now();
    while !holds() {
        if begin.elapsed() > PATIENCE {
            return Err(format!("no {what} within {PATIENCE:?}: {}", last_lines(log)));
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn last_lines(log: &Log) -> String {
    log.told().lines.iter().map(|line| format!("\n  {line}")).collect()
}
