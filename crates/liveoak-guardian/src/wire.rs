//! The form of messages in bytes: one version byte, one byte for the kind, then fields of fixed length in little endian,
//! and a tag at the end. One message is one packet.
//!
//! Reading never panics, refuses unknown values, and refuses bytes after the end. So a message has exactly one form.

use crate::ending::{Ending, Usage};
use crate::message::{
    Event, HeldState, MAX_TAG, NotAdopted, OnDeadline, Reach, Request, SECRET_BYTES, Secret, Step, Stream,
    Tag,
};

/// The version of the form. Both sides are built from the same source, except after an upgrade of the client.
pub(crate) const VERSION: u8 = 1;

/// The room for the longest message.
pub(crate) const MAX_MESSAGE: usize = 384;

/// Why a message cannot be read: the kind that it claims, or zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub(crate) kind: u8,
}

/// A message in bytes.
pub(crate) struct Message {
    bytes: [u8; MAX_MESSAGE],
    len: usize,
}

impl Message {
    fn new(kind: u8) -> Message {
        let mut message = Message { bytes: [0; MAX_MESSAGE], len: 0 };
        message.put(&[VERSION, kind]);
        message
    }

    /// Appends bytes. All messages fit into [`MAX_MESSAGE`]; a test encodes the longest ones.
    fn put(&mut self, bytes: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.len..self.len + bytes.len()) {
            room.copy_from_slice(bytes);
            self.len += bytes.len();
        }
    }

    fn u8(mut self, value: u8) -> Message {
        self.put(&[value]);
        self
    }

    fn u32(mut self, value: u32) -> Message {
        self.put(&value.to_le_bytes());
        self
    }

    fn i32(self, value: i32) -> Message {
        self.u32(value.cast_unsigned())
    }

    fn u64(mut self, value: u64) -> Message {
        self.put(&value.to_le_bytes());
        self
    }

    fn flags(self, flags: [bool; 3]) -> Message {
        let [a, b, c] = flags.map(u8::from);
        self.u8(a | b << 1 | c << 2)
    }

    fn ending(self, ending: Option<Ending>) -> Message {
        match ending {
            None => self.u8(0).u8(0),
            Some(Ending::Code(code)) => self.u8(1).u8(code),
            Some(Ending::Signal { signal, core_dumped: false }) => self.u8(2).u8(signal),
            Some(Ending::Signal { signal, core_dumped: true }) => self.u8(3).u8(signal),
            Some(Ending::Lost) => self.u8(4).u8(0),
        }
    }

    fn usage(self, usage: Usage) -> Message {
        self.u64(usage.user_us).u64(usage.system_us).u64(usage.memory_kib)
    }

    fn secret(mut self, secret: &Secret) -> Message {
        self.put(&secret.0);
        self
    }

    fn tag(mut self, tag: &Tag) -> Message {
        self.put(tag.as_bytes());
        self
    }

    /// Returns the bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// Reads the fields of a message.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Reads version and kind.
    fn new(bytes: &'a [u8]) -> Result<(u8, Fields<'a>), Unreadable> {
        match bytes {
            [VERSION, kind, rest @ ..] => Ok((*kind, Fields { rest })),
            _ => Err(Unreadable { kind: 0 }),
        }
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*first)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn flags(&mut self) -> Option<[bool; 3]> {
        let bits = self.u8().filter(|bits| *bits < 8)?;
        Some([bits & 1 != 0, bits & 2 != 0, bits & 4 != 0])
    }

    fn ending(&mut self) -> Option<Option<Ending>> {
        let (kind, value) = (self.u8()?, self.u8()?);
        Some(match (kind, value) {
            (0, 0) => None,
            (1, code) => Some(Ending::Code(code)),
            (2 | 3, signal) => Some(Ending::Signal { signal, core_dumped: kind == 3 }),
            (4, 0) => Some(Ending::Lost),
            _ => return None,
        })
    }

    fn usage(&mut self) -> Option<Usage> {
        Some(Usage { user_us: self.u64()?, system_us: self.u64()?, memory_kib: self.u64()? })
    }

    fn secret(&mut self) -> Option<Secret> {
        self.array::<SECRET_BYTES>().map(Secret)
    }

    /// Reads all that is left.
    fn tag(&mut self) -> Option<Tag> {
        Tag::new(std::mem::take(&mut self.rest)).filter(|tag| tag.as_bytes().len() <= MAX_TAG)
    }

    /// Returns the value if it was read and nothing is left.
    fn end<T>(&self, value: Option<T>, kind: u8) -> Result<T, Unreadable> {
        value.filter(|_| self.rest.is_empty()).ok_or(Unreadable { kind })
    }
}

