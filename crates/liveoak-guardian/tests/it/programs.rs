//! Real programs under a forked guardian: starts, exits, streams, kills, and what they leave behind.

use crate::common::{self, Guarded, sh};
use liveoak_guardian::{Ending, Event, Reach, Spec, Step, Stream, Tag};
use std::io::Read;
use std::os::fd::AsFd;

#[test]
fn a_program_gets_its_streams_and_its_end_is_reported() {
    let mut guarded = Guarded::start();
    guarded
        .client
        .spawn(1, &sh("cat; echo to-stderr >&2; exit 7"), [Stream::Pipe; 3], &[], Tag::EMPTY)
        .unwrap();
    let (event, streams) = guarded.next();
    assert!(matches!(event, Event::Started { id: 1, pipes: [true, true, true], .. }), "{event:?}");
    let [stdin, stdout, stderr] = streams.streams.map(|stream| std::fs::File::from(stream.unwrap()));
    std::io::Write::write_all(&mut &stdin, b"through").unwrap();
    drop(stdin);
    let read = |mut file: std::fs::File| {
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        text
    };
    assert_eq!((read(stdout).as_str(), read(stderr).as_str()), ("through", "to-stderr\n"));
    let (event, _) = guarded.next();
    assert!(matches!(event, Event::Exited { id: 1, ending: Ending::Code(7), left: 0, .. }), "{event:?}");
    assert_eq!(guarded.next().0, Event::Gone { id: 1 });
}

#[test]
fn a_program_that_cannot_be_executed_is_refused_with_step_and_error() {
    let mut guarded = Guarded::start();
    let missing = Spec::new(c"/no/such/file".into(), vec![c"x".into()]);
    let folder = Spec { folder: Some(c"/no/such/folder".into()), ..sh("true") };
    for (id, spec, expected) in [(1, missing, Step::Exec), (2, folder, Step::Folder)] {
        guarded.client.spawn(id, &spec, [Stream::Null; 3], &[], Tag::EMPTY).unwrap();
        assert_eq!(guarded.next().0, Event::Refused { id, step: expected, errno: 2 });
    }
}

#[test]
fn a_descendant_that_left_group_and_session_belongs_to_its_program() {
    let mut guarded = Guarded::start();
    let folder = common::Folder::new();
    let daemon = format!(
        "env -i setsid sh -c 'echo $$ > {0}/pid; exec sleep 1000' & while ! [ -s {0}/pid ]; do sleep 0.01; done; exit 0",
        folder.path()
    );
    let pid = guarded.started(1, &sh(&daemon));
    let (event, _) = guarded.next();
    assert!(matches!(event, Event::Exited { id: 1, ending: Ending::Code(0), left: 1, .. }), "{event:?}");
    let daemon = folder.pid("pid");
    assert!(common::is_alive(daemon) && daemon != pid);
    guarded.client.kill(1).unwrap();
    assert_eq!(guarded.next().0, Event::Gone { id: 1 });
    assert!(!common::is_alive(daemon));
}

#[test]
fn a_signal_reaches_the_leader_the_group_or_the_whole_set() {
    let mut guarded = Guarded::start();
    let folder = common::Folder::new();
    // Three processes: the leader, a member of its group, and one in a session of its own. Each writes its name.
    let one = |name: &str| {
        format!(
            "trap 'echo {name} >> {0}/got' USR1; touch {0}/{name}; while :; do sleep 0.01; done",
            folder.path()
        )
    };
    let script =
        format!("setsid sh -c \"{}\" & sh -c \"{}\" & {}", one("outside"), one("member"), one("leader"));
    guarded.started(1, &sh(&script));
    ["outside", "member", "leader"].iter().for_each(|name| folder.wait_for(name));
    for (reach, expected) in [
        (Reach::Leader, vec!["leader"]),
        (Reach::Group, vec!["leader", "member"]),
        (Reach::Set, vec!["leader", "member", "outside"]),
    ] {
        guarded.client.signal(1, 10, reach).unwrap();
        assert_eq!(guarded.next().0, Event::Signalled { id: 1, errno: 0 });
        folder.wait_until("got", |text| {
            let mut names: Vec<&str> = text.lines().collect();
            names.sort_unstable();
            names == expected
        });
        folder.remove("got");
    }
    guarded.client.kill(1).unwrap();
    assert!(matches!(guarded.next().0, Event::Exited { id: 1, .. }));
    assert_eq!(guarded.next().0, Event::Gone { id: 1 });
}

#[test]
fn a_suspension_is_reported_and_a_suspended_program_can_be_killed() {
    let mut guarded = Guarded::start();
    guarded.started(1, &sh("exec sleep 1000"));
    guarded.client.signal(1, 19, Reach::Leader).unwrap();
    assert_eq!(guarded.next().0, Event::Signalled { id: 1, errno: 0 });
    assert_eq!(guarded.next().0, Event::Suspended { id: 1, by: Some(19) });
    guarded.client.signal(1, 18, Reach::Leader).unwrap();
    assert_eq!(guarded.next().0, Event::Signalled { id: 1, errno: 0 });
    assert_eq!(guarded.next().0, Event::Suspended { id: 1, by: None });
    guarded.client.signal(1, 19, Reach::Leader).unwrap();
    guarded.client.kill(1).unwrap();
    let ended = guarded.until(|event| matches!(event, Event::Exited { .. }));
    assert!(
        matches!(ended, Event::Exited { id: 1, ending: Ending::Signal { signal: 9, .. }, .. }),
        "{ended:?}"
    );
}

