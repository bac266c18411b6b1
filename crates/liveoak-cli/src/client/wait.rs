//! `wait`: until a child is as wanted.

use liveoak::api::{Waited, seconds};

use super::args::WaitArgs;
use super::connect::{Access, find};
use super::failure::Failure;
use super::http::{route_of, with_query};
use super::progress::{Watched, waiting};
use super::words::span;
use super::{Done, paths, print};
use crate::EXIT_FAILED;

/// Runs `liveoak wait`. The exit code is 1 if the child was not as wanted in time.
pub(crate) async fn run(args: &WaitArgs) -> Done {
    let path = paths::cleaned(&args.path)?;
    let server = find(&args.target, Access::Reads).await?;
    let query = [("for", args.wanted.as_str().to_owned()), ("within_s", seconds(args.within).to_string())];
    let route = with_query(&route_of("/v1/wait/{path}", &path), &query);
    let waited: Waited = waiting(&server, Watched::Child(path), server.get_patiently(&route)).await??;
    if args.target.json {
        print::json(&waited)?;
    } else if waited.reached {
        print::text(&format!(
            "{} is {} after {}\n",
            liveoak_config::one_line(&waited.path),
            args.wanted.as_str(),
            span(waited.waited_s)
        ))?;
    }
    if waited.reached {
        return Ok(0);
    }
    let reason = waited.reason.map_or(String::new(), |reason| format!(": {reason}"));
    let text = format!(
        "{} is not {} after {}; it is {}{reason}",
        waited.path,
        args.wanted.as_str(),
        span(waited.waited_s),
        waited.state.as_str(),
    );
    Err(Failure::new(EXIT_FAILED, text).line(format!("`liveoak explain {}` shows why", waited.path)))
}
