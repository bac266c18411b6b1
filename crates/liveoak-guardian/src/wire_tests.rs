//! Tests of the form of messages: each message has one form, and no bytes can harm the reader.

use super::*;
use proptest::prelude::*;

fn tags() -> impl Strategy<Value = Tag> {
    prop::collection::vec(any::<u8>(), 0..=MAX_TAG).prop_map(|bytes| Tag::new(&bytes).unwrap())
}

fn streams() -> impl Strategy<Value = Stream> {
    prop::sample::select(vec![Stream::Null, Stream::Pipe, Stream::Given, Stream::Merged])
}

fn requests() -> impl Strategy<Value = Request> {
    let number = any::<u64>();
    let secret = any::<[u8; SECRET_BYTES]>().prop_map(Secret);
    prop_oneof![
        (number, number, secret.clone()).prop_map(|(mark, hold_ns, secret)| Request::Begin {
            mark,
            hold_ns,
            secret
        }),
        (number, [streams(), streams(), streams()], tags()).prop_map(|(id, streams, tag)| Request::Spawn {
            id,
            streams,
            tag
        }),
        (number, any::<u8>(), prop::sample::select(vec![Reach::Leader, Reach::Group, Reach::Set]))
            .prop_map(|(id, signal, reach)| Request::Signal { id, signal, reach }),
        number.prop_map(|id| Request::Kill { id }),
        number.prop_map(|id| Request::CloseStreams { id }),
        number.prop_map(|id| Request::Release { id }),
        (number, prop::sample::select(vec![OnDeadline::KillPrograms, OnDeadline::KillProgramsAndClient]))
            .prop_map(|(deadline_ns, action)| Request::Arm { deadline_ns, action }),
        Just(Request::Disarm),
        number.prop_map(|nonce| Request::Ping { nonce }),
        Just(Request::End),
        secret.prop_map(|secret| Request::TakeOver { secret }),
    ]
}

fn endings() -> impl Strategy<Value = Ending> {
    prop_oneof![
        any::<u8>().prop_map(Ending::Code),
        (any::<u8>(), any::<bool>()).prop_map(|(signal, core_dumped)| Ending::Signal { signal, core_dumped }),
        Just(Ending::Lost),
    ]
}

fn events() -> impl Strategy<Value = Event> {
    let (id, pid, errno) = (any::<u64>(), any::<u32>(), any::<i32>());
    let usage = (any::<u64>(), any::<u64>(), any::<u64>())
        .prop_map(|(user_us, system_us, memory_kib)| Usage { user_us, system_us, memory_kib });
    let steps = (1u8..=11).prop_map(|number| step(number).unwrap());
    let states = (1u8..=5).prop_map(|number| state(number).unwrap());
    let reasons = (1u8..=5).prop_map(|number| reason(number).unwrap());
    prop_oneof![
        pid.prop_map(|pid| Event::Hello { pid }),
        (id, pid, any::<[bool; 3]>()).prop_map(|(id, pid, pipes)| Event::Started { id, pid, pipes }),
        (id, steps, errno).prop_map(|(id, step, errno)| Event::Refused { id, step, errno }),
        (id, endings(), usage.clone(), pid).prop_map(|(id, ending, usage, left)| Event::Exited {
            id,
            ending,
            usage,
            left
        }),
        id.prop_map(|id| Event::Gone { id }),
        (id, prop::option::of(1u8..)).prop_map(|(id, by)| Event::Suspended { id, by }),
        (id, errno).prop_map(|(id, errno)| Event::Signalled { id, errno }),
        (id, pid, errno).prop_map(|(id, pid, errno)| Event::KillRefused { id, pid, errno }),
        id.prop_map(|nonce| Event::Pong { nonce }),
        Just(Event::Expired),
        (any::<u8>(), id).prop_map(|(kind, id)| Event::Invalid { kind, id }),
        pid.prop_map(|pid| Event::Stray { pid }),
        (pid, any::<u32>()).prop_map(|(pid, programs)| Event::Adopted { pid, programs }),
        reasons.prop_map(|reason| Event::NotAdopted { reason }),
        ((id, pid, states), prop::option::of(endings()), usage, any::<[bool; 3]>(), tags()).prop_map(
            |((id, pid, state), ending, usage, pipes, tag)| Event::Held {
                id,
                pid,
                state,
                ending,
                usage,
                pipes,
                tag
            }
        ),
    ]
}

proptest! {
    #[test]
    fn a_request_that_was_written_is_read_as_the_same_request(request in requests()) {
        prop_assert_eq!(read_request(write_request(&request).as_bytes()), Ok(request));
    }

    #[test]
    fn an_event_that_was_written_is_read_as_the_same_event(event in events()) {
        prop_assert_eq!(read_event(write_event(&event).as_bytes()), Ok(event));
    }

    #[test]
    fn random_bytes_are_refused_or_have_exactly_this_form(mut bytes in prop::collection::vec(any::<u8>(), 0..MAX_MESSAGE + 40), kind in 0u8..17) {
        if let [version, second, ..] = &mut bytes[..] {
            (*version, *second) = (VERSION, kind);
        }
        if let Ok(request) = read_request(&bytes) {
            let written = write_request(&request);
            prop_assert_eq!(written.as_bytes(), &bytes[..]);
        }
        if let Ok(event) = read_event(&bytes) {
            let written = write_event(&event);
            prop_assert_eq!(written.as_bytes(), &bytes[..]);
        }
    }

    #[test]
    fn a_request_that_was_cut_or_is_longer_is_refused(request in requests(), cut in 1usize..9) {
        let message = write_request(&request);
        let bytes = message.as_bytes();
        // The tag of a spawn is all that is left, so a shorter or longer tag is another request.
        if !matches!(request, Request::Spawn { .. }) {
            let shorter = &bytes[..bytes.len().saturating_sub(cut)];
            prop_assert!(read_request(shorter).is_err());
            let longer = [bytes, &vec![0; cut]].concat();
            prop_assert!(read_request(&longer).is_err());
        }
    }
}

#[test]
fn another_version_is_refused() {
    let message = write_request(&Request::Disarm);
    let mut bytes = message.as_bytes().to_vec();
    bytes[0] = VERSION + 1;
    assert_eq!(read_request(&bytes), Err(Unreadable { kind: 0 }));
}

#[test]
fn the_longest_messages_fit() {
    let tag = Tag::new(&[b'x'; MAX_TAG]).unwrap();
    let spawn = Request::Spawn { id: u64::MAX, streams: [Stream::Pipe; 3], tag };
    assert_eq!(read_request(write_request(&spawn).as_bytes()), Ok(spawn));
    assert!(Tag::new(&[b'x'; MAX_TAG + 1]).is_none());
}

#[test]
fn secrets_are_equal_only_if_each_byte_is() {
    let secret = Secret([7; SECRET_BYTES]);
    assert!(secret.matches(&Secret([7; SECRET_BYTES])));
    for at in 0..SECRET_BYTES {
        let mut other = secret;
        other.0[at] ^= 1;
        assert!(!secret.matches(&other));
    }
    assert_eq!(format!("{secret:?}"), "Secret(..)");
}
