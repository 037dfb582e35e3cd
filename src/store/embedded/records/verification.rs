//! Asking about a user, on disk: the verification under way, the queries so far, and what is known of the user.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::numbers::{millis, source_number, source_of, span, trust_number, trust_of};
use crate::domain::{
    Answer, Application, ApplicationState, Heard, LastVerdict, QueryFailure, Status, Timestamp,
    UserState, Verdict, Verification, VerificationState, VerifyPhase,
};
use crate::store::QueryRecord;
use crate::store::embedded::codec::Record;
use crate::store::embedded::keys::Tree;

#[derive(Serialize, Deserialize)]
pub(crate) struct VerificationV1 {
    source: u8,
    trust: u8,
    since: u64,
    queries: u32,
    tries: u32,
    stuck_at: Option<u64>,
    due: u64,
    leased: bool,
    /// The trust of whoever rang during the query.
    again: Option<u8>,
    asked: Option<u64>,
}

impl Record for Verification {
    const TREE: Tree = Tree::Verifications;
    const VERSION: u8 = 1;
    type Stored = VerificationV1;

    fn into_stored(self) -> VerificationV1 {
        let (tries, stuck_at) = match self.phase {
            VerifyPhase::Seeking { tries } => (tries, None),
            VerifyPhase::Stuck { at } => (0, Some(millis(at))),
        };
        let (leased, again) = match self.state {
            VerificationState::Waiting { .. } => (false, None),
            VerificationState::Querying { again, .. } => (true, again.map(trust_number)),
        };
        VerificationV1 {
            source: source_number(self.source),
            trust: trust_number(self.trust),
            since: millis(self.since),
            queries: self.queries,
            tries,
            stuck_at,
            due: millis(self.due()),
            leased,
            again,
            asked: self.asked.map(millis),
        }
    }

    fn from_stored(stored: VerificationV1) -> Result<Self, String> {
        let due = Timestamp::from_millis(stored.due);
        let tries = stored.tries;
        Ok(Self {
            source: source_of(stored.source)?,
            trust: trust_of(stored.trust)?,
            since: Timestamp::from_millis(stored.since),
            queries: stored.queries,
            asked: stored.asked.map(Timestamp::from_millis),
            phase: stored
                .stuck_at
                .map_or(VerifyPhase::Seeking { tries }, |at| VerifyPhase::Stuck {
                    at: Timestamp::from_millis(at),
                }),
            state: if stored.leased {
                VerificationState::Querying {
                    until: due,
                    again: stored.again.map(trust_of).transpose()?,
                }
            } else {
                VerificationState::Waiting { due }
            },
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct VerdictV1 {
    status: String,
    reason: Option<String>,
}

impl VerdictV1 {
    pub(super) fn of(verdict: &Verdict) -> Self {
        Self {
            status: verdict.status().code().to_owned(),
            reason: verdict.reason().map(str::to_owned),
        }
    }

    pub(super) fn read(self) -> Result<Verdict, String> {
        let status = Status::parse(&self.status).map_err(|error| error.to_string())?;
        Ok(Verdict::new(status, self.reason))
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct UserV1 {
    sequence: u64,
    last: Option<(VerdictV1, u64)>,
    waited: bool,
    application: Option<ApplicationV1>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct ApplicationV1 {
    at: u64,
    /// Whether the provider is known to have it.
    accepted: bool,
    seen_waiting: bool,
    claimed_approved: bool,
    claimed_rejected: bool,
}

impl ApplicationV1 {
    fn of(sent: Application) -> Self {
        Self {
            at: millis(sent.at),
            accepted: sent.state == ApplicationState::Accepted,
            seen_waiting: sent.heard.waiting,
            claimed_approved: sent.heard.approved,
            claimed_rejected: sent.heard.rejected,
        }
    }

    const fn read(self) -> Application {
        Application {
            at: Timestamp::from_millis(self.at),
            state: if self.accepted {
                ApplicationState::Accepted
            } else {
                ApplicationState::Unknown
            },
            heard: Heard {
                waiting: self.seen_waiting,
                approved: self.claimed_approved,
                rejected: self.claimed_rejected,
            },
        }
    }
}

impl Record for UserState {
    const TREE: Tree = Tree::Users;
    const VERSION: u8 = 1;
    type Stored = UserV1;

    fn into_stored(self) -> UserV1 {
        UserV1 {
            sequence: self.sequence,
            last: self
                .last
                .map(|last| (VerdictV1::of(&last.verdict), millis(last.at))),
            waited: self.waited,
            application: self.application.map(ApplicationV1::of),
        }
    }

    fn from_stored(stored: UserV1) -> Result<Self, String> {
        let last = stored.last.map(|(verdict, at)| {
            Ok::<_, String>(LastVerdict {
                verdict: verdict.read()?,
                at: Timestamp::from_millis(at),
            })
        });
        Ok(Self {
            sequence: stored.sequence,
            last: last.transpose()?,
            waited: stored.waited,
            application: stored.application.map(ApplicationV1::read),
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) enum AnswerV1 {
    Verdict(VerdictV1),
    Interrupted,
    Connect,
    Timeout,
    Http(u16),
    NotJson,
    Refused(String),
    Unreadable,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct QueryV1 {
    at: u64,
    took_us: u64,
    answer: AnswerV1,
}

impl Record for QueryRecord {
    const TREE: Tree = Tree::Queries;
    const VERSION: u8 = 1;
    type Stored = QueryV1;

    fn into_stored(self) -> QueryV1 {
        let answer = match self.answer {
            Answer::Verdict(verdict) => AnswerV1::Verdict(VerdictV1::of(&verdict)),
            Answer::Failed(failure) => match failure {
                QueryFailure::Interrupted => AnswerV1::Interrupted,
                QueryFailure::Connect => AnswerV1::Connect,
                QueryFailure::Timeout => AnswerV1::Timeout,
                QueryFailure::Http(status) => AnswerV1::Http(status),
                QueryFailure::NotJson => AnswerV1::NotJson,
                QueryFailure::Refused(code) => AnswerV1::Refused(code),
                QueryFailure::Unreadable => AnswerV1::Unreadable,
            },
        };
        QueryV1 {
            at: millis(self.at),
            took_us: span(self.took),
            answer,
        }
    }

    fn from_stored(stored: QueryV1) -> Result<Self, String> {
        let failed = |failure| Ok(Answer::Failed(failure));
        let answer = match stored.answer {
            AnswerV1::Verdict(verdict) => Ok(Answer::Verdict(verdict.read()?)),
            AnswerV1::Interrupted => failed(QueryFailure::Interrupted),
            AnswerV1::Connect => failed(QueryFailure::Connect),
            AnswerV1::Timeout => failed(QueryFailure::Timeout),
            AnswerV1::Http(status) => failed(QueryFailure::Http(status)),
            AnswerV1::NotJson => failed(QueryFailure::NotJson),
            AnswerV1::Refused(code) => failed(QueryFailure::Refused(code)),
            AnswerV1::Unreadable => failed(QueryFailure::Unreadable),
        };
        Ok(Self {
            at: Timestamp::from_millis(stored.at),
            took: Duration::from_micros(stored.took_us),
            answer: answer.map_err(|never: String| never)?,
        })
    }
}
