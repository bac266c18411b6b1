//! A pipeline under rest-for-one: a source, a filter and a sink, connected by channels.
//!
//! When the filter fails, the sink after it is stopped, and both start again. The source before it keeps running. The
//! channels are created outside the children, so a restart does not lose messages that wait in them. Liveoak itself
//! carries no state from one attempt to the next.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use liveoak::prelude::*;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};

type Input = Arc<Mutex<mpsc::Receiver<u32>>>;

fn main() -> ExitCode {
    let (numbers, filtered) = (mpsc::channel(16), mpsc::channel(16));
    let (to_filter, from_source): (_, Input) = (numbers.0, Arc::new(Mutex::new(numbers.1)));
    let (to_sink, from_filter): (_, Input) = (filtered.0, Arc::new(Mutex::new(filtered.1)));

    let pipeline = Supervisor::new("pipeline")
        .strategy(Strategy::RestForOne)
        .auto_shutdown(AutoShutdown::AnySignificant)
        .child(Child::task("source", move |ctx| source(ctx, to_filter.clone())))
        .child(Child::task("filter", move |ctx| filter(ctx, from_source.clone(), to_sink.clone())))
        .child(
            Child::task("sink", move |ctx| sink(ctx, from_filter.clone()))
                .restart(Restart::Transient)
                .significant(),
        );
    liveoak::main(pipeline)
}

async fn source(ctx: Ctx, out: mpsc::Sender<u32>) -> Result<(), mpsc::error::SendError<u32>> {
    println!("source: attempt {}", ctx.attempt());
    for number in 0.. {
        if !ctx.sleep(Duration::from_millis(5)).await {
            break;
        }
        out.send(number).await?;
    }
    Ok(())
}

async fn filter(ctx: Ctx, input: Input, out: mpsc::Sender<u32>) -> Result<(), String> {
    println!("filter: attempt {}", ctx.attempt());
    let mut input = input.lock().await;
    while let Some(Some(number)) = ctx.unless_stopping(input.recv()).await {
        if number == 5 {
            return Err("5 is not allowed".into());
        }
        out.send(number).await.map_err(|error| error.to_string())?;
    }
    Ok(())
}

async fn sink(ctx: Ctx, input: Input) {
    println!("sink:   attempt {}", ctx.attempt());
    let mut input = input.lock().await;
    while let Some(Some(number)) = ctx.unless_stopping(input.recv()).await {
        println!("sink:   {number}");
        if number == 9 {
            break; // The sink is significant: its end ends the whole pipeline.
        }
    }
}
