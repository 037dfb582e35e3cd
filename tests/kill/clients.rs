//! The load: clients that post signed callbacks, try again until each is acknowledged, and remember which were.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;
use vexora_relay::domain::{Secret, Status};
use vexora_relay::sandbox::Sandbox;
use vexora_relay::signing::vexora::sign;

use super::dice::Dice;
use super::{APP_SECRET, MERCHANT, PATIENCE};

const USERS_EACH: u64 = 12;

/// A client gives an answer so long before it counts as none: the relay may be killed with the connection open, but
/// then the system closes it at once.
const ANSWER: Duration = Duration::from_secs(30);

/// What is known of one user at the clients' side.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// The claims of its acknowledged callbacks: each callback has its own.
    pub acknowledged: BTreeSet<String>,
    /// The result that the provider last came to: status and reason.
    pub result: Option<(String, Option<String>)>,
}

#[derive(Default)]
struct State {
    /// Where the relay serves, while it does.
    at: Option<SocketAddr>,
    finishing: bool,
    acknowledged: u64,
    users: BTreeMap<String, Told>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("unpoisoned")
    }

    /// Where the relay serves, once it does.
    fn address(&self) -> SocketAddr {
        let state = self.lock();
        let waited = self
            .changed
            .wait_timeout_while(state, PATIENCE, |state| state.at.is_none());
        let (state, _) = waited.expect("unpoisoned");
        state.at.expect("the relay serves within the patience")
    }
}

pub struct Clients {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    pub fn start(number: u64, seed: u64, sandbox: &Arc<Sandbox>) -> Self {
        let shared = Arc::<Shared>::default();
        let threads = (1..=number)
            .map(|client| {
                let (shared, sandbox) = (Arc::clone(&shared), Arc::clone(sandbox));
                let dice = Dice::new(seed ^ (client << 32));
                std::thread::spawn(move || post_on(client, dice, &shared, &sandbox))
            })
            .collect();
        Self { shared, threads }
    }

    /// The relay serves.
    pub fn open(&self, at: SocketAddr) {
        self.shared.lock().at = Some(at);
        self.shared.changed.notify_all();
    }

    /// It will be gone.
    pub fn shut(&self) {
        self.shared.lock().at = None;
    }

    /// Until so many more callbacks have been acknowledged.
    pub fn wait_for_more(&self, number: u64) {
        let state = self.shared.lock();
        let wanted = state.acknowledged + number;
        let waited = self
            .shared
            .changed
            .wait_timeout_while(state, PATIENCE, |state| state.acknowledged < wanted);
        let (_state, waited) = waited.expect("unpoisoned");
        assert!(!waited.timed_out(), "no callbacks are acknowledged");
    }

    /// Some of the users that have had a callback acknowledged.
    pub fn some_users(&self, number: u64, dice: &mut Dice) -> Vec<String> {
        let users: Vec<String> = self.shared.lock().users.keys().cloned().collect();
        (0..number)
            .filter_map(|_| {
                let index = usize::try_from(dice.below(users.len().max(1) as u64));
                users.get(index.expect("small")).cloned()
            })
            .collect()
    }

    pub fn told(&self, user: &str) -> Told {
        self.shared
            .lock()
            .users
            .get(user)
            .cloned()
            .unwrap_or_default()
    }

    /// Lets each client have its last callback acknowledged; what they know.
    pub fn finish(self) -> BTreeMap<String, Told> {
        self.shared.lock().finishing = true;
        for thread in self.threads {
            thread.join().expect("a client did not fail");
        }
        self.shared.lock().users.clone()
    }
}

/// One client: a user of its own has a new result, and its callback is posted until it is acknowledged.
fn post_on(client: u64, mut dice: Dice, shared: &Shared, sandbox: &Sandbox) {
    let merchant = MERCHANT.parse().expect("valid");
    let secret = Secret::new(APP_SECRET);
    let mut connection = None;
    for serial in 1.. {
        let user = format!("killed-{client}-{}", dice.below(USERS_EACH));
        let reason = (dice.below(2) == 0).then(|| format!("reason {serial}"));
        let status = match reason {
            Some(_) => Status::Rejected,
            None => Status::Approved,
        };
        let code = status.code().to_owned();
        sandbox.set_status(
            &merchant,
            &user.parse().expect("valid"),
            status,
            reason.as_deref(),
        );
        // A callback is a doorbell: what it claims is only kept, and so can tell one callback from all others.
        let claim = format!("{client}-{serial}");
        let fields = [
            ("authenticationStatus", claim.as_str()),
            ("timestamp", "1732988442913"),
            ("userId", user.as_str()),
        ];
        let sign = sign(fields, &secret);
        let mut body: serde_json::Map<_, _> = fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect();
        body.insert("sign".to_owned(), json!(sign));
        let body = serde_json::Value::Object(body).to_string();
        while !posted(&mut connection, &shared.address(), &body) {
            connection = None;
        }
        let mut state = shared.lock();
        state.acknowledged += 1;
        let told = state.users.entry(user).or_default();
        told.acknowledged.insert(claim);
        told.result = Some((code, reason));
        shared.changed.notify_all();
        if state.finishing {
            return;
        }
    }
}

/// Posts over the connection, or a new one to where the relay is; whether it was acknowledged.
fn posted(
    connection: &mut Option<(SocketAddr, BufReader<TcpStream>)>,
    at: &SocketAddr,
    body: &str,
) -> bool {
    let open = connection.take().filter(|(to, _)| to == at);
    let made = match open {
        Some((_, stream)) => Ok(stream),
        None => TcpStream::connect(at).map(BufReader::new),
    };
    let asked = made.and_then(|mut stream| {
        let answer = ask(
            &mut stream,
            "POST",
            &format!("/callback/{MERCHANT}"),
            "",
            body,
        )?;
        Ok((stream, answer))
    });
    match asked {
        Ok((stream, (200, answer))) => {
            assert_eq!(answer, "OK");
            *connection = Some((*at, stream));
            true
        }
        Ok((_, (503, _))) | Err(_) => false,
        Ok((_, other)) => panic!("answered {other:?}"),
    }
}

/// One request and its answer: status and body.
#[allow(clippy::disallowed_methods, reason = "bounds an answer on a socket")]
pub fn ask(
    stream: &mut BufReader<TcpStream>,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> io::Result<(u16, String)> {
    let until = Instant::now() + ANSWER;
    stream.get_ref().set_read_timeout(Some(ANSWER))?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: relay\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.get_mut().write_all(request.as_bytes())?;
    let broken = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let mut status = None;
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 || Instant::now() > until {
            return Err(broken());
        }
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(rest) = line.strip_prefix("http/1.1 ") {
            status = rest.get(..3).and_then(|code| code.parse().ok());
        } else if let Some(rest) = line.strip_prefix("content-length: ") {
            length = rest.parse().map_err(|_not_a_number| broken())?;
        } else if line.is_empty() {
            break;
        }
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer)?;
    let answer = String::from_utf8(answer).map_err(|_not_text| broken())?;
    Ok((status.ok_or_else(broken)?, answer))
}
