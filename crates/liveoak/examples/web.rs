//! A web service: the listener is one child, each connection a member of a dynamic group.
//!
//! A panic in one connection does not affect the others. On a stop, the listener stops first. Then all connections are
//! asked to stop together, and have half a second to finish.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use liveoak::prelude::*;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = std::sync::Arc::new(TcpListener::bind("127.0.0.1:0").await?);
    let address = listener.local_addr()?;
    let connections = Group::temporary("connections", serve).stop_within(Duration::from_millis(500));
    let members = connections.handle();
    let tree = Supervisor::new("web")
        .child(connections)
        .child(Child::task("listener", move |ctx| accept(ctx, listener.clone(), members.clone())))
        .start()
        .await?;

    println!("{}", ask(address, "hello").await?);
    println!("the connection that panics answers: {:?}", ask(address, "panic").await?);
    println!("{}", ask(address, "still there?").await?);

    let report = tree.stop().await;
    println!(
        "stopped in {:?}, {}",
        report.took,
        if report.is_clean() { "no connection was killed" } else { "some were killed" }
    );
    Ok(())
}

async fn accept(
    ctx: Ctx,
    listener: std::sync::Arc<TcpListener>,
    members: GroupHandle<TcpStream>,
) -> io::Result<()> {
    loop {
        let Some(accepted) = ctx.unless_stopping(listener.accept()).await else { return Ok(()) };
        // A full or stopping group refuses the connection and drops it, which closes it.
        let _ = members.spawn(accepted?.0);
    }
}

async fn serve(_ctx: Ctx, mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 256];
    let length = stream.read(&mut buffer).await?;
    let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
    assert!(text != "panic", "panics on request");
    stream.write_all(format!("you said: {text}").as_bytes()).await
}

async fn ask(address: std::net::SocketAddr, text: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(text.as_bytes()).await?;
    let mut answer = String::new();
    // A connection whose task panicked may be reset.
    let _ = stream.read_to_string(&mut answer).await;
    Ok(answer)
}
