//! What single features cost: the polls of a child, watched or not; many checks by closures; and probes.
//!
//! The figures are for comparison on one machine only, like those of the other measurements.

use liveoak::process::{CommandLine, Probe};
use liveoak::{Check, Child, Ctx, PollLimit, Restart, Supervisor};
use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// The polls of one measurement.
const POLLS: u32 = 1_000_000;

/// How often each measurement is repeated; the median counts.
const ROUNDS: usize = 9;

/// The children with checks, and the checks of each.
const CHILDREN: usize = 1_000;

/// The probes of one measurement.
const PROBES: u32 = 200;

/// Prints the cost of a poll of a bare task, of a child, and of a child whose polls are watched.
pub(crate) fn polls() -> Result<(), String> {
    let runtime = single_threaded()?;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let child = || Child::task("busy", |_ctx: Ctx| polled_often());
        let watched = child().watch_polls(PollLimit::new(Duration::from_secs(10)));
        let bare = runtime.block_on(time_of(async { drop(tokio::spawn(polled_often()).await) }));
        rounds.push([
            bare,
            runtime.block_on(time_of(tree_of(child()))),
            runtime.block_on(time_of(tree_of(watched))),
        ]);
    }
    println!("| what is polled | ns per poll |\n|---|---:|");
    for (at, what) in
        ["a bare task", "a child, spans off", "a child whose polls are watched"].iter().enumerate()
    {
        let times = rounds.iter().map(|round| round[at].as_nanos() as f64 / f64::from(POLLS)).collect();
        println!("| {what} | {:.0} |", median(times));
    }
    Ok(())
}

/// Runs many children with three checks each, every second, and prints their share of a core and the memory.
pub(crate) fn checks(seconds: u64) -> Result<(), String> {
    let built = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = built.map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let ask = |_ctx: Ctx| async { Ok::<(), String>(()) };
        let check = || Check::every(Duration::from_secs(1));
        let child = |n: usize| {
            let child = Child::task(format!("c{n}"), |ctx: Ctx| async move { ctx.stopping().await });
            child.readiness(check(), ask).readiness(check(), ask).liveness(check(), ask)
        };
        let tree = (0..CHILDREN).fold(Supervisor::new("bench"), |tree, n| tree.child(child(n)));
        let tree = tree.start().await.map_err(|error| error.to_string())?;
        // Until memory is in use that every run needs.
        tokio::time::sleep(Duration::from_secs(5)).await;
        println!("| after s | % of a core | resident KiB |\n|---:|---:|---:|");
        let began = Instant::now();
        let before = cpu_time();
        for step in 1..=10_u32 {
            let until = Duration::from_secs(seconds) * step / 10;
            tokio::time::sleep(until.saturating_sub(began.elapsed())).await;
            let (took, used) = (began.elapsed(), cpu_time() - before);
            let share = used.as_secs_f64() / took.as_secs_f64() * 100.0;
            println!("| {} | {share:.2} | {} |", took.as_secs(), crate::measure::resident() / 1024);
        }
        drop(tree.stop().await);
        Ok(())
    })
}

/// Prints the time and the CPU time of a probe over TCP, over HTTP, and by a command. The server is in the same process.
pub(crate) fn probes() -> Result<(), String> {
    let runtime = single_threaded()?;
    let address = serve().map_err(|error| error.to_string())?;
    let tcp = Probe::tcp(&address).map_err(|error| error.to_string())?;
    let http = Probe::http(&format!("http://{address}/")).map_err(|error| error.to_string())?;
    let command = Probe::command(CommandLine::new("/bin/true"));
    println!("| probe | µs each | CPU µs each |\n|---|---:|---:|");
    for (what, probe) in [("tcp", tcp), ("http", http), ("command (`/bin/true`)", command)] {
        let run = probe.start();
        let (began, before) = (Instant::now(), cpu_time());
        for _ in 0..PROBES {
            runtime.block_on(run.check()).map_err(|failure| format!("{what}: {failure}"))?;
        }
        let each = |time: Duration| time.as_micros() as f64 / f64::from(PROBES);
        println!("| {what} | {:.0} | {:.0} |", each(began.elapsed()), each(cpu_time() - before));
    }
    Ok(())
}

fn single_threaded() -> Result<Runtime, String> {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    built.map_err(|error| error.to_string())
}

/// Starts a tree with this child, waits until the child has ended, and stops the tree.
async fn tree_of(child: Child) {
    let tree = match Supervisor::new("bench").child(child.restart(Restart::Temporary)).start().await {
        Ok(tree) => tree,
        Err(error) => panic!("{error}"),
    };
    match tree.handle().child("/bench/busy") {
        Ok(busy) => drop(busy.exited().await),
        Err(refusal) => panic!("{refusal}"),
    }
    drop(tree.stop().await);
}

/// Is polled very often: each poll asks for the next.
fn polled_often() -> impl Future<Output = ()> + Send {
    let mut left = POLLS;
    poll_fn(move |cx| {
        left -= 1;
        if left == 0 {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

async fn time_of(work: impl Future<Output = ()>) -> Duration {
    let began = Instant::now();
    work.await;
    began.elapsed()
}

/// Answers each connection like a small HTTP server, in a thread. Returns its address.
fn serve() -> std::io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut request = [0; 1024];
            // The TCP probe sends nothing.
            if stream.read(&mut request).is_ok_and(|read| read > 0) {
                let _ =
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            }
        }
    });
    Ok(address)
}

/// Returns the CPU time of this process and of its children that have ended (proc(5), `stat`, in hundredths of a second).
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name, in brackets, may contain spaces. The times are the 12th to 15th word after it.
    let words = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(4);
    Duration::from_millis(words.filter_map(|word| word.parse::<u64>().ok()).sum::<u64>() * 10)
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
