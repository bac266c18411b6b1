//! What is wrong in a real tree, and what is not.

use crate::client::get;
use crate::{Served, shop, steady};
use liveoak_runtime::{Child, ChildState, Ctx, IdleReason, Restart, Supervisor};

/// Waits until a child has ended for good.
fn finished(served: &Served, path: &str) {
    let is_over = |view: &liveoak_runtime::ChildView| view.state == ChildState::Idle(IdleReason::Finished);
    served.runtime.block_on(served.tree.wait_for(path, is_over)).unwrap();
}

#[test]
fn nothing_is_wrong_in_a_quiet_tree() {
    let served =
        Served::new((0..30).fold(shop(), |shop, nth| shop.child(steady(&format!("c{nth}"))))).ready();
    let answer = get(&served.socket, "/v1/diagnose");
    assert_eq!((answer.status, answer.body.as_str()), (200, "[]"));
}

#[test]
fn a_taken_port_is_found_with_the_process_that_has_it() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap();
    let web = Child::task("web", move |_: Ctx| async move {
        std::net::TcpListener::bind(address)
            .map(drop)
            .map_err(|error| format!("cannot listen at {address}: {error}"))
    });
    let below = Supervisor::new("below").child(web.restart(Restart::Temporary)).child(steady("other"));
    let served = Served::new(Supervisor::new("shop").child(below).child(steady("api"))).ready();
    finished(&served, "/shop/below/web");
    let all = get(&served.socket, "/v1/diagnose").json();
    let findings = all.as_array().unwrap();
    let kinds: Vec<_> = findings.iter().map(|one| (one["finding"].as_str(), one["path"].as_str())).collect();
    let web = Some("/shop/below/web");
    assert_eq!(kinds, [(Some("given-up"), web), (Some("port-taken"), web)], "{all}");
    let evidence = findings[1]["evidence"].as_str().unwrap();
    let holder = format!("process {} (", std::process::id());
    assert!(evidence.contains(&holder) && evidence.contains(&format!("listens at {address}")), "{evidence}");
    assert!(findings.iter().all(|one| one["since"].is_string() && one["command"].is_string()), "{all}");
    for (path, count) in
        [("below", 2), ("below/*", 2), ("below/other", 0), ("api", 0), ("**", 2), ("/shop", 2)]
    {
        let found = get(&served.socket, &format!("/v1/diagnose?path={path}")).json();
        assert_eq!(found.as_array().map(Vec::len), Some(count), "{path}: {found}");
    }
    let answer = get(&served.socket, "/v1/diagnose?path=below/wbe");
    assert_eq!((answer.status, answer.code().as_str()), (404, "no-such-child"));
    assert_eq!(answer.json()["near_miss"], "/shop/below/web");
}
