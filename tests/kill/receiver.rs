//! A downstream that outlasts the relay: records every webhook in the order of its arrival, and refuses some.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::Value;

use super::clients::Told;
use super::dice::Dice;

/// One in so many is answered 500, so that there are attempts to count.
const REFUSED: u64 = 8;

/// Status and reason.
type Result = (String, Option<String>);

#[derive(Clone, Debug)]
struct Heard {
    id: String,
    user: String,
    sequence: u64,
    result: Result,
    accepted: bool,
}

#[derive(Default)]
struct Heap {
    heard: Mutex<Vec<Heard>>,
    more: Condvar,
}

impl Heap {
    fn lock(&self) -> MutexGuard<'_, Vec<Heard>> {
        self.heard.lock().expect("unpoisoned")
    }
}

pub struct Receiver {
    heap: Arc<Heap>,
    address: SocketAddr,
}

impl Receiver {
    /// On the present runtime, with one thread: what arrives first is recorded first.
    pub fn start(seed: u64) -> Self {
        let heap = Arc::<Heap>::default();
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = socket.local_addr().expect("bound");
        let dice = Arc::new(Mutex::new(Dice::new(seed)));
        let ear = (Arc::clone(&heap), dice);
        let server = HttpServer::new(move || {
            App::new()
                .app_data(web::Data::new(ear.clone()))
                .route("/hooks", web::post().to(hear))
        })
        .workers(1)
        .disable_signals()
        .listen(socket)
        .expect("listens")
        .run();
        tokio_util::task::TaskTracker::new().spawn(server);
        Self { heap, address }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hooks", self.address)
    }

    pub fn heard(&self) -> usize {
        self.heap.lock().len()
    }

    /// Until every user's last result has been accepted here.
    pub fn wait_until_told(&self, truth: &BTreeMap<String, Told>, patience: Duration) {
        let missing = |heard: &[Heard]| -> Vec<String> {
            let mut last: BTreeMap<&str, &Result> = BTreeMap::new();
            for one in heard.iter().filter(|one| one.accepted) {
                last.insert(&one.user, &one.result);
            }
            let is_missing = |(user, told): &(&String, &Told)| {
                last.get(user.as_str()).copied() != told.result.as_ref()
            };
            truth
                .iter()
                .filter(is_missing)
                .map(|(user, _)| user.clone())
                .collect()
        };
        let waited = self
            .heap
            .more
            .wait_timeout_while(self.heap.lock(), patience, |heard| {
                !missing(heard).is_empty()
            });
        let (heard, waited) = waited.expect("unpoisoned");
        assert!(!waited.timed_out(), "never told: {:?}", missing(&heard));
    }

    /// One user's webhooks as they came, against its story as the relay tells it.
    pub fn check(&self, user: &str, story: &Value) {
        let heard = self.heap.lock();
        let mine: Vec<&Heard> = heard.iter().filter(|one| one.user == user).collect();
        let order: Vec<u64> = mine.iter().map(|one| one.sequence).collect();
        assert!(order.is_sorted(), "{user} heard out of order: {order:?}");
        for delivery in story["deliveries"].as_array().expect("a list") {
            let id = delivery["event"].as_str().expect("an id");
            let came: Vec<&&Heard> = mine.iter().filter(|one| one.id == id).collect();
            assert_eq!(delivery["state"], "delivered", "{user}: {delivery}");
            assert!(came.iter().any(|one| one.accepted), "{user}: {delivery}");
            // Each attempt is counted before it is sent: none can come that was not counted.
            let counted = delivery["attempts"].as_u64().expect("a number");
            assert!(counted >= came.len() as u64, "{user}: {delivery}");
            let sequence = delivery["sequence"].as_u64();
            assert!(came.iter().all(|one| Some(one.sequence) == sequence));
        }
    }

    /// One id per result, and one result per id.
    pub fn check_ids(&self) {
        let heard = self.heap.lock();
        let mut of_result: BTreeMap<(&str, u64), BTreeSet<&str>> = BTreeMap::new();
        let mut of_id = BTreeMap::<&str, BTreeSet<(&str, u64, &Result)>>::new();
        for one in &*heard {
            let result = (one.user.as_str(), one.sequence);
            of_result.entry(result).or_default().insert(&one.id);
            of_id
                .entry(&one.id)
                .or_default()
                .insert((&one.user, one.sequence, &one.result));
        }
        for (result, ids) in of_result {
            assert_eq!(ids.len(), 1, "{result:?} came as {ids:?}");
        }
        for (id, results) in of_id {
            assert_eq!(results.len(), 1, "{id} carried {results:?}");
        }
    }
}

async fn hear(
    request: HttpRequest,
    body: web::Bytes,
    ear: web::Data<(Arc<Heap>, Arc<Mutex<Dice>>)>,
) -> HttpResponse {
    let id = request.headers().get("webhook-id").expect("an id");
    let said: Value = serde_json::from_slice(&body).expect("JSON");
    let text = |name: &str| said["data"][name].as_str().map(str::to_owned);
    let accepted = ear.1.lock().expect("unpoisoned").below(REFUSED) != 0;
    let heard = Heard {
        id: id.to_str().expect("text").to_owned(),
        user: text("userId").expect("a user"),
        sequence: said["data"]["sequence"].as_u64().expect("a number"),
        result: (
            text("authenticationStatus").expect("a status"),
            text("failReason"),
        ),
        accepted,
    };
    ear.0.lock().push(heard);
    ear.0.more.notify_all();
    if accepted {
        HttpResponse::NoContent().finish()
    } else {
        HttpResponse::InternalServerError().finish()
    }
}
