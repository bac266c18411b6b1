//! The stack of another thread at this moment, as text. Only with the feature `stacks`.
//!
//! `util/stack_handler.rs` takes the addresses, which is quick. Turning them into names reads the debug information of
//! the program, and happens here, on the thread that asks.

use super::stack_handler;
use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The most functions that a stack shows.
const MAX_SHOWN: usize = 40;

/// At most so many threads find names at the same time. A stack beyond has none.
const MAX_SEARCHES: usize = 2;

static SEARCHES: AtomicUsize = AtomicUsize::new(0);

/// The stack of a thread: its return addresses, the innermost first.
pub(crate) struct Stack(Vec<usize>);

impl Stack {
    /// Returns the stack of a thread of this process. `None` if the thread blocks the signal or does not run within 50 ms.
    pub(crate) fn of_thread(thread: i32) -> Option<Self> {
        stack_handler::of_thread(thread).map(Self)
    }

    /// Calls `done` with the functions of the stack as text, down to the code that polls the child, on a thread of its own:
    /// the first use of the debug information takes seconds in a large debug build. If there is no thread for it, `done` is
    /// not called, nor if the child has no function on the stack.
    pub(crate) fn find_names(self, done: impl FnOnce(String) + Send + 'static) {
        if SEARCHES.fetch_add(1, Ordering::SeqCst) >= MAX_SEARCHES {
            SEARCHES.fetch_sub(1, Ordering::SeqCst);
            return;
        }
        let search = Search;
        let find = move || {
            let _search = search;
            let names = text(childs_own(&functions(&self.0)));
            if !names.is_empty() {
                done(names);
            }
        };
        // Without a thread there are no names.
        let _ = std::thread::Builder::new().name("liveoak-stacks".to_owned()).spawn(find);
    }
}

/// Ends a search when it is dropped.
struct Search;

impl Drop for Search {
    fn drop(&mut self) {
        SEARCHES.fetch_sub(1, Ordering::SeqCst);
    }
}

/// One function of a stack.
struct Function {
    name: Option<String>,
    file: Option<PathBuf>,
    line: Option<u32>,
}

/// Looks the functions of return addresses up. A function that was inlined has no address of its own, and is found too.
fn functions(frames: &[usize]) -> Vec<Function> {
    let mut functions = Vec::new();
    for &frame in frames {
        // A return address is behind its call, which may be the last instruction of its line.
        let call = std::ptr::without_provenance_mut(frame.saturating_sub(1));
        let before = functions.len();
        backtrace::resolve(call, |symbol| {
            let name = symbol.name().map(|name| format!("{name:#}"));
            let file = symbol.filename().map(Path::to_path_buf);
            functions.push(Function { name, file, line: symbol.lineno() });
        });
        if functions.len() == before {
            functions.push(Function { name: None, file: None, line: None });
        }
    }
    functions
}

fn text(functions: &[Function]) -> String {
    let lines: Vec<String> = functions.iter().take(MAX_SHOWN).map(ToString::to_string).collect();
    lines.join("\n")
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name.as_deref().unwrap_or("(a function without a name)"))?;
        let Some(file) = &self.file else { return Ok(()) };
        write!(f, " ({}", shortened(file).display())?;
        self.line.map_or(Ok(()), |line| write!(f, ":{line}"))?;
        f.write_str(")")
    }
}

/// Leaves out where the standard library and the registry of crates are: what is below them names the file.
fn shortened(file: &Path) -> PathBuf {
    let parts: Vec<_> = file.components().collect();
    let is = |part: &Component<'_>, name: &str| part.as_os_str() == name;
    let from = if parts.get(1).is_some_and(|part| is(part, "rustc")) {
        3
    } else {
        // `registry/src/INDEX/CRATE`
        parts.iter().rposition(|part| is(part, "registry")).map_or(0, |registry| registry + 3)
    };
    parts.get(from..).unwrap_or(&parts).iter().collect()
}

