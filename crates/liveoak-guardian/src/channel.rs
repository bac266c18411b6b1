//! Packets with descriptors, over a socket of the kind `SOCK_SEQPACKET`.

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

/// The most descriptors beside a packet.
pub(crate) const MAX_DESCRIPTORS: usize = 5;

/// The descriptors that came beside a packet, in their order.
pub(crate) struct Received {
    descriptors: [Option<OwnedFd>; MAX_DESCRIPTORS],
    /// The next one that [`take`](Received::take) returns.
    next: usize,
    /// `true` if some were lost, because there were too many or this process has no room for them.
    pub(crate) lost: bool,
}

impl Received {
    /// Returns a value without descriptors.
    pub(crate) fn nothing() -> Received {
        Received { descriptors: [const { None }; MAX_DESCRIPTORS], next: 0, lost: false }
    }

    /// Returns the next descriptor.
    pub(crate) fn take(&mut self) -> Option<OwnedFd> {
        let taken = self.descriptors.get_mut(self.next)?.take();
        self.next += 1;
        taken
    }
}

/// Creates both ends of a channel: close-on-exec, and no call blocks.
///
/// # Errors
/// When there is no descriptor left.
pub(crate) fn pair() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
}

/// Sends a packet. It is sent whole or not at all.
///
/// # Errors
/// `AGAIN` when there is no room now, `PIPE` when the other end is closed.
pub(crate) fn send(socket: BorrowedFd<'_>, bytes: &[u8], with: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !with.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(with)) {
        return Err(Errno::INVAL);
    }
    loop {
        match sendmsg(socket, &[IoSlice::new(bytes)], &mut beside, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
        {
            Err(Errno::INTR) => {}
            done => return done.map(drop),
        }
    }
}

/// Receives a packet into `bytes` and returns its length, which is zero if the other end is closed. A packet that is longer
/// than `bytes` is cut.
///
/// # Errors
/// `AGAIN` when there is none.
pub(crate) fn receive(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> Result<(usize, Received), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let message = loop {
        match recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut beside, flags) {
            Err(Errno::INTR) => {}
            done => break done?,
        }
    };
    let mut received = Received { lost: message.flags.contains(ReturnFlags::CTRUNC), ..Received::nothing() };
    let rights = beside.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    for (descriptor, place) in rights.flatten().zip(&mut received.descriptors) {
        *place = Some(descriptor);
    }
    Ok((message.bytes, received))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_packet_arrives_whole_with_its_descriptors_in_their_order() {
        let (a, b) = pair().unwrap();
        let mut bytes = [0; 16];
        assert_eq!(receive(b.as_fd(), &mut bytes).err(), Some(Errno::AGAIN));
        let (read, write) = rustix::pipe::pipe().unwrap();
        send(a.as_fd(), b"one", &[write.as_fd(), read.as_fd()]).unwrap();
        send(a.as_fd(), b"two", &[]).unwrap();
        let (len, mut received) = receive(b.as_fd(), &mut bytes).unwrap();
        assert_eq!((&bytes[..len], received.lost), (&b"one"[..], false));
        let (sent_write, sent_read) = (received.take().unwrap(), received.take().unwrap());
        assert!(received.take().is_none());
        rustix::io::write(&sent_write, b"x").unwrap();
        let mut one = [0; 4];
        assert_eq!(rustix::io::read(&sent_read, &mut one), Ok(1));
        let (len, mut received) = receive(b.as_fd(), &mut bytes).unwrap();
        assert_eq!((&bytes[..len], received.take().is_none()), (&b"two"[..], true));
        drop(a);
        assert_eq!(receive(b.as_fd(), &mut bytes).unwrap().0, 0);
        assert_eq!(send(b.as_fd(), b"x", &[]), Err(Errno::PIPE));
    }

    #[test]
    fn a_full_channel_refuses_a_packet_and_takes_it_when_there_is_room() {
        let (a, b) = pair().unwrap();
        let sent = std::iter::from_fn(|| send(a.as_fd(), &[7; 300], &[]).ok()).count();
        assert!(sent > 10 && send(a.as_fd(), &[7; 300], &[]) == Err(Errno::AGAIN));
        let mut bytes = [0; 300];
        for _ in 0..sent {
            assert_eq!(receive(b.as_fd(), &mut bytes).unwrap().0, 300);
        }
        send(a.as_fd(), &[7; 300], &[]).unwrap();
    }
}
