//! `diagnose`: what is wrong in a tree, and the command that helps.

use std::time::SystemTime;

use liveoak::api::{Finding, FindingKind};
use liveoak_config::one_line;

use super::args::{DiagnoseArgs, Target};
use super::connect::{Access, find};
use super::http::with_query;
use super::progress::{Watched, waiting};
use super::table::{Screen, Style};
use super::words::span;
use super::{Done, paths, print};
use crate::{EXIT_FAILED, output};

/// Runs `liveoak diagnose`. The exit code is 1 if anything was found.
pub(crate) async fn run(args: &DiagnoseArgs) -> Done {
    let path = args.path.as_deref().map(paths::cleaned).transpose()?;
    let server = find(&args.target, Access::Reads).await?;
    let query: Vec<_> = path.into_iter().map(|path| ("path", path)).collect();
    let route = with_query("/v1/diagnose", &query);
    let found = waiting(&server, Watched::Nothing("the findings"), server.get_patiently(&route)).await?;
    let mut findings: Vec<Finding> = found?;
    for finding in &mut findings {
        finding.command = about_tree(&finding.command, &args.target);
    }
    if args.target.json {
        print::json(&findings)?;
    } else if findings.is_empty() {
        output::stderr("nothing is found to be wrong\n");
    } else {
        let (screen, now) = (Screen::of_stdout(), SystemTime::now());
        let blocks: Vec<String> = findings.iter().map(|finding| block(finding, now, screen)).collect();
        print::text(&blocks.join("\n"))?;
    }
    Ok(if findings.is_empty() { 0 } else { EXIT_FAILED })
}

/// Returns a command with the options that name the tree, as this verb was given them.
fn about_tree(command: &str, target: &Target) -> String {
    let Some(verb) = command.strip_prefix("liveoak ") else { return command.to_owned() };
    let quoted = |text: &str| shlex::try_quote(text).map_or_else(|_| text.to_owned(), Into::into);
    match (&target.socket, &target.tree) {
        (Some(socket), _) => format!("liveoak {verb} --socket {}", quoted(&socket.to_string_lossy())),
        (None, Some(tree)) => format!("liveoak {verb} --tree {}", quoted(tree)),
        (None, None) => command.to_owned(),
    }
}

/// Returns a finding as three lines.
fn block(finding: &Finding, now: SystemTime, screen: Screen) -> String {
    let style = match finding.finding {
        FindingKind::GivenUp | FindingKind::Stuck | FindingKind::PortTaken | FindingKind::DiskFull => {
            Style::Bad
        }
        _ => Style::Warn,
    };
    let lasts = span(now.duration_since(finding.since.0).unwrap_or_default().as_secs_f64());
    format!(
        "{}: {}, since {} ({lasts})\n  {}\n  {} {}\n",
        one_line(&finding.path),
        screen.styled(finding.finding.as_str(), style),
        finding.since,
        one_line(&finding.evidence),
        screen.styled("$", Style::Dim),
        screen.styled(&one_line(&finding.command), Style::Bold),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_names_the_tree_as_the_verb_was_given_it() {
        let target = |socket: Option<&str>, tree: Option<&str>| Target {
            socket: socket.map(Into::into),
            tree: tree.map(str::to_owned),
            json: false,
        };
        let command = "liveoak logs /shop/api -n 50";
        assert_eq!(about_tree(command, &target(None, None)), command);
        assert_eq!(
            about_tree(command, &target(Some("/run/a b.sock"), None)),
            "liveoak logs /shop/api -n 50 --socket '/run/a b.sock'"
        );
        assert_eq!(about_tree(command, &target(None, Some("shop"))), format!("{command} --tree shop"));
        assert_eq!(about_tree("ss -ltnp", &target(None, Some("shop"))), "ss -ltnp");
    }
}