/// Leaves out the signal handler at the top, with the function of the system that called it, and all from the code that
/// polls the child on.
fn childs_own(functions: &[Function]) -> &[Function] {
    let functions = without_handler(functions);
    let below = functions.iter().position(|function| function.file.as_deref().is_some_and(is_of_this_crate));
    &functions[..below.unwrap_or(functions.len())]
}

fn without_handler(functions: &[Function]) -> &[Function] {
    let is_handler = |function: &Function| {
        function.file.as_deref().is_some_and(|file| file.ends_with("util/stack_handler.rs"))
            || function.name.as_deref().is_some_and(|name| name.contains("util::stack_handler::on_signal"))
    };
    // One function of the system is between the handler and the interrupted code.
    let handler = functions.iter().rposition(is_handler);
    handler.map_or(functions, |handler| functions.get(handler + 2..).unwrap_or_default())
}

/// Returns `true` for a source file of this crate, wherever it was built.
fn is_of_this_crate(file: &Path) -> bool {
    let parts: Vec<_> = file.components().filter_map(|part| part.as_os_str().to_str()).collect();
    parts.windows(2).any(|pair| pair[0].starts_with(env!("CARGO_PKG_NAME")) && pair[1] == "src")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, channel};

    /// Blocks until the test lets it go; not inlined, so that the stack has it by name.
    #[inline(never)]
    fn a_function_of_the_test(until_released: &Receiver<()>) {
        let _ = until_released.recv();
    }

    /// Returns the stack with all that is below: the tests are source of this crate.
    fn whole(thread: i32) -> Option<String> {
        stack_handler::of_thread(thread).map(|frames| text(without_handler(&functions(&frames))))
    }

    #[test]
    fn the_stack_of_a_blocked_thread_names_its_functions_again_and_again() {
        let (release, until_released) = channel();
        let (tell, told) = channel();
        let blocked = std::thread::spawn(move || {
            tell.send(stack_handler::this_thread()).unwrap();
            a_function_of_the_test(&until_released);
        });
        let thread = told.recv().unwrap();
        let has = |stack: &str| stack.contains("a_function_of_the_test") && stack.contains("stack.rs:");
        // Between the message and the call the thread is elsewhere.
        while !whole(thread).is_some_and(|stack| has(&stack)) {}
        for _ in 0..100 {
            let stack = whole(thread).expect("a stack");
            assert!(has(&stack), "{stack}");
            assert!(!stack.contains("stack_handler"), "{stack}");
        }
        release.send(()).unwrap();
        blocked.join().unwrap();
        assert_eq!(whole(thread), None, "the thread has ended");
    }

    #[test]
    fn a_file_is_shown_without_the_folder_of_the_registry_or_of_the_standard_library() {
        let shown = |file: &str| shortened(Path::new(file)).display().to_string();
        assert_eq!(shown("/rustc/5980/library/std/src/thread.rs"), "library/std/src/thread.rs");
        assert_eq!(
            shown("/h/.cargo/registry/src/index-1949/tokio-1.54.1/src/lib.rs"),
            "tokio-1.54.1/src/lib.rs"
        );
        assert_eq!(shown("/home/shop/src/main.rs"), "/home/shop/src/main.rs");
        assert!(is_of_this_crate(Path::new("/x/liveoak-runtime-0.1.0/src/api/task.rs")));
        assert!(!is_of_this_crate(Path::new("/x/liveoak-runtime/tests/stop.rs")));
    }

    #[test]
    fn a_thread_that_blocks_the_signal_has_no_stack_and_is_asked_again_later() {
        let (tell, told) = channel();
        let (release, until_released) = channel::<()>();
        let blocked = std::thread::spawn(move || {
            let unblock = stack_handler::block_on_this_thread();
            tell.send(stack_handler::this_thread()).unwrap();
            let _ = until_released.recv();
            unblock();
            tell.send(0).unwrap();
            let _ = until_released.recv();
        });
        let thread = told.recv().unwrap();
        assert_eq!(whole(thread), None);
        release.send(()).unwrap();
        assert_eq!(told.recv(), Ok(0), "the late signal does no harm");
        assert!(whole(thread).is_some());
        drop(release);
        blocked.join().unwrap();
    }
}
