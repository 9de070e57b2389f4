//! A headless Chromium, driven over its DevTools protocol through a pair of pipes.
//!
//! Owns the process. Invariant: it is gone, with all its children, when the [`Browser`] is dropped, and asks nobody but this machine. Must
//! not know the page.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Browser {
    process: Child,
    _folder: TempDir,
    requests: File,
    messages: Receiver<Value>,
    session: Option<String>,
    last: u64,
    /// What the browser told unasked.
    pub(crate) events: VecDeque<Value>,
}

impl Browser {
    /// Starts one, with an empty page of this size.
    pub(crate) fn start(width: u32, height: u32) -> Self {
        let folder = TempDir::with_prefix("chromium-").expect("a folder");
        let [requests, replies] = ["requests", "replies"].map(|name| folder.path().join(name));
        let made = Command::new("mkfifo").args([&requests, &replies]).status().expect("mkfifo runs");
        assert!(made.success(), "no pipes");
        // Chromium reads requests from descriptor 3 and writes replies to 4.
        let script = r#"requests=$1; replies=$2; shift 2; exec chromium "$@" 3<"$requests" 4>"$replies""#;
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).args([&requests, &replies]);
        command.args([
            "--headless=new",
            "--remote-debugging-pipe",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
        ]);
        command.args([
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
        ]);
        command.args(["--disable-sync", "--no-default-browser-check", "--hide-scrollbars", "--mute-audio"]);
        command.arg("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1");
        command.arg(format!("--user-data-dir={}", folder.path().join("profile").display()));
        command.arg(format!("--window-size={width},{height}"));
        command.env("HOME", folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.process_group(0).spawn().expect("a shell");
        let (sender, messages) = channel();
        let (opened, is_open) = channel();
        // Each opening waits for the other end; when there is no Chromium, for ever. So it is waited for elsewhere.
        std::thread::spawn(move || {
            let Ok(requests) = OpenOptions::new().write(true).open(requests) else { return };
            let Ok(replies) = File::open(replies) else { return };
            let _ = opened.send(requests);
            let mut replies = BufReader::new(replies);
            let mut message = Vec::new();
            while replies.read_until(0, &mut message).is_ok_and(|read| read > 0) {
                message.pop();
                let Ok(value) = serde_json::from_slice(&message) else { return };
                if sender.send(value).is_err() {
                    return;
                }
                message.clear();
            }
        });
        let requests =
            is_open.recv_timeout(PATIENCE).expect("chromium starts; on Debian its package is chromium");
        let mut browser = Self {
            process,
            _folder: folder,
            requests,
            messages,
            session: None,
            last: 0,
            events: VecDeque::new(),
        };
        let target = browser.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", &attach);
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        browser.call("Emulation.setDeviceMetricsOverride", &size);
        browser
    }

    /// Calls a method, and returns its result.
    pub(crate) fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.last += 1;
        let mut request = json!({ "id": self.last, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            request["sessionId"] = session.as_str().into();
        }
        let mut text = request.to_string().into_bytes();
        text.push(0);
        self.requests.write_all(&text).expect("the browser listens");
        let start = Instant::now();
        loop {
            let left = PATIENCE.saturating_sub(start.elapsed());
            let message =
                self.messages.recv_timeout(left).unwrap_or_else(|error| panic!("{method}: {error}"));
            if message["id"] == self.last {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            self.events.push_back(message);
        }
    }

    pub(crate) fn open(&mut self, url: &str) {
        self.call("Page.navigate", &json!({ "url": url }));
    }

    /// What an expression gives, awaited.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", &parameters);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression holds.
    pub(crate) fn wait(&mut self, expression: &str) {
        let start = Instant::now();
        while self.evaluate(expression) != true {
            if start.elapsed() > PATIENCE {
                let shown = self.evaluate("document.body.innerText");
                panic!("not so: {expression}; {:?}; the page: {shown}", self.events);
            }
            // Whatever it tells next, or a little later.
            self.events.extend(self.messages.recv_timeout(Duration::from_millis(50)));
        }
    }

    /// What is seen, as PNG.
    pub(crate) fn screenshot(&mut self) -> Vec<u8> {
        let answer = self.call("Page.captureScreenshot", &json!({ "format": "png" }));
        BASE64_STANDARD.decode(answer["data"].as_str().unwrap_or_default()).expect("base64")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its children are of its group.
        let group = format!("-{}", self.process.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.process.wait();
    }
}
