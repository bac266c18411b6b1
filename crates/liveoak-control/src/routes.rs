//! Finds the route of a request in the route table, and calls its handler.

use crate::answer::{self, Answer};
use crate::request::Request;
use crate::server::Server;
use crate::{apply, command, crashes, diagnose, health, moment, read, stream};
use liveoak_api::{Login, Method, Problem, ROUTES, Route};
use std::sync::Arc;
use std::time::Instant;

/// What the path of a request leads to.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    /// A route, and what stands for `{path}`.
    Route(&'static Route, &'a str),
    /// A route of another method.
    Other(&'static Route),
    /// Nothing.
    Nothing,
}

/// Finds a route. A HEAD request counts as a GET request.
pub(crate) fn find<'a>(method: &hyper::Method, path: &'a str) -> Found<'a> {
    let matching = ROUTES.iter().filter_map(|route| tail(route.path, path).map(|tail| (route, tail)));
    let mut other = None;
    for (route, tail) in matching {
        let fits = match route.method {
            Method::Get => method == hyper::Method::GET || method == hyper::Method::HEAD,
            Method::Post => method == hyper::Method::POST,
        };
        if fits {
            return Found::Route(route, tail);
        }
        other = Some(route);
    }
    other.map_or(Found::Nothing, Found::Other)
}

/// Returns the text at the place of `{path}`, if the path of a request matches that of a route. The text is empty if the
/// route has no `{path}`.
fn tail<'a>(route: &str, path: &'a str) -> Option<&'a str> {
    match route.strip_suffix("{path}") {
        Some(before) => path.strip_prefix(before).filter(|tail| !tail.is_empty()),
        None => (route == path).then_some(""),
    }
}

/// Returns the problem of a path that leads to nothing.
pub(crate) fn nothing(path: &str) -> Problem {
    let near = crate::request::nearest(path, ROUTES.iter().map(|route| route.path));
    let problem = Problem::new("no-such-route", format!("there is no route {path:?}"));
    problem.expected("a route of /v1/openapi.json").near_miss(near)
}

/// Answers a request.
pub(crate) async fn handle(server: &Arc<Server>, request: Request) -> Result<Answer, Problem> {
    let answer = answer_to(server, &request).await;
    if request.route.method == Method::Get {
        return answer;
    }
    Ok(command::settle(server, &request, answer).await)
}

async fn answer_to(server: &Arc<Server>, request: &Request) -> Result<Answer, Problem> {
    // Only the routes that show the tree have a moment.
    if let Some(tree) = moment::asked(server, request).await? {
        return read::at_moment(server, request, tree);
    }
    match request.route.path {
        "/v1/tree" => Ok(answer::json(&read::tree(server))),
        "/v1/status" => Ok(answer::json(&read::status(server))),
        "/v1/children" => Ok(answer::json(&read::children(server, request)?)),
        "/v1/children/{path}" => Ok(answer::json(&read::child(server, request)?)),
        "/v1/explain/{path}" => Ok(answer::json(&read::explain(server, request)?)),
        "/v1/diagnose" => Ok(answer::json(&diagnose::diagnose(server, request).await?)),
        "/v1/checks/{path}" => Ok(answer::json(&read::checks(server, request).await?)),
        "/v1/wait/{path}" => Ok(answer::json(&read::wait(server, request).await?)),
        "/v1/report" => Ok(answer::json(&read::report(server)?)),
        "/v1/events" => stream::events(server, request).await,
        "/v1/logs" => stream::logs(server, request).await,
        "/v1/crashes" => Ok(answer::json(&crashes::list(server, request).await?)),
        "/v1/openapi.json" => Ok(answer::document(liveoak_api::OPENAPI)),
        "/v1/commands/mode" => Ok(answer::json(&command::mode(server, request).await?)),
        "/v1/commands/apply" => apply::apply(server, request).await,
        "/v1/commands/scale" => apply::scale(server, request).await,
        "/v1/commands/down" => Ok(answer::json(&command::down(server, request).await?)),
        "/v1/logins" => Ok(answer::json(&new_login(server, request)?)),
        "/login" => login(server, request),
        "/healthz" => Ok(health::healthz(server, request.from.is_trusted).await),
        "/readyz" => Ok(health::readyz(server)),
        "/metrics" => Ok(answer::metrics(read::metrics(server))),
        path => match command::of_route(path) {
            Some(command) => command::children(server, request, command).await,
            None => unreachable!("a test asks every route of the table"),
        },
    }
}

/// Makes a one-time address for a browser.
fn new_login(server: &Server, request: &Request) -> Result<Login, Problem> {
    if !request.from.is_local {
        let problem = Problem::new("socket-only", "a one-time address is made only for the user of the tree");
        return Err(problem.expected("the unix socket: `liveoak login`"));
    }
    let no_address = || {
        let problem = Problem::new("no-address", "the tree listens on no TCP address");
        problem.expected("a start with `liveoak up --listen 127.0.0.1:7777`")
    };
    let access = server.access.as_ref().ok_or_else(no_address)?;
    access.new_login().map_err(|error| Problem::new("refused", error.to_string()))
}

/// Opens a one-time address: gives the browser a cookie, and leads it to the tree.
fn login(server: &Server, request: &Request) -> Result<Answer, Problem> {
    let over = || Problem::new("login-over", "the tree listens on no TCP address");
    if request.from.only_head {
        // A look at the address does not use it up.
        return Ok(answer::redirect("/v1/tree", None));
    }
    let access = server.access.as_ref().ok_or_else(over)?;
    let cookie = access.open(request.parameter("code").unwrap_or_default(), Instant::now())?;
    Ok(answer::redirect("/v1/tree", Some(&cookie)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_finds_its_route_and_the_child_in_it() {
        let get = hyper::Method::GET;
        let found = find(&get, "/v1/children/ingest/kafka");
        assert!(matches!(found, Found::Route(route, "ingest/kafka") if route.path == "/v1/children/{path}"));
        assert!(
            matches!(find(&get, "/v1/children"), Found::Route(route, "") if route.path == "/v1/children")
        );
        assert!(matches!(find(&hyper::Method::HEAD, "/readyz"), Found::Route(..)));
        assert!(matches!(find(&hyper::Method::POST, "/v1/tree"), Found::Other(_)));
        assert!(matches!(find(&get, "/v1/commands/stop"), Found::Other(_)));
        for path in ["/", "/v1", "/v1/children/", "/v1/tree/", "/V1/tree", "//v1/tree"] {
            assert!(matches!(find(&get, path), Found::Nothing), "{path}");
        }
        assert_eq!(nothing("/v1/tre").near_miss.as_deref(), Some("/v1/tree"));
    }
}
