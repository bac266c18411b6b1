//! A lack of threads, descriptors, memory or files of the system is reported in one sentence, without a panic.

use crate::support::{TestDir, Up};
use rustix::process::geteuid;

/// Runs `liveoak up` under a shell's `ulimit`.
fn under(limit: &str, toml: &str) -> crate::support::Ended {
    after_script(&["sh"], limit, &["--for", "1s"], toml)
}

/// Runs `liveoak up` with `args`, in the surroundings that a script of `shell` makes.
fn after_script(shell: &[&str], script: &str, args: &[&str], toml: &str) -> crate::support::Ended {
    let dir = TestDir::of(toml);
    let command = dir.command(args);
    let mut limited = std::process::Command::new(shell[0]);
    limited.args(&shell[1..]).arg("-c").arg(format!("{script}; exec \"$0\" \"$@\""));
    limited.arg(command.get_program()).args(command.get_args()).current_dir(dir.path());
    for (name, value) in command.get_envs() {
        limited.env(name, value.unwrap_or_default());
    }
    limited.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    limited.stderr(std::process::Stdio::piped());
    Up::watch(limited.spawn().expect("the program starts")).end()
}

const TWO: &str = "[child.a]\nshell = \"exec sleep 1000\"\n[child.b]\ncommand = [\"sleep\", \"1000\"]\n";

/// A shell with mounts of its own.
const WITH_MOUNTS: [&str; 3] = ["unshare", "-Urm", "sh"];

/// Returns `true` if the system lets a test have mounts of its own. A sandbox may not.
fn can_mount() -> bool {
    let tried = std::process::Command::new(WITH_MOUNTS[0])
        .args(&WITH_MOUNTS[1..])
        .args(["-c", "mount -t tmpfs none /dev"])
        .status();
    tried.is_ok_and(|status| status.success())
}

#[test]
fn a_missing_dev_null_is_one_sentence_that_says_how_to_create_it() {
    if !can_mount() {
        return;
    }
    let ended = after_script(&WITH_MOUNTS, "mount -t tmpfs none /dev", &["--for", "1s"], TWO).with_code(1);
    let log = ended.log();
    assert!(log.contains("cannot open /dev/null: No such file"), "{log}");
    assert!(log.contains("mknod -m 666 /dev/null c 1 3") && log.contains("nothing was started"), "{log}");
}

#[test]
fn without_a_shell_programs_run_and_the_log_says_that_no_guardian_runs() {
    if !can_mount() {
        return;
    }
    let toml = "[child.a]\ncommand = [\"sleep\", \"1000\"]\n";
    // Nothing can execute an empty file without the permission for it.
    let hide = "mount -t tmpfs none /mnt && : > /mnt/sh && mount --bind /mnt/sh /bin/sh";
    let ended = after_script(&WITH_MOUNTS, hide, &["--for", "1s"], toml).with_code(0);
    assert!(ended.log().contains("no guardian process (cannot run /bin/sh"), "{}", ended.log());
}

#[test]
fn in_a_removed_folder_a_file_from_a_stream_is_refused_with_advice() {
    let leave = "mkdir gone && cd gone && rmdir ../gone";
    let ended = after_script(&["sh"], leave, &["-"], TWO).with_code(2);
    let log = ended.log();
    assert!(
        log.contains("cannot tell the working directory") && log.contains("change to another one"),
        "{log}"
    );
}

#[test]
fn a_lack_of_descriptors_is_one_sentence_and_nothing_panics() {
    for descriptors in 4..=24 {
        let ended = under(&format!("ulimit -n {descriptors}"), TWO);
        let log = ended.log();
        assert!(matches!(ended.code, Some(0 | 1)) && !log.contains("panicked"), "{descriptors}: {ended:?}");
        if ended.code == Some(1) {
            assert!(log.contains("no file descriptor left (see `ulimit -n`)"), "{descriptors}: {log}");
        }
    }
}