#[test]
fn a_program_has_no_descriptor_but_its_streams_and_default_signals() {
    let mut guarded = Guarded::start();
    let null = std::fs::File::open("/dev/null").unwrap();
    let script = "ls /proc/self/fd | tr '\\n' ' '; grep -E '^Sig(Blk|Ign)' /proc/self/status | cut -f2 | tr '\\n' ' '; umask";
    let spec = Spec { umask: Some(0o27), ..sh(script) };
    let streams = [Stream::Given, Stream::Pipe, Stream::Merged];
    guarded.client.spawn(1, &spec, streams, &[null.as_fd()], Tag::EMPTY).unwrap();
    let (_, mut given) = guarded.next();
    let mut text = String::new();
    std::fs::File::from(given.streams[1].take().unwrap()).read_to_string(&mut text).unwrap();
    // The fourth descriptor is that with which `ls` reads the folder.
    assert_eq!(text, "0 1 2 3 0000000000000000 0000000000000000 0027\n");
}

#[test]
fn an_exec_that_hangs_delays_no_other_start_and_can_be_killed() {
    let mut guarded = Guarded::start();
    let folder = common::Folder::new();
    let file = format!("{}/hangs", folder.path());
    std::fs::copy("/bin/true", &file).unwrap();
    // The kernel waits with the exec until the lease is given back (fcntl(2)), here 45 seconds.
    let hold = "import fcntl, signal, sys; signal.signal(signal.SIGIO, signal.SIG_IGN); f = open(sys.argv[1], 'r+b'); \
        fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_WRLCK); print('held', flush=True); sys.stdin.read()";
    let mut command = std::process::Command::new("python3");
    command
        .args(["-c", hold, &file])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped());
    let mut holder = command.spawn().unwrap();
    let mut held = [0; 5];
    holder.stdout.as_mut().unwrap().read_exact(&mut held).unwrap();

    let hangs = Spec::new(std::ffi::CString::new(file).unwrap(), vec![c"hangs".into()]);
    guarded.client.spawn(1, &hangs, [Stream::Null; 3], &[], Tag::EMPTY).unwrap();
    guarded.client.spawn(2, &sh("exit 2"), [Stream::Null; 3], &[], Tag::EMPTY).unwrap();
    let first = guarded.until(|event| matches!(event, Event::Gone { .. }));
    assert_eq!(first, Event::Gone { id: 2 });
    guarded.client.kill(1).unwrap();
    let ended = guarded.until(|event| matches!(event, Event::Exited { .. }));
    assert!(
        matches!(ended, Event::Exited { id: 1, ending: Ending::Signal { signal: 9, .. }, .. }),
        "{ended:?}"
    );
    assert_eq!(guarded.next().0, Event::Gone { id: 1 });
    holder.kill().unwrap();
    holder.wait().unwrap();
}

#[test]
fn exits_are_told_in_their_order_to_a_client_that_reads_late() {
    let mut guarded = Guarded::start();
    let count = 300u64;
    for id in 1..=count {
        guarded
            .client
            .spawn(id, &sh(&format!("exit {}", id % 256)), [Stream::Null; 3], &[], Tag::EMPTY)
            .unwrap();
    }
    // Nothing is read before the last program has ended; the guardian cannot send all that it has to tell.
    common::wait_until(|| common::children_of(guarded.client.guardian_id()).is_empty());
    let mut told = vec![0; count as usize + 1];
    let mut gone = 0;
    while gone < count {
        match guarded.next().0 {
            Event::Started { id, .. } => assert_eq!(std::mem::replace(&mut told[id as usize], 1), 0),
            Event::Exited { id, ending, .. } => {
                assert_eq!(ending, Ending::Code((id % 256) as u8));
                assert_eq!(std::mem::replace(&mut told[id as usize], 2), 1);
            }
            Event::Gone { id } => {
                assert_eq!(std::mem::replace(&mut told[id as usize], 3), 2);
                gone += 1;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_message_that_cannot_be_read_is_answered_and_harms_nothing() {
    let mut guarded = Guarded::start();
    let mut seed = 7u64;
    for length in 1..200usize {
        let bytes: Vec<u8> = (0..length)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (seed >> 40) as u8
            })
            .collect();
        // The first byte is a version that does not exist.
        rustix::net::send(&guarded.client, &[&[0], &bytes[..]].concat(), rustix::net::SendFlags::empty())
            .unwrap();
        assert_eq!(guarded.next().0, Event::Invalid { kind: 0, id: 0 });
    }
    guarded.started(1, &sh("exit 0"));
}
