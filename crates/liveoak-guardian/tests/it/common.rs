//! What the tests with real processes share.

use liveoak_guardian::{Client, Descriptors, Event, Spec, Stream, Succession, Tag};
use std::ffi::CString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a test waits for what must come. It is never waited for in full.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A guardian, and the client of the test.
pub(crate) struct Guarded {
    pub(crate) client: Client,
}

impl Guarded {
    /// Forks a guardian that kills its programs when the client dies.
    pub(crate) fn start() -> Guarded {
        Guarded { client: Client::fork(Succession::default()).expect("a guardian") }
    }

    /// Returns the next event.
    pub(crate) fn next(&mut self) -> (Event, Descriptors) {
        self.client.receive_within(LONG).expect("a guardian").expect("an event")
    }

    /// Returns the first event that `fits`.
    pub(crate) fn until(&mut self, fits: impl Fn(&Event) -> bool) -> Event {
        loop {
            let (event, _) = self.next();
            if fits(&event) {
                return event;
            }
        }
    }

    /// Starts a program without streams and returns its process id.
    pub(crate) fn started(&mut self, id: u64, spec: &Spec) -> u32 {
        self.client.spawn(id, spec, [Stream::Null; 3], &[], Tag::EMPTY).unwrap();
        match self.next().0 {
            Event::Started { id: known, pid, .. } if known == id => pid,
            other => panic!("{other:?}"),
        }
    }
}

/// Returns a spec that runs a script.
pub(crate) fn sh(script: &str) -> Spec {
    let word = |text: &str| CString::new(text).unwrap();
    let mut spec = Spec::new(word("/bin/sh"), ["sh", "-c", script].map(word).to_vec());
    spec.environment = vec![CString::new(format!("PATH={}", std::env::var("PATH").unwrap())).unwrap()];
    spec
}

/// Waits until a condition holds.
pub(crate) fn wait_until(mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < end, "what the test waits for has not come");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn stat(pid: u32) -> Option<(char, u32)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// Returns `true` if a process exists and is no zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, _)| !matches!(state, 'Z' | 'X'))
}

/// Returns the living and dead children of a process.
pub(crate) fn children_of(pid: u32) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let all = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    all.filter(|child| stat(*child).is_some_and(|(_, parent)| parent == pid)).collect()
}

static FOLDERS: AtomicU32 = AtomicU32::new(0);

/// A folder that is removed at the end of the test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("liveoak-guardian-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap_or_default()
    }

    pub(crate) fn remove(&self, name: &str) {
        std::fs::remove_file(self.0.join(name)).unwrap();
    }

    pub(crate) fn wait_for(&self, name: &str) {
        wait_until(|| self.0.join(name).exists());
    }

    pub(crate) fn wait_until(&self, name: &str, fits: impl Fn(&str) -> bool) {
        wait_until(|| fits(&self.read(name)));
    }

    /// Returns the process id in a file, once it is there.
    pub(crate) fn pid(&self, name: &str) -> u32 {
        self.wait_until(name, |text| text.ends_with('\n'));
        self.read(name).trim().parse().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _left = std::fs::remove_dir_all(&self.0);
    }
}
