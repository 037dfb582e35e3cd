//! Lines, queue and health together, whatever comes in whatever order: nothing is forgotten, order holds, and nobody is
//! told to look for work that is not to be had.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;
use vexora_relay::domain::{
    Delivery, DeliveryState, EndpointName, EventId, JobKind, JobOrder, Outcome, Standing, Timestamp,
};
use vexora_relay::store::embedded::{EmbeddedSettings, verify_store};
use vexora_relay::store::{Bygone, DeliveryClaim, Lane, Store};

use super::{Bench, Opener, at, heard, merchant, refused, routing, user};

#[derive(Clone, Debug)]
enum Step {
    Result {
        user: u8,
        code: u8,
    },
    Claim {
        limit: usize,
    },
    Ends {
        which: prop::sample::Index,
        status: Option<u16>,
    },
    /// Whatever goes out within half a minute is answered so.
    Outage {
        status: u16,
    },
    Passes {
        secs: u64,
    },
    Pause,
    Resume,
    Retry {
        which: prop::sample::Index,
    },
    Discard {
        which: prop::sample::Index,
    },
    Job {
        kind: JobKind,
        states: Vec<Standing>,
    },
    Sweep {
        secs: u64,
    },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let which = any::<prop::sample::Index>;
    let status = prop_oneof![
        3 => Just(Some(204)),
        5 => Just(Some(500)),
        1 => Just(Some(410)),
        1 => Just(Some(429)),
        1 => Just(None),
    ];
    prop_oneof![
        6 => (0u8..4, 0u8..2).prop_map(|(user, code)| Step::Result { user, code }),
        6 => (1usize..6).prop_map(|limit| Step::Claim { limit }),
        9 => (which(), status).prop_map(|(which, status)| Step::Ends { which, status }),
        2 => prop_oneof![Just(500), Just(429)].prop_map(|status| Step::Outage { status }),
        5 => prop_oneof![Just(1), Just(6), Just(40), Just(400)].prop_map(|secs| Step::Passes { secs }),
        1 => Just(Step::Pause),
        2 => Just(Step::Resume),
        1 => which().prop_map(|which| Step::Retry { which }),
        1 => which().prop_map(|which| Step::Discard { which }),
        2 => job(),
        1 => prop_oneof![Just(0), Just(5), Just(300)].prop_map(|secs| Step::Sweep { secs }),
        1 => Just(Step::Restart),
    ]
}

fn job() -> impl Strategy<Value = Step> {
    let kind = proptest::sample::select(JobKind::ALL.to_vec());
    kind.prop_flat_map(|kind| {
        let states = proptest::sample::subsequence(kind.standings().to_vec(), 0..=2);
        states.prop_map(move |states| Step::Job { kind, states })
    })
}

fn outcome(status: Option<u16>) -> Outcome {
    match status {
        Some(204) => heard(),
        Some(status) => Outcome {
            status: Some(status),
            retry_after: (status == 429).then_some(Duration::from_secs(400)),
            ..refused()
        },
        None => Outcome::interrupted(),
    }
}

/// A store in the middle of it all.
struct Run {
    bench: Bench,
    endpoint: EndpointName,
    now: Timestamp,
    out: Vec<DeliveryClaim>,
    events: Vec<EventId>,
    /// Before when the receiver does not want it again, unless an operator does.
    asked: HashMap<EventId, Timestamp>,
    /// What the endpoint never takes, whatever else it takes.
    poison: Option<EventId>,
}

impl Run {
    fn store(&self) -> &dyn Store {
        self.bench.store()
    }

    async fn due(&self) -> Option<Timestamp> {
        let lane = Lane::Deliver(self.endpoint.clone());
        self.store().next_due(&lane).await.expect("reads")
    }

    /// The ledger's deliveries of a user, by sequence.
    async fn line(&self, name: &str) -> Vec<Delivery> {
        let story = self.store().story(&merchant(), &user(name)).await;
        let events = story.expect("reads").events;
        let deliveries = events.into_iter().flat_map(|(_, deliveries)| deliveries);
        deliveries
            .map(|(delivery, _)| delivery)
            .filter(|delivery| delivery.endpoint == self.endpoint)
            .collect()
    }