/// Gives the variants of an enum numbers, from 1.
macro_rules! numbered {
    ($type:ident, $to:ident, $from:ident: $($number:literal $variant:ident),+) => {
        fn $to(value: $type) -> u8 {
            match value { $($type::$variant => $number),+ }
        }
        fn $from(number: u8) -> Option<$type> {
            match number { $($number => Some($type::$variant),)+ _ => None }
        }
    };
}

numbered!(Stream, stream_number, stream: 1 Null, 2 Pipe, 3 Given, 4 Merged);
numbered!(Reach, reach_number, reach: 1 Leader, 2 Group, 3 Set);
numbered!(OnDeadline, on_deadline_number, on_deadline: 1 KillPrograms, 2 KillProgramsAndClient);
numbered!(HeldState, state_number, state: 1 Starting, 2 Running, 3 Ended, 4 Gone, 5 Refused);
numbered!(NotAdopted, reason_number, reason: 1 ClientAlive, 2 Secret, 3 User, 4 Ending, 5 Request);
numbered!(Step, step_number, step:
    1 Request, 2 Full, 3 Ending, 4 Pipes, 5 Fork, 6 Spec, 7 Identity, 8 Streams, 9 Setup, 10 Folder, 11 Exec);

/// Returns the number of a step, as a child process reports it before its exec.
pub(crate) fn step_to_byte(step: Step) -> u8 {
    step_number(step)
}

/// Returns the step of a number.
pub(crate) fn step_from_byte(byte: u8) -> Option<Step> {
    step(byte)
}

/// Writes a request.
pub(crate) fn write_request(request: &Request) -> Message {
    match request {
        Request::Begin { mark, hold_ns, secret } => Message::new(1).u64(*mark).u64(*hold_ns).secret(secret),
        Request::Spawn { id, streams, tag } => {
            let [stdin, stdout, stderr] = streams.map(stream_number);
            Message::new(2).u64(*id).u8(stdin).u8(stdout).u8(stderr).tag(tag)
        }
        Request::Signal { id, signal, reach } => {
            Message::new(3).u64(*id).u8(*signal).u8(reach_number(*reach))
        }
        Request::Kill { id } => Message::new(4).u64(*id),
        Request::CloseStreams { id } => Message::new(5).u64(*id),
        Request::Release { id } => Message::new(6).u64(*id),
        Request::Arm { deadline_ns, action } => {
            Message::new(7).u64(*deadline_ns).u8(on_deadline_number(*action))
        }
        Request::Disarm => Message::new(8),
        Request::Ping { nonce } => Message::new(9).u64(*nonce),
        Request::End => Message::new(10),
        Request::TakeOver { secret } => Message::new(11).secret(secret),
    }
}

/// Reads a request.
///
/// # Errors
/// When the bytes are not exactly one request.
pub(crate) fn read_request(bytes: &[u8]) -> Result<Request, Unreadable> {
    let (kind, mut fields) = Fields::new(bytes)?;
    let request = request_fields(kind, &mut fields);
    fields.end(request, kind)
}