#[test]
fn a_lack_of_memory_is_one_sentence_and_nothing_panics() {
    for megabytes in [24, 28, 32, 36, 40, 48] {
        let limit = format!("ulimit -v {}", megabytes * 1024);
        // Below some limit, the dynamic loader cannot load the program: it fails, or the kernel kills it.
        let version = format!("{limit}; {} --version", env!("CARGO_BIN_EXE_liveoak"));
        let loads = std::process::Command::new("sh").args(["-c", &version]).output().expect("a shell");
        if !loads.status.success() {
            continue;
        }
        let ended = under(&limit, TWO);
        let log = ended.log();
        assert!(matches!(ended.code, Some(0 | 1)) && !log.contains("panicked"), "{megabytes}: {ended:?}");
        if ended.code == Some(1) {
            assert!(log.contains("memory") && log.contains("ulimit -v"), "{megabytes}: {log}");
        }
    }
}

#[test]
fn a_lack_of_threads_is_one_sentence_and_nothing_panics() {
    // The limit does not apply to root. So root runs the program as a user that has no other process.
    if !geteuid().is_root() || !std::path::Path::new("/usr/bin/setpriv").exists() {
        return;
    }
    const FREE_USER: u32 = 1_954_321;
    for threads in [1, 3, 5, 8, 11] {
        let dir = TestDir::of(TWO);
        let binary =
            dir.file("liveoak", std::fs::read(env!("CARGO_BIN_EXE_liveoak")).expect("a program"), 0o755);
        let up = std::process::Command::new("prlimit")
            .args([&format!("--nproc={threads}"), "setpriv", "--clear-groups"])
            .args([format!("--regid={FREE_USER}"), format!("--reuid={FREE_USER}")])
            .arg(&binary)
            .args(["up", "--for", "1s"])
            .current_dir(dir.path())
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn();
        let ended = Up::watch(up.expect("the program starts")).end();
        let log = ended.log();
        assert_eq!(ended.code, Some(1), "{threads}: {log}");
        assert!(log.contains("no further thread or process is allowed"), "{threads}: {log}");
        assert_eq!(ended.stderr.len(), 1, "one sentence: {log}");
    }
}

/// Runs its arguments with a filter that lets `pidfd_open(2)` fail, as on a kernel before Linux 5.3.
const WITHOUT_PIDFD: &str = r"
import ctypes, os, struct, sys
def step(code, jt, jf, k):
    return struct.pack('HBBI', code, jt, jf, k)
# Loads the number of the call; 434 on every architecture gets ENOSYS, the others are allowed.
filter = step(0x20, 0, 0, 0) + step(0x15, 0, 1, 434) + step(6, 0, 0, 0x50000 | 38) + step(6, 0, 0, 0x7FFF0000)
class Program(ctypes.Structure):
    _fields_ = [('len', ctypes.c_ushort), ('steps', ctypes.c_char_p)]
libc = ctypes.CDLL(None)
program = Program(len(filter) // 8, filter)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
";

#[test]
fn without_pidfd_the_start_fails_with_one_sentence_that_names_what_is_missing() {
    let filtered = |program: &std::ffi::OsStr| {
        let mut command = std::process::Command::new("python3");
        command.args(["-c", WITHOUT_PIDFD]).arg(program);
        command
    };
    // A sandbox may have no Python, and may not allow filters.
    if !filtered("/bin/true".as_ref()).output().is_ok_and(|output| output.status.success()) {
        return;
    }
    let dir = TestDir::of(TWO);
    let up = filtered(env!("CARGO_BIN_EXE_liveoak").as_ref())
        .args(["up", "--for", "20s"])
        .current_dir(dir.path())
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn();
    let ended = Up::watch(up.expect("the program starts")).end().with_code(1);
    let log = ended.log();
    assert!(log.contains("does not offer pidfd_open(2); Linux 5.4 or later is needed"), "{log}");
    assert!(log.contains("/t has failed: /t/a failed to start") && !log.contains("panicked"), "{log}");
}

#[test]
fn a_small_stack_is_enough() {
    for kilobytes in [64, 128] {
        let ended = under(&format!("ulimit -s {kilobytes}"), TWO).with_code(0);
        assert!(!ended.log().contains("overflow"), "{}", ended.log());
    }
}
