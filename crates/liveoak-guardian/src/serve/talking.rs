//! The messages of the client and to it, and the calls of a successor.

use super::{Server, Source, now};
use crate::channel::{self, Received};
use crate::machine::{Input, Sending, Slot};
use crate::message::{Event, NotAdopted, Request, Stream};
use crate::wire::{MAX_MESSAGE, read_request, write_event};
use rustix::event::epoll::{self, EventFlags};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with, sockopt::socket_peercred};
use rustix::process::{PidfdFlags, geteuid, pidfd_open};
use std::os::fd::{AsFd, BorrowedFd};

/// The most requests of one turn, so that a client that floods the guardian delays nothing else.
const REQUESTS_OF_A_TURN: usize = 64;

impl Server {
    /// Reads the requests of the client.
    pub(super) fn socket_ready(&mut self) {
        for _ in 0..REQUESTS_OF_A_TURN {
            if !self.machine.accepts_requests() {
                return;
            }
            let Some(socket) = &self.socket else { return };
            // One byte more than a message has, so that a longer one is noticed.
            let mut bytes = [0; MAX_MESSAGE + 1];
            match channel::receive(socket.as_fd(), &mut bytes) {
                Ok((0, _)) => return self.client_closed(),
                Ok((len, received)) => self.request(bytes.get(..len).unwrap_or_default(), received),
                Err(Errno::AGAIN) => return,
                Err(Errno::NOMEM | Errno::NOBUFS) => return,
                Err(_) => return self.client_closed(),
            }
        }
    }

    fn client_closed(&mut self) {
        Server::close(&self.epoll, self.socket.take());
        self.take(Input::ClientClosed);
    }

    fn request(&mut self, bytes: &[u8], mut received: Received) {
        match read_request(bytes) {
            Ok(Request::Begin { mark, hold_ns, secret }) => {
                let kept = self.client.is_none() && self.keep_client(&mut received, hold_ns > 0);
                let begin = Input::Request(Request::Begin { mark, hold_ns, secret });
                self.take(if kept { begin } else { Input::Unreadable { kind: 1 } });
            }
            Ok(request) => {
                let streams =
                    if let Request::Spawn { streams, .. } = request { streams } else { [Stream::Null; 3] };
                self.present = (streams, received);
                self.take(Input::Request(request));
                self.present = ([Stream::Null; 3], Received::nothing());
            }
            Err(unreadable) => self.take(Input::Unreadable { kind: unreadable.kind }),
        }
    }

    /// Takes the client's pidfd, and the socket for a successor. Returns `false` if one is missing.
    fn keep_client(&mut self, received: &mut Received, adoption: bool) -> bool {
        let (client, listener) = (received.take(), received.take());
        let Some(client) = client.filter(|_| adoption == listener.is_some()) else { return false };
        let watched = self.watch(client.as_fd(), Source::Client, EventFlags::IN);
        let watched = watched.and_then(|()| {
            listener
                .iter()
                .try_for_each(|listener| self.watch(listener.as_fd(), Source::Listener, EventFlags::IN))
        });
        (self.client, self.listener) = (Some(client), listener);
        watched.is_ok()
    }