    async fn claim(&mut self, limit: usize) -> usize {
        let health = self.store().health(&self.endpoint).await.expect("reads");
        let claims = self.bench.claim_for("ledger", self.now, limit).await;
        if health.later(self.now) > self.now {
            assert_eq!(claims.len(), 0, "went out before the time it asked for");
        }
        for claim in &claims {
            let asked = self.asked.get(&claim.event.id);
            assert!(asked.is_none_or(|until| *until <= self.now), "too early");
        }
        if health.paused.is_some() {
            assert_eq!(claims.len(), 0, "went out to a paused endpoint");
        } else if health.holds() || health.resumed.is_some() {
            assert!(claims.len() <= 1, "more than a probe went out");
        }
        for claim in &claims {
            let Some((_, name)) = &claim.delivery.line else {
                assert!(claim.delivery.replay, "{:?} has no line", claim.delivery);
                continue;
            };
            for other in self.line(name.as_str()).await {
                // Only what is marked as a replay may go beside the line, or arrive after a newer one.
                let beside = other.replay && other.line.is_none();
                let goes_first = other.sequence < claim.delivery.sequence && other.is_pending();
                assert!(
                    beside || !goes_first,
                    "{:?} overtook {other:?}",
                    claim.delivery
                );
                let told = matches!(other.state, DeliveryState::Delivered { .. })
                    && other.sequence > claim.delivery.sequence;
                assert!(
                    !told || other.replay || claim.delivery.replay,
                    "{:?} comes after {other:?}",
                    claim.delivery
                );
            }
        }
        let number = claims.len();
        self.out.extend(claims);
        number
    }

    async fn ends(&mut self, at: usize, outcome: Outcome) {
        let claim = self.out.swap_remove(at);
        let asked = outcome.asked_until(self.now);
        // `None`: its lease had run out, and it is somebody else's.
        if self.bench.report(&claim, outcome, self.now).await.is_some() {
            self.asked.remove(&claim.event.id);
            self.asked
                .extend(asked.map(|until| (claim.event.id, until)));
        }
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Result { user, code } => {
                let (name, code) = (format!("user-{user}"), ["2", "3"][usize::from(code)]);
                let recorded = self.bench.settle_user(&name, code, self.now).await;
                self.events.extend(recorded.event);
            }
            Step::Claim { limit } => {
                self.claim(limit).await;
            }
            Step::Ends { which, status } if !self.out.is_empty() => {
                self.ends(which.index(self.out.len()), outcome(status))
                    .await;
            }
            Step::Outage { status } => self.outage(status).await,
            Step::Passes { secs } => self.now = self.now.plus(Duration::from_secs(secs)),
            Step::Pause => {
                let paused = self.store().pause(&self.endpoint, self.now).await;
                assert!(paused.expect("pauses").holds());
            }
            Step::Resume => {
                let resumed = self.store().resume(&self.endpoint, self.now).await;
                assert!(!resumed.expect("resumes").holds());
            }
            Step::Retry { which } if !self.events.is_empty() => {
                let event = self.events[which.index(self.events.len())];
                self.asked.remove(&event);
                let retried = self.store().retry(event, &self.endpoint, self.now).await;
                let _may_be_refused = retried.expect("works");
            }
            Step::Discard { which } if !self.events.is_empty() => {
                let event = self.events[which.index(self.events.len())];
                let discarded = self.store().discard(event, &self.endpoint, self.now).await;
                let _may_be_refused = discarded.expect("works");
            }
            Step::Job { kind, states } => self.job(kind, states).await,
            Step::Sweep { secs } => self.sweep(secs).await,
            Step::Restart => {
                self.bench.close().await;
                self.nothing_is_wrong();
                self.bench.reopen();
            }
            Step::Ends { .. } | Step::Retry { .. } | Step::Discard { .. } => {}
        }
    }

    async fn outage(&mut self, status: u16) {
        for _ in 0..6 {
            self.claim(1).await;
            while !self.out.is_empty() {
                self.ends(0, outcome(Some(status))).await;
            }
            self.now = self.now.plus(Duration::from_secs(5));
        }
    }

    /// Something is done with every delivery that stands so.
    async fn job(&mut self, kind: JobKind, states: Vec<Standing>) {
        let order = JobOrder {
            kind,
            endpoint: self.endpoint.clone(),
            since: at(0),
            until: self.now.plus(Duration::from_secs(1)),
            types: vec![],
            states,
        };
        let store = self.store();
        let total = store.count_job(&order, routing()).await.expect("counts");
        self.asked.clear();
        let store = self.store();
        let begun = store.begin_job(order, total, self.now).await;
        let mut job = begun.expect("begins");
        while job.progress.is_running() {
            let part = store.advance_job(job.id, 3, self.now, routing());
            job = part.await.expect("goes on").expect("is there");
        }
        assert_eq!(job.done, total, "counted is what is done");
    }

    /// What is settled and older than so many seconds goes.
    async fn sweep(&self, secs: u64) {
        let before = self.now.minus(Duration::from_secs(secs));
        let counted = self.store().count_settled(before).await.expect("counts");
        let (mut gone, mut from) = (Bygone::default(), None);
        loop {
            let step = self.store().sweep(before, from, 3).await.expect("works");
            gone = gone.plus(step.gone);
            from = step.next;
            if from.is_none() {
                break;
            }
        }
        assert_eq!(gone, counted, "counted is what goes");
    }

    /// Whoever is told that something is due finds something, or is not told so again.
    async fn does_not_spin(&mut self) {
        if self.due().await.is_some_and(|due| due <= self.now) && self.claim(64).await == 0 {
            let due = self.due().await;
            assert!(
                due.is_none_or(|due| due > self.now),
                "due, and not to be had"
            );
        }
    }

    /// The endpoint is well from now on, but for one event that it never takes: whatever was pending is told, but for
    /// that and what comes after it. Returns how long that took.
    async fn drain(&mut self) -> Duration {
        self.out.clear();
        let (began, mut last) = (self.now, self.now);
        let health = self.store().health(&self.endpoint).await.expect("reads");
        if self.poison.is_none() || health.paused.is_some() {
            let resumed = self.store().resume(&self.endpoint, self.now).await;
            assert!(!resumed.expect("resumes").holds());
        }
        while let Some(due) = self.due().await {
            self.now = self.now.max(due);
            self.claim(64).await;
            while let Some(claim) = self.out.first() {
                let is_poison = self.poison == Some(claim.event.id);
                if !is_poison {
                    last = self.now;
                }
                self.ends(0, if is_poison { refused() } else { heard() })
                    .await;
            }
            if self.only_poison_is_left().await {
                break;
            }
        }
        last.since(began)
    }

    /// Whether all are settled but what is refused and who waits behind it.
    async fn only_poison_is_left(&self) -> bool {
        for number in 0..4 {
            let line = self.line(&format!("user-{number}")).await;
            let pending = line.iter().filter(|one| one.is_pending());
            let stuck = line.iter().find(|one| Some(one.event) == self.poison);
            let stuck = stuck.filter(|one| one.is_pending());
            for one in pending {
                if stuck.is_none_or(|stuck| one.sequence < stuck.sequence) {
                    return false;
                }
            }
        }
        true
    }

    /// What is in the closed store agrees.
    fn nothing_is_wrong(&self) {
        let settings = EmbeddedSettings::at(self.bench.directory.path().to_owned(), 0);
        let report = verify_store(&settings).expect("can be looked at");
        assert_eq!(report.findings, []);
    }

    async fn nothing_is_left(&self) {
        for number in 0..4 {
            for delivery in self.line(&format!("user-{number}")).await {
                assert!(!delivery.is_pending(), "forgotten: {delivery:?}");
            }
        }
        let pending = self.store().pending().await.expect("reads").deliveries;
        let left = pending.iter().find(|(name, _)| *name == self.endpoint);
        assert_eq!(left, None, "counted as pending");
    }
}

