//! A real browser: headless Chromium, driven over the WebDriver protocol. The protocol is JSON over HTTP, and the little
//! of it that is needed is here.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use serde_json::{Value, json};

use crate::kit::in_time;

/// As the protocol names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// The driver's process, which ends with it.
struct Driver {
    child: Child,
    port: u16,
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Driver {
    /// `None`: there is none on this machine.
    fn start() -> Option<Self> {
        // It takes a port that is free for IPv4, and ends if somebody else has that one for IPv6.
        let mut said = String::new();
        for _port in 0..5 {
            let child = Command::new("chromedriver")
                .args(["--port=0", "--log-level=SEVERE"])
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .ok()?;
            let mut driver = Self { child, port: 0 };
            let mut lines = BufReader::new(driver.child.stdout.take().unwrap()).lines();
            let port = lines.find_map(|line| {
                let line = line.unwrap();
                said.extend([&line, "\n"]);
                let (_, rest) = line.split_once("successfully on port ")?;
                rest.trim_end_matches('.').parse().ok()
            });
            if let Some(port) = port {
                // What else it says is nobody's business, but somebody must read it.
                std::thread::spawn(move || lines.for_each(drop));
                driver.port = port;
                return Some(driver);
            }
        }
        panic!("chromedriver takes no port:\n{said}");
    }
}

/// A browser with a window.
pub struct Browser {
    client: reqwest::Client,
    session: String,
    at: String,
    _profile: tempfile::TempDir,
    _driver: Driver,
}

/// Past the capture of output: whoever runs the tests is to know what was not looked at.
fn skipped() {
    let text = "SKIPPED: no browser looked at the dashboard: there is no chromedriver (Debian: chromium-driver)\n";
    std::io::stderr().write_all(text.as_bytes()).unwrap();
}

/// `None`, and said so: there is no browser here.
pub async fn browser(scripts: bool) -> Option<Browser> {
    let Some(driver) = tokio::task::spawn_blocking(Driver::start).await.unwrap() else {
        skipped();
        return None;
    };
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let profile = tempfile::tempdir().unwrap();
    let root = format!("--user-data-dir={}", profile.path().display());
    let mut args = vec![
        "--headless=new",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1280,900",
        &root,
    ];
    // Chromium's own sandbox does not work for root, as whom CI runs.
    args.push("--no-sandbox");
    let wanted = json!({"capabilities": {"alwaysMatch": {
        "browserName": "chrome",
        // The driver's own waiting for pages ends in errors at times, with the page there. What waits is `arrives`.
        "pageLoadStrategy": "none",
        "goog:chromeOptions": {
            "args": args,
            "prefs": {"profile.managed_default_content_settings.javascript": if scripts { 1 } else { 2 }},
        },
        "goog:loggingPrefs": {"browser": "ALL"},
    }}});
    let mut browser = Browser {
        client: reqwest::Client::builder().no_proxy().build().unwrap(),
        at: format!("http://127.0.0.1:{}", driver.port),
        session: String::new(),
        _profile: profile,
        _driver: driver,
    };
    let made = browser.send("POST", "/session", &wanted).await;
    browser.session = format!("/session/{}", made["sessionId"].as_str().unwrap());
    Some(browser)
}

impl Browser {
    async fn send(&self, method: &str, path: &str, body: &Value) -> Value {
        self.tries(method, path, body)
            .await
            .unwrap_or_else(|why| panic!("{why}"))
    }

    /// What the driver answers, or why it does not do it.
    async fn tries(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let url = format!("{}{}{path}", self.at, self.session);
        let request = match method {
            "GET" => self.client.get(url),
            "DELETE" => self.client.delete(url),
            _ => self.client.post(url).body(body.to_string()),
        };
        let answered = in_time(path, async {
            request.send().await.unwrap().bytes().await.unwrap()
        });
        let answer: Value = serde_json::from_slice(&answered.await).unwrap();
        let value = answer["value"].clone();
        match value.get("error") {
            Some(_) => Err(format!("{method} {path} {body}: {value}")),
            None => Ok(value),
        }
    }

    /// Chromium's own protocol, for what WebDriver has no words for.
    pub async fn devtools(&self, command: &str, params: Value) -> Value {
        self.tries_devtools(command, params)
            .await
            .unwrap_or_else(|why| panic!("{why}"))
    }

    async fn tries_devtools(&self, command: &str, params: Value) -> Result<Value, String> {
        let body = json!({"cmd": command, "params": params});
        self.tries("POST", "/goog/cdp/execute", &body).await
    }