fn request_fields(kind: u8, f: &mut Fields<'_>) -> Option<Request> {
    Some(match kind {
        1 => Request::Begin { mark: f.u64()?, hold_ns: f.u64()?, secret: f.secret()? },
        2 => Request::Spawn {
            id: f.u64()?,
            streams: [stream(f.u8()?)?, stream(f.u8()?)?, stream(f.u8()?)?],
            tag: f.tag()?,
        },
        3 => Request::Signal { id: f.u64()?, signal: f.u8()?, reach: reach(f.u8()?)? },
        4 => Request::Kill { id: f.u64()? },
        5 => Request::CloseStreams { id: f.u64()? },
        6 => Request::Release { id: f.u64()? },
        7 => Request::Arm { deadline_ns: f.u64()?, action: on_deadline(f.u8()?)? },
        8 => Request::Disarm,
        9 => Request::Ping { nonce: f.u64()? },
        10 => Request::End,
        11 => Request::TakeOver { secret: f.secret()? },
        _ => return None,
    })
}

/// Writes an event.
pub(crate) fn write_event(event: &Event) -> Message {
    match event {
        Event::Hello { pid } => Message::new(1).u32(*pid),
        Event::Started { id, pid, pipes } => Message::new(2).u64(*id).u32(*pid).flags(*pipes),
        Event::Refused { id, step, errno } => Message::new(3).u64(*id).u8(step_number(*step)).i32(*errno),
        Event::Exited { id, ending, usage, left } => {
            Message::new(4).u64(*id).ending(Some(*ending)).usage(*usage).u32(*left)
        }
        Event::Gone { id } => Message::new(5).u64(*id),
        Event::Suspended { id, by } => Message::new(6).u64(*id).u8(by.unwrap_or(0)),
        Event::Signalled { id, errno } => Message::new(7).u64(*id).i32(*errno),
        Event::KillRefused { id, pid, errno } => Message::new(8).u64(*id).u32(*pid).i32(*errno),
        Event::Pong { nonce } => Message::new(9).u64(*nonce),
        Event::Expired => Message::new(10),
        Event::Invalid { kind, id } => Message::new(11).u8(*kind).u64(*id),
        Event::Stray { pid } => Message::new(12).u32(*pid),
        Event::Adopted { pid, programs } => Message::new(13).u32(*pid).u32(*programs),
        Event::NotAdopted { reason } => Message::new(14).u8(reason_number(*reason)),
        Event::Held { id, pid, state, ending, usage, pipes, tag } => {
            let head = Message::new(15).u64(*id).u32(*pid).u8(state_number(*state));
            head.ending(*ending).usage(*usage).flags(*pipes).tag(tag)
        }
    }
}

/// Reads an event.
///
/// # Errors
/// When the bytes are not exactly one event.
pub(crate) fn read_event(bytes: &[u8]) -> Result<Event, Unreadable> {
    let (kind, mut fields) = Fields::new(bytes)?;
    let event = event_fields(kind, &mut fields);
    fields.end(event, kind)
}

fn event_fields(kind: u8, f: &mut Fields<'_>) -> Option<Event> {
    Some(match kind {
        1 => Event::Hello { pid: f.u32()? },
        2 => Event::Started { id: f.u64()?, pid: f.u32()?, pipes: f.flags()? },
        3 => Event::Refused { id: f.u64()?, step: step(f.u8()?)?, errno: f.i32()? },
        4 => Event::Exited { id: f.u64()?, ending: f.ending()??, usage: f.usage()?, left: f.u32()? },
        5 => Event::Gone { id: f.u64()? },
        6 => Event::Suspended { id: f.u64()?, by: Some(f.u8()?).filter(|by| *by != 0) },
        7 => Event::Signalled { id: f.u64()?, errno: f.i32()? },
        8 => Event::KillRefused { id: f.u64()?, pid: f.u32()?, errno: f.i32()? },
        9 => Event::Pong { nonce: f.u64()? },
        10 => Event::Expired,
        11 => Event::Invalid { kind: f.u8()?, id: f.u64()? },
        12 => Event::Stray { pid: f.u32()? },
        13 => Event::Adopted { pid: f.u32()?, programs: f.u32()? },
        14 => Event::NotAdopted { reason: reason(f.u8()?)? },
        15 => Event::Held {
            id: f.u64()?,
            pid: f.u32()?,
            state: state(f.u8()?)?,
            ending: f.ending()?,
            usage: f.usage()?,
            pipes: f.flags()?,
            tag: f.tag()?,
        },
        _ => return None,
    })
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
