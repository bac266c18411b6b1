//! A headless Chromium that a test drives, over the two pipes of its DevTools protocol.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::TestDir;

/// A running browser. Ended when dropped.
pub(crate) struct Chromium {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// The number of the last command.
    last: u64,
    /// What the browser has said of its own accord, for example about answers of servers.
    events: Vec<Value>,
}

impl Chromium {
    /// Starts a browser for which `evil.example` is this machine. `None` if there is no Chromium.
    pub(crate) fn start(dir: &TestDir) -> Option<Self> {
        let program = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(|program| {
            let version =
                Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
            version.is_ok_and(|status| status.success())
        })?;
        // The browser reads commands from descriptor 3, and writes to descriptor 4. One that hangs is ended.
        let script = "exec timeout -k 5 120 \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1";
        let mut child = Command::new("sh")
            .args([
                "-c",
                script,
                program,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--remote-debugging-pipe",
            ])
            .arg("--disable-dev-shm-usage")
            .arg("--host-resolver-rules=MAP evil.example 127.0.0.1")
            .arg(format!("--user-data-dir={}", dir.at("profile").display()))
            .env("HOME", dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let (commands, answers) = (child.stdin.take()?, BufReader::new(child.stdout.take()?));
        Some(Self { child, commands, answers, last: 0, events: Vec::new() })
    }

    /// Opens an address in a new tab, and waits until it has loaded. Returns the tab.
    pub(crate) fn open(&mut self, address: &str) -> String {
        let target = self.call(None, "Target.createTarget", &json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let tab = self.call(None, "Target.attachToTarget", &attach);
        let tab = tab["sessionId"].as_str().expect("a session").to_owned();
        self.call(Some(&tab), "Page.enable", &json!({}));
        self.call(Some(&tab), "Network.enable", &json!({}));
        self.events.clear();
        self.call(Some(&tab), "Page.navigate", &json!({ "url": address }));
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let event = self.read();
            self.events.push(event);
        }
        tab
    }

    /// Evaluates an expression in a tab, and waits for its value.
    pub(crate) fn evaluate(&mut self, tab: &str, expression: &str) -> Value {
        let what = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let answer = self.call(Some(tab), "Runtime.evaluate", &what);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Returns the statuses of the answers so far to requests whose address begins so, also of those that no page may see.
    pub(crate) fn statuses(&self, address: &str) -> Vec<u64> {
        let of = |method: &'static str| {
            self.events.iter().filter(move |event| event["method"] == method).map(|event| &event["params"])
        };
        let is_asked =
            |request: &&Value| request["request"]["url"].as_str().is_some_and(|url| url.starts_with(address));
        let asked: Vec<&Value> =
            of("Network.requestWillBeSent").filter(is_asked).map(|request| &request["requestId"]).collect();
        let answers = of("Network.responseReceivedExtraInfo");
        let answers = answers.filter(|answer| asked.contains(&&answer["requestId"]));
        answers.filter_map(|answer| answer["statusCode"].as_u64()).collect()
    }

    fn call(&mut self, tab: Option<&str>, method: &str, params: &Value) -> Value {
        self.last += 1;
        let mut command = json!({ "id": self.last, "method": method, "params": params });
        if let Some(tab) = tab {
            command["sessionId"] = json!(tab);
        }
        let mut bytes = command.to_string().into_bytes();
        bytes.push(0);
        self.commands.write_all(&bytes).expect("the browser runs");
        loop {
            let answer = self.read();
            if answer["id"] == self.last {
                assert!(answer.get("error").is_none(), "{command}: {answer}");
                return answer["result"].clone();
            }
            self.events.push(answer);
        }
    }

    fn read(&mut self) -> Value {
        let mut bytes = Vec::new();
        self.answers.read_until(0, &mut bytes).expect("the browser runs");
        assert_eq!(bytes.pop(), Some(0), "the browser has ended");
        serde_json::from_slice(&bytes).expect("JSON")
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // `timeout` passes the signal on to the browser, which ends its own processes.
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.child.wait();
    }
}
