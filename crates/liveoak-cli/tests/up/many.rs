//! Many programs at once, and a kill of liveoak itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Instant, SystemTime};

use rustix::process::Signal;

use crate::support::{Stream, TestDir, Up, look_for};

const PROGRAMS: usize = 200;
const KILLED: usize = 50;

/// Returns the latest process of each child, by path, and the number of all processes so far.
fn latest(lines: &[String]) -> (BTreeMap<String, u32>, usize) {
    let pids = lines.iter().filter_map(|line| line.split_once(" | "));
    let pids = pids.map(|(path, pid)| (path.to_owned(), pid.parse().expect("a process id")));
    (pids.collect(), lines.len())
}

/// Chooses `count` different numbers below `below`, by SplitMix64.
fn choose(mut seed: u64, count: usize, below: usize) -> BTreeSet<usize> {
    let mut chosen = BTreeSet::new();
    while chosen.len() < count {
        seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        chosen.insert((mixed >> 32) as usize % below);
    }
    chosen
}

/// Waits until `wanted` processes have printed their ids. Meanwhile, checks that there are never too many live processes.
fn until_there_were(dir: &TestDir, up: &Up, wanted: usize) -> BTreeMap<String, u32> {
    look_for("200 processes alive again", || {
        let alive = dir.running("sleep").len();
        assert!(alive <= PROGRAMS, "{alive} programs are alive at once");
        let (pids, printed) = latest(&up.so_far(Stream::Stdout));
        (printed == wanted && alive == PROGRAMS).then_some(pids)
    })
}

#[test]
fn two_hundred_programs_start_fifty_killed_at_random_are_restarted_and_all_stop_in_time() {
    let dir = TestDir::of(&format!(
        "[child.s]\nshell = \"echo $$; exec sleep 1000\"\nreplicas = {PROGRAMS}\nstop = {{ within = \"10s\" }}\n"
    ));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock");
    let seed = std::env::var("LIVEOAK_SEED");
    let seed = seed.map_or(now.as_nanos() as u64, |seed| seed.parse().expect("a number"));
    // The seed is shown when the test fails.
    println!("to repeat it: LIVEOAK_SEED={seed} cargo test -p liveoak-cli --test up two_hundred");

    let began = Instant::now();
    let up = dir.up(&["--report", "report.json", "--log-level", "info"]);
    up.is_ready();
    let before = until_there_were(&dir, &up, PROGRAMS);
    println!("{PROGRAMS} started in {:?}", began.elapsed());
    assert_eq!(before.len(), PROGRAMS);

    let victims = choose(seed, KILLED, PROGRAMS);
    let victims: BTreeSet<&String> =
        victims.iter().map(|nth| before.keys().nth(*nth).expect("one")).collect();
    let began = Instant::now();
    victims.iter().for_each(|path| dir.kill(before[*path]));
    let after = until_there_were(&dir, &up, PROGRAMS + KILLED);
    println!("{KILLED} were restarted in {:?}", began.elapsed());
    for (path, pid) in &after {
        assert_eq!(before[path] != *pid, victims.contains(path), "{path}");
    }

    let began = Instant::now();
    up.stop().with_code(0);
    println!("{PROGRAMS} stopped in {:?}", began.elapsed());
    dir.has_no_processes_left();
    let report = dir.report();
    assert_eq!(report["children"].as_array().map(Vec::len), Some(PROGRAMS));
    assert_eq!(report["clean"], true);
}

#[test]
fn killing_liveoak_itself_ends_twenty_process_groups_with_grandchildren() {
    let dir = TestDir::of(
        "[child.s]\nshell = \"sleep 1000 & (trap '' TERM HUP; sleep 1000) & echo up; wait\"\nreplicas = 20\n",
    );
    let up = dir.up(&[]);
    up.until(Stream::Stdout, "20 groups", |lines| (lines.len() == 20).then_some(()));
    look_for("three processes of each", || (dir.running("sleep").len() == 40).then_some(()));
    up.signal(Signal::KILL);
    assert_eq!(up.end().code, None);
    dir.has_no_processes_left();
}
