//! The outbox: each message is delivered once and in order, and the end is reported.

use crate::engine::outbox::{Flushed, Outbox};
use loom::sync::{Arc, Mutex};
use loom::thread;

/// The delivered messages, and how often the end was reported.
type Seen = Arc<Mutex<(Vec<u32>, u32)>>;

fn flush(outbox: &Outbox<u32>, seen: &Seen) {
    if outbox.flush(|message| seen.lock().unwrap().0.push(message)) == Flushed::Closed {
        seen.lock().unwrap().1 += 1;
    }
}

#[test]
fn messages_of_two_threads_are_delivered_when_both_have_flushed() {
    loom::model(|| {
        let (outbox, seen) = (Arc::new(Outbox::default()), Seen::new(Mutex::new((Vec::new(), 0))));
        let threads = [1, 2].map(|first| {
            let (outbox, seen) = (outbox.clone(), seen.clone());
            thread::spawn(move || {
                outbox.push(first);
                outbox.push(first + 10);
                flush(&outbox, &seen);
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        let (mut messages, ends) = seen.lock().unwrap().clone();
        let of = |first| messages.iter().copied().filter(|message| message % 10 == first).collect::<Vec<_>>();
        assert_eq!((of(1), of(2)), (vec![1, 11], vec![2, 12]));
        messages.sort_unstable();
        assert_eq!((messages, ends), (vec![1, 2, 11, 12], 0));
    });
}

#[test]
fn the_end_is_reported_after_the_last_message_even_if_another_thread_delivers_it() {
    loom::model(|| {
        let (outbox, seen) = (Arc::new(Outbox::default()), Seen::new(Mutex::new((Vec::new(), 0))));
        outbox.push(1);
        let closer = {
            let (outbox, seen) = (outbox.clone(), seen.clone());
            thread::spawn(move || {
                outbox.push(2);
                outbox.close();
                flush(&outbox, &seen);
            })
        };
        flush(&outbox, &seen);
        closer.join().unwrap();
        let (messages, ends) = seen.lock().unwrap().clone();
        assert_eq!(messages, [1, 2]);
        assert!(ends >= 1, "the end was not reported");
    });
}

#[test]
fn a_reader_may_push_and_flush_itself() {
    /// Pushes the third message while it delivers the first.
    fn nested(outbox: &Outbox<u32>, seen: &Seen) {
        outbox.flush(|message| {
            seen.lock().unwrap().0.push(message);
            if message == 1 {
                outbox.push(3);
                let flushed = outbox.flush(|_| unreachable!("this thread is delivering already"));
                assert_eq!(flushed, Flushed::All);
            }
        });
    }
    loom::model(|| {
        let (outbox, seen) = (Arc::new(Outbox::default()), Seen::new(Mutex::new((Vec::new(), 0))));
        let pusher = {
            let (outbox, seen) = (outbox.clone(), seen.clone());
            thread::spawn(move || {
                outbox.push(2);
                nested(&outbox, &seen);
            })
        };
        outbox.push(1);
        nested(&outbox, &seen);
        pusher.join().unwrap();
        let mut messages = seen.lock().unwrap().0.clone();
        messages.sort_unstable();
        assert_eq!(messages, [1, 2, 3]);
    });
}
