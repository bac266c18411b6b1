//! The verbs that see and steer a running tree, over its control socket.
//!
//! - [`args`]: their command line
//! - [`connect`]: finds the tree; [`http`] and [`sse`] speak to it
//! - [`list`]: `ps`, `tree`, `status`, `trees`; [`explain`]: `explain`, `checks`;
//!   [`diagnose`]
//! - [`stream`]: `events`, `logs`, `attach`; [`lines`]: how one event or line is printed; [`crashes`]
//! - [`past`]: the same of a tree that does not run, from its files
//! - [`command`]: `start` to `release`; [`mode`]; [`apply`]: `apply`, `scale`; [`wait`]; [`down`]
//! - [`background`]: `up -d`; [`login`]: the address for a browser
//! - [`pages`]: completions and man pages
//! - [`paths`]: paths of children as people write them
//! - [`table`], [`words`], [`print`]: what people and scripts get to see
//! - [`ask`]: questions on a terminal; [`progress`]: lines about what is waited for; [`failure`]: errors and exit codes

mod apply;
pub(crate) mod args;
mod ask;
mod background;
mod command;
mod connect;
mod crashes;
mod diagnose;
mod down;
mod explain;
mod failure;
mod http;
mod lines;
mod list;
mod login;
mod mode;
mod pages;
mod past;
mod paths;
mod print;
mod progress;
mod sse;
mod stream;
mod table;
mod wait;
mod words;

use std::process::ExitCode;

use args::ClientCommand;
use failure::Failure;

use crate::args::UpArgs;

/// The exit code of a verb that could be carried out, even if what it shows is not good.
type Done = Result<u8, Failure>;

/// Runs a verb. Prints its failure.
pub(crate) fn run(command: ClientCommand) -> ExitCode {
    code_of(match command {
        ClientCommand::Completions { shell } => pages::completions(shell),
        ClientCommand::Man { folder } => pages::man(folder.as_deref()),
        command => block_on(run_verb(command)),
    })
}

/// Starts a tree in the background. Prints its failure.
pub(crate) fn up_in_background(args: &UpArgs) -> ExitCode {
    code_of(block_on(background::up(args)))
}

fn block_on(verb: impl Future<Output = Done>) -> Done {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let done = runtime.block_on(verb);
            // A thread may still wait to write to a pipe that is not read.
            runtime.shutdown_background();
            done
        }
        Err(error) => Err(Failure::failed(format!("cannot make a Tokio runtime: {error}"))),
    }
}

fn code_of(done: Done) -> ExitCode {
    ExitCode::from(done.unwrap_or_else(|failure| {
        failure.print();
        failure.code
    }))
}

async fn run_verb(command: ClientCommand) -> Done {
    match command {
        ClientCommand::Ps(args) => list::ps(&args).await,
        ClientCommand::Tree(args) => list::tree(&args).await,
        ClientCommand::Status(args) => list::status(&args.target).await,
        ClientCommand::Trees(args) => list::trees(args.json).await,
        ClientCommand::Explain(args) => explain::explain(&args).await,
        ClientCommand::Diagnose(args) => diagnose::run(&args).await,
        ClientCommand::Checks(args) => explain::checks(&args).await,
        ClientCommand::Events(args) => stream::events(&args).await,
        ClientCommand::Logs(args) => stream::logs(&args).await,
        ClientCommand::Crashes(args) => crashes::crashes(&args).await,
        ClientCommand::Attach(args) => stream::attach(&args).await,
        ClientCommand::Start(args) => command::run("start", &args).await,
        ClientCommand::Stop(args) => command::run("stop", &args).await,
        ClientCommand::Restart(args) => command::run("restart", &args).await,
        ClientCommand::Pause(args) => command::run("pause", &args).await,
        ClientCommand::Resume(args) => command::run("resume", &args).await,
        ClientCommand::Quarantine(args) => command::run("quarantine", &args).await,
        ClientCommand::Release(args) => command::run("release", &args).await,
        ClientCommand::Mode(args) => mode::run(&args).await,
        ClientCommand::Apply(args) => apply::apply(&args).await,
        ClientCommand::Scale(args) => apply::scale(&args).await,
        ClientCommand::Wait(args) => wait::run(&args).await,
        ClientCommand::Down(args) => down::run(&args).await,
        ClientCommand::Login(args) => login::run(&args.target).await,
        // These two have no tree.
        ClientCommand::Completions { shell } => pages::completions(shell),
        ClientCommand::Man { folder } => pages::man(folder.as_deref()),
    }
}