    /// Accepts a call on the socket for successors.
    pub(super) fn listener_ready(&mut self) {
        let Some(listener) = &self.listener else { return };
        let Ok(caller) = accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) else { return };
        let user = socket_peercred(&caller).map(|peer| peer.uid);
        // A caller that sends nothing does not keep others away: the newest one counts.
        Server::close(&self.epoll, self.caller.take());
        let is_allowed = user.is_ok_and(|user| user == geteuid() || user.is_root());
        self.caller = Some(caller);
        if !is_allowed {
            return self.refuse(NotAdopted::User);
        }
        if let Some(caller) = &self.caller
            && self.watch(caller.as_fd(), Source::Caller, EventFlags::IN).is_err()
        {
            self.caller = None;
        }
    }

    /// Reads the message of a process that has called.
    pub(super) fn caller_ready(&mut self) {
        let Some(caller) = &self.caller else { return };
        let mut bytes = [0; MAX_MESSAGE + 1];
        match channel::receive(caller.as_fd(), &mut bytes) {
            Err(Errno::AGAIN) => {}
            Ok((len @ 1.., _)) => match read_request(bytes.get(..len).unwrap_or_default()) {
                Ok(Request::TakeOver { secret }) => self.take(Input::Successor { secret }),
                _ => self.refuse(NotAdopted::Request),
            },
            _ => Server::close(&self.epoll, self.caller.take()),
        }
    }

    /// Tells a process that has called why it does not become the client.
    pub(super) fn refuse(&mut self, reason: NotAdopted) {
        if let Some(caller) = self.caller.take() {
            let message = write_event(&Event::NotAdopted { reason });
            let _not_read = channel::send(caller.as_fd(), message.as_bytes(), &[]);
            Server::close(&self.epoll, Some(caller));
        }
    }

    /// Makes the process that has called the client.
    pub(super) fn adopt(&mut self) {
        let Some(caller) = self.caller.take() else { return };
        let _was_watched = epoll::delete(&self.epoll, &caller);
        Server::close(&self.epoll, self.socket.take());
        let client = socket_peercred(&caller).and_then(|peer| pidfd_open(peer.pid, PidfdFlags::empty()));
        self.interest = EventFlags::IN;
        let watched = self.watch(caller.as_fd(), Source::Socket, self.interest);
        self.client = client.ok();
        if let Some(client) = &self.client {
            // Without this the end of its socket is still seen.
            let _unwatched = self.watch(client.as_fd(), Source::Client, EventFlags::IN);
        }
        self.socket = watched.is_ok().then_some(caller);
        if self.socket.is_none() {
            self.machine.handle(now(), Input::ClientClosed);
        }
    }

    /// Sends the events that wait, as far as the socket takes them.
    pub(super) fn send_events(&mut self) {
        self.send_again = None;
        let mut full = false;
        while let Some(Sending { event, with }) = self.machine.next_event() {
            match self.send(event, with) {
                Ok(()) => {
                    self.sent(event, with);
                    self.machine.sent();
                }
                Err(Errno::AGAIN) => {
                    full = true;
                    break;
                }
                Err(Errno::NOMEM | Errno::NOBUFS | Errno::TOOMANYREFS) => {
                    self.send_again = Some(now().saturating_add(super::SEND_AGAIN));
                    break;
                }
                Err(_) => {
                    self.client_closed();
                    break;
                }
            }
        }
        // The last event may have been what the end waited for.
        self.take(Input::Tick);
        self.set_interest(full);
    }

    fn send(&self, mut event: Event, with: Option<Slot>) -> Result<(), Errno> {
        let socket = self.socket.as_ref().ok_or(Errno::PIPE)?;
        let mut descriptors = [socket.as_fd(); 4];
        let mut count = 0;
        if let Some(handles) = with.and_then(|slot| self.handles.get(slot.index())) {
            let present = handles.pidfd.iter().chain(handles.streams.iter().flatten());
            for (place, descriptor) in descriptors.iter_mut().zip(present) {
                *place = descriptor.as_fd();
                count += 1;
            }
            if let Event::Started { pipes, .. } | Event::Held { pipes, .. } = &mut event {
                pipes.iter_mut().zip(&handles.streams).for_each(|(pipe, stream)| *pipe = stream.is_some());
            }
        }
        let descriptors: &[BorrowedFd<'_>] = descriptors.get(..count).unwrap_or_default();
        channel::send(socket.as_fd(), write_event(&event).as_bytes(), descriptors)
    }

    /// Closes the guardian's copies of the streams that were sent, unless a successor may need them.
    fn sent(&mut self, event: Event, with: Option<Slot>) {
        let keeps = self.machine.keeps_streams();
        let handles = with.and_then(|slot| self.handles.get_mut(slot.index()));
        if let (Some(handles), Event::Started { .. }, false) = (handles, event, keeps) {
            handles.streams = [const { None }; 3];
        }
    }

    /// Watches the socket for requests only while they can be answered, and for room only while events wait.
    fn set_interest(&mut self, full: bool) {
        let Some(socket) = &self.socket else { return };
        let mut wanted = EventFlags::empty();
        wanted.set(EventFlags::IN, self.machine.accepts_requests());
        wanted.set(EventFlags::OUT, full);
        if wanted != self.interest
            && epoll::modify(&self.epoll, socket, Source::Socket.data(), wanted).is_ok()
        {
            self.interest = wanted;
        }
    }
}