/// How long nothing but what is refused may be told: the longest pause between probes and the time that the endpoint or
/// a delivery asked for, with a probe for each user who waits.
const LONGEST: Duration = Duration::from_secs(5 * 300 + 400);

async fn holds_through(open: Opener, steps: Vec<Step>, poison: Option<prop::sample::Index>) {
    let mut run = Run {
        bench: Bench::new(open),
        endpoint: "ledger".parse().expect("valid"),
        now: at(0),
        out: Vec::new(),
        events: Vec::new(),
        asked: HashMap::new(),
        poison: None,
    };
    for step in steps {
        let looks = matches!(step, Step::Claim { .. } | Step::Restart);
        run.step(step).await;
        if looks {
            run.does_not_spin().await;
        }
    }
    if let Some(which) = poison {
        // Two of each user, at least one of which is new.
        for (user, code) in [
            (0, 0),
            (1, 0),
            (2, 0),
            (3, 0),
            (0, 1),
            (1, 1),
            (2, 1),
            (3, 1),
        ] {
            run.step(Step::Result { user, code }).await;
        }
        run.outage(500).await;
        let mut pending = Vec::new();
        for number in 0..4 {
            let line = run.line(&format!("user-{number}")).await;
            pending.extend(line.into_iter().filter(Delivery::is_pending));
        }
        run.poison = (!pending.is_empty()).then(|| which.get(&pending).event);
        let took = run.drain().await;
        assert!(took <= LONGEST, "one event held the others for {took:?}");
        run.poison = None;
    }
    run.drain().await;
    run.nothing_is_left().await;
    run.bench.close().await;
    run.nothing_is_wrong();
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 40,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_delivery_is_forgotten_and_order_holds(
        steps in proptest::collection::vec(step(), 1..70),
        poison in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(holds_through(super::open_sled, steps, poison));
    }
}
