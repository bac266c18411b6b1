//! `explain` and `checks`: why a child does what it does, and what its checks say now.

use liveoak::api::{CheckAnswer, Explanation};
use liveoak_config::one_line;

use super::args::{ChecksArgs, ExplainArgs};
use super::connect::{Access, find};
use super::http::{RequestError, route_of};
use super::progress::{Watched, waiting};
use super::table::{Cell, Screen, Style, table};
use super::{Done, paths, print, words};
use crate::{EXIT_FAILED, output};

/// Runs `liveoak explain`.
pub(crate) async fn explain(args: &ExplainArgs) -> Done {
    let path = paths::cleaned(&args.path)?;
    let server = find(&args.target, Access::Reads).await?;
    let explanation: Explanation = server.get(&route_of("/v1/explain/{path}", &path)).await?;
    if args.target.json {
        print::json(&explanation)?;
    } else {
        print::text(
            &explanation.text.lines().map(|line| format!("{}\n", one_line(line))).collect::<String>(),
        )?;
    }
    Ok(0)
}

/// Runs `liveoak checks`. The exit code is 1 if a check has failed.
pub(crate) async fn checks(args: &ChecksArgs) -> Done {
    let asked = paths::all_cleaned(&args.paths)?;
    let server = find(&args.target, Access::Reads).await?;
    let all = async {
        let mut answers: Vec<CheckAnswer> = Vec::new();
        for path in plain_paths(&server, asked).await? {
            let of_path: Vec<CheckAnswer> =
                server.get_patiently(&route_of("/v1/checks/{path}", &path)).await?;
            for answer in of_path {
                if !answers.iter().any(|known| known.path == answer.path && known.check == answer.check) {
                    answers.push(answer);
                }
            }
        }
        Ok::<_, RequestError>(answers)
    };
    let answers = waiting(&server, Watched::Nothing("the answers of the checks"), all).await??;
    if args.target.json {
        print::json(&answers)?;
    } else if answers.is_empty() {
        output::stderr("no checks are declared there\n");
    } else {
        let rows: Vec<[Cell; 6]> = answers.iter().map(row).collect();
        let headline = ["CHILD", "CHECK", "KIND", "ANSWER", "TOOK", "NOTE"];
        print::text(&table(headline, &rows, Screen::of_stdout()))?;
    }
    Ok(if answers.iter().all(|answer| answer.ok) { 0 } else { EXIT_FAILED })
}

/// Returns the paths with each pattern replaced by the children that it matches.
async fn plain_paths(server: &super::http::Server, asked: Vec<String>) -> Result<Vec<String>, RequestError> {
    let mut plain = Vec::new();
    for path in asked {
        if paths::is_pattern(&path) {
            let query = super::http::with_query("/v1/children", &[("path", path)]);
            let children: Vec<liveoak::api::Child> = server.get(&query).await?;
            plain.extend(children.into_iter().filter(|child| !child.is_parent()).map(|child| child.path));
        } else {
            plain.push(path);
        }
    }
    Ok(plain)
}

fn row(answer: &CheckAnswer) -> [Cell; 6] {
    let passed = if answer.ok { Cell::new("ok", Style::Good) } else { Cell::new("failed", Style::Bad) };
    [
        answer.path.as_str().into(),
        answer.check.as_str().into(),
        answer.kind.as_str().into(),
        passed,
        words::span(answer.took_s).into(),
        answer.answer.as_deref().unwrap_or_default().into(),
    ]
}