    /// To another page; until it is there.
    pub async fn go(&self, url: &str) {
        self.leaves().await;
        let gone = self.tries("POST", "/url", &json!({"url": url})).await;
        self.arrives(url, gone).await;
    }

    /// Marks the page that is shown, so that it is not taken for the next.
    async fn leaves(&self) {
        self.value("document.documentElement.dataset.left = ''")
            .await;
    }

    /// Until a whole page is shown that is not marked. For a moment there is neither, and whatever is looked at then is
    /// nothing. Since the page decides, it is only told and not believed what the driver said of what led to it: it
    /// reports, now and then, that the page went away under it.
    async fn arrives(&self, to: &str, led: Result<Value, String>) {
        let arrived =
            "document.readyState === 'complete' && !('left' in document.documentElement.dataset)";
        let waiting = async {
            while self.evaluate(arrived).await != Ok(json!(true)) {
                tokio::task::yield_now().await;
            }
        };
        in_time(&format!("{to}: {led:?}"), waiting).await;
    }

    async fn element(&self, css: &str) -> String {
        let body = json!({"using": "css selector", "value": css});
        let found = self.send("POST", "/element", &body).await;
        format!("/element/{}", found[ELEMENT].as_str().unwrap())
    }

    /// Something that changes the page it is on.
    pub async fn click(&self, css: &str) {
        self.tries_to_click(css).await.unwrap();
    }

    async fn tries_to_click(&self, css: &str) -> Result<Value, String> {
        let click = format!("{}/click", self.element(css).await);
        self.tries("POST", &click, &json!({})).await
    }

    /// A link, or the button of a form; until the page is there that it leads to. What the one before showed might
    /// otherwise be taken for it, or be looked for while neither is there.
    pub async fn follow(&self, css: &str) {
        self.leaves().await;
        let clicked = self.tries_to_click(css).await;
        self.arrives(css, clicked).await;
    }

    pub async fn types(&self, css: &str, text: &str) {
        let element = self.element(css).await;
        self.send("POST", &format!("{element}/value"), &json!({"text": text}))
            .await;
    }

    /// Keys, wherever the focus is.
    pub async fn presses(&self, key: &str) {
        let actions = json!({"actions": [{"type": "key", "id": "keys", "actions": [
            {"type": "keyDown", "value": key}, {"type": "keyUp", "value": key},
        ]}]});
        self.send("POST", "/actions", &actions).await;
    }

    /// What a script returns; works where the page's own scripts do not.
    pub async fn value(&self, expression: &str) -> Value {
        self.evaluate(expression).await.unwrap()
    }

    async fn evaluate(&self, expression: &str) -> Result<Value, String> {
        let params = json!({"expression": expression, "returnByValue": true});
        let found = self.tries_devtools("Runtime.evaluate", params).await?;
        Ok(found["result"]["value"].clone())
    }

    pub async fn text(&self) -> String {
        let text = self.value("document.body.innerText").await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the page shows this.
    pub async fn sees(&self, what: &str) {
        let seen = async {
            while !self.text().await.contains(what) {
                tokio::task::yield_now().await;
            }
        };
        if tokio::time::timeout(crate::kit::secs(30), seen)
            .await
            .is_err()
        {
            panic!("no {what:?} in\n{}", self.text().await);
        }
    }

    /// What the console says beside debugging: violations of the policy, scripts that failed, what was not found.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self
            .send("POST", "/se/log", &json!({"type": "browser"}))
            .await;
        let entries = log.as_array().unwrap().iter();
        let loud = entries.filter(|entry| entry["level"] != "DEBUG" && entry["level"] != "INFO");
        loud.map(|entry| entry["message"].to_string()).collect()
    }

    pub async fn looks(&self, scheme: &str, width: u64, height: u64) {
        let feature = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", feature).await;
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500});
        self.devtools("Emulation.setDeviceMetricsOverride", size)
            .await;
    }

    /// A picture of the whole page, for people to look at.
    pub async fn picture(&self, name: &str) {
        let taken = self
            .devtools(
                "Page.captureScreenshot",
                json!({"format": "png", "captureBeyondViewport": true}),
            )
            .await;
        let bytes = base64::prelude::BASE64_STANDARD
            .decode(taken["data"].as_str().unwrap())
            .unwrap();
        let directory = pictures();
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(format!("{name}.png")), bytes).unwrap();
    }

    pub async fn close(self) {
        self.send("DELETE", "", &json!({})).await;
    }
}

/// Beneath `target/`, where everything made is.
fn pictures() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("dashboard")
}
