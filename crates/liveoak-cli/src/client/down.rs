//! `down`: the end of a whole tree.

use std::time::Duration;

use liveoak::api::{DownRequest, Report, StoppedChild, seconds};
use liveoak_config::one_line;

use super::args::DownArgs;
use super::connect::{Access, find};
use super::progress::{Watched, waiting};
use super::table::{Cell, Screen, Style, aligned};
use super::words::{count, span};
use super::{Done, print};

/// The most children that the text lists.
const MAX_SHOWN: usize = 50;
/// How long `down` waits after the report until the socket is gone.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// Runs `liveoak down`. The exit codes are those of `liveoak up`.
pub(crate) async fn run(args: &DownArgs) -> Done {
    let server = find(&args.target, Access::Changes).await?;
    let request = DownRequest {
        by: args.reason.by.clone(),
        because: args.reason.because.clone(),
        within_s: args.within.map(seconds),
    };
    let answer = server.post("/v1/commands/down", &request);
    let report: Report = waiting(&server, Watched::Tree, answer).await??;
    // So that `liveoak up` may follow at once. A library program may keep its socket open.
    let _ = tokio::time::timeout(GONE_WITHIN, server.closed()).await;
    if args.target.json {
        print::json(&report)?;
    } else {
        print::text(&text(&report, Screen::of_stdout()))?;
    }
    Ok(report.exit_code())
}

fn text(report: &Report, screen: Screen) -> String {
    let mut text = match &report.failure {
        Some(failure) => format!("{} has failed: {}\n", one_line(&report.tree), one_line(&failure.reason)),
        None => format!("{} has ended: {}\n", one_line(&report.tree), one_line(&report.exit.text)),
    };
    let forced = |child: &StoppedChild| matches!(child.stage.as_str(), "killed" | "abandoned");
    let listed = |child: &&StoppedChild| report.children.len() <= MAX_SHOWN || forced(child);
    let row = |child: &StoppedChild| -> [Cell; 4] {
        let style = if forced(child) { Style::Bad } else { Style::Plain };
        let exit = child.exit.as_ref().map_or("", |exit| exit.text.as_str());
        let stuck = child.stuck.as_ref().map_or(String::new(), |place| format!("; stuck at {place}"));
        [
            child.path.as_str().into(),
            Cell::new(child.stage.as_str(), style),
            span(child.took_s).into(),
            format!("{exit}{stuck}").into(),
        ]
    };
    let rows: Vec<[Cell; 4]> = report.children.iter().filter(listed).map(row).collect();
    let shown = rows.len() as u64;
    text.extend(aligned(&rows, screen).lines().map(|line| format!("  {line}\n")));
    let more =
        report.unlisted + report.unlisted_forced + (report.children.len() as u64).saturating_sub(shown);
    if more > 0 {
        text.push_str(&format!("  {}\n", count(more, "more child", "more children")));
    }
    let end = if report.clean { "cleanly" } else { "but not cleanly: a child was killed or abandoned" };
    text.push_str(&format!("the stop took {}, {end}\n", span(report.took_s)));
    text
}
