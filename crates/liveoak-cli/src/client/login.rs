//! `login`: a one-time address for a browser.

use liveoak::api::Login;

use super::args::Target;
use super::connect::{Access, find};
use super::{Done, print};

/// Prints a one-time address.
pub(crate) async fn run(target: &Target) -> Done {
    let server = find(target, Access::Reads).await?;
    let login: Login = server.post_nothing("/v1/logins").await?;
    if target.json {
        print::json(&login)?;
    } else {
        print::text(&format!("{}\n", login.address))?;
    }
    Ok(0)
}
