//! How a program is started.

use super::{Handles, Server, Source};
use crate::channel::Received;
use crate::launch::Launch;
use crate::machine::{Input, Slot};
use crate::message::{Step, Stream};
use crate::os;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use std::os::fd::{AsFd, OwnedFd};

/// A step that failed, and the error number.
type Failed = (Step, i32);

/// The ends of the streams of a program: those of the program, and those of the client.
#[derive(Default)]
struct Ends {
    program: [Option<OwnedFd>; 3],
    client: [Option<OwnedFd>; 3],
}

/// Opens the streams of a program. Given ones are taken from the message.
fn open_streams(streams: [Stream; 3], received: &mut Received) -> Result<Ends, Failed> {
    let mut ends = Ends::default();
    let places = ends.program.iter_mut().zip(&mut ends.client);
    for (at, (stream, (program, client))) in streams.into_iter().zip(places).enumerate() {
        match stream {
            Stream::Null | Stream::Merged => {}
            Stream::Given => *program = Some(received.take().ok_or((Step::Request, libc::EBADF))?),
            Stream::Pipe => {
                let refused = |errno: Errno| (Step::Pipes, errno.raw_os_error());
                let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(refused)?;
                let (theirs, ours) = if at == 0 { (read, write) } else { (write, read) };
                (*program, *client) = (Some(theirs), Some(ours));
            }
        }
    }
    Ok(ends)
}

impl Server {
    /// Forks the program of the present request.
    pub(super) fn start(&mut self, slot: Slot) {
        let input = match self.fork(slot) {
            Ok(pid) => Input::Forked { slot, pid },
            Err((step, errno)) => Input::NotForked { slot, step, errno },
        };
        self.machine.handle(super::now(), input);
    }

    fn fork(&mut self, slot: Slot) -> Result<u32, Failed> {
        let (streams, mut received) =
            std::mem::replace(&mut self.present, ([Stream::Null; 3], Received::nothing()));
        let missing = (Step::Request, if received.lost { libc::EMFILE } else { libc::EBADF });
        let (spec, folder) = (received.take().ok_or(missing)?, received.take().ok_or(missing)?);
        let [stdin, _, stderr] = streams;
        if stdin == Stream::Merged || streams.get(1) == Some(&Stream::Merged) {
            return Err((Step::Request, libc::EINVAL));
        }
        let ends = open_streams(streams, &mut received)?;
        let refused = |errno: Errno| (Step::Pipes, errno.raw_os_error());
        let (answer, answers) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).map_err(refused)?;
        let null = || self.null.as_fd();
        let [program_in, program_out, program_err] = &ends.program;
        let (stdin, stdout) = (
            program_in.as_ref().map_or_else(null, AsFd::as_fd),
            program_out.as_ref().map_or_else(null, AsFd::as_fd),
        );
        let merged = if stderr == Stream::Merged { stdout } else { null() };
        let launch = Launch {
            spec: spec.as_fd(),
            folder: Some(folder.as_fd()),
            streams: [stdin, stdout, program_err.as_ref().map_or(merged, AsFd::as_fd)],
            answer: answers.as_fd(),
            guardian: self.own_pid,
            mark: self.machine.mark_of(slot),
            open_files: self.open_files,
        };
        let (pid, pidfd) =
            os::fork(&self.stack, &launch, Launch::run).map_err(|errno| (Step::Fork, errno))?;
        // Both the parent and the child do this, so that no kill comes too early.
        os::make_group(pid);
        let watched = self.watch(pidfd.as_fd(), Source::Leader(slot), EventFlags::IN);
        if let Err(errno) =
            watched.and_then(|()| self.watch(answer.as_fd(), Source::Answer(slot), EventFlags::IN))
        {
            // Its end would not be seen. It is reaped as an orphan.
            let _dead_already = os::kill(pid, libc::SIGKILL as u8);
            return Err((Step::Setup, errno.raw_os_error()));
        }
        while self.handles.len() <= slot.index() && self.handles.push(Handles::default()) {}
        if let Some(handles) = self.handles.get_mut(slot.index()) {
            *handles = Handles { pidfd: Some(pidfd), answer: Some(answer), streams: ends.client };
        }
        Ok(pid)
    }
}
