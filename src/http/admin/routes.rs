//! Every route of the operators' listener: the one table from which both the listener and its OpenAPI document are
//! made, so that neither can have what the other has not.

// long because: one table, an entry for each route.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, Route, web};
use bytes::Bytes;
use serde_json::json;

use super::api::{Answer, Failed};
use super::auth::Operator;
use super::query::Param;
use super::{api, copies, endpoints, jobs, lists, metrics, openapi, readiness};
use crate::domain::EventKind;
use crate::http::problem::Problem;
use crate::store::{CallbackState, DeliveryStand};

/// How a route is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Post,
}

impl Method {
    /// As in a document.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

/// What an answer consists of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    /// JSON of this schema, by its name in [`super::schemas`].
    Json(&'static str),
    /// Text or bytes of this type.
    Raw(&'static str),
}

/// One route.
pub(super) struct Operation {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) id: &'static str,
    pub(super) about: &'static str,
    handler: fn() -> Route,
    /// Whether it is answered without the token.
    pub(super) open: bool,
    /// Query parameters; any other is refused.
    pub(super) query: &'static [Param],
    /// The schema of the body that it takes.
    pub(super) body: Option<&'static str>,
    /// What it answers when it did what was asked.
    pub(super) answers: &'static [(u16, Shape)],
    /// Problems of its own. Those of every route are not repeated.
    pub(super) problems: &'static [u16],
}

const fn route(
    method: Method,
    path: &'static str,
    id: &'static str,
    about: &'static str,
    handler: fn() -> Route,
    answers: &'static [(u16, Shape)],
) -> Operation {
    Operation {
        method,
        path,
        id,
        about,
        handler,
        open: false,
        query: &[],
        body: None,
        answers,
        problems: &[],
    }
}

impl Operation {
    const fn open(self) -> Self {
        Self { open: true, ..self }
    }

    const fn takes(self, query: &'static [Param]) -> Self {
        Self { query, ..self }
    }

    const fn body(self, schema: &'static str) -> Self {
        Self {
            body: Some(schema),
            ..self
        }
    }

    const fn fails(self, problems: &'static [u16]) -> Self {
        Self { problems, ..self }
    }
}

const ENDPOINT: Param = Param::new(
    "endpoint",
    "to this endpoint",
    || json!({"type": "string", "pattern": "^[a-z0-9-]{1,64}$"}),
);
const CALLBACK_STATE: Param = Param::new(
    "state",
    "how it was taken, or how its sign checked",
    || json!({"type": "string", "enum": CallbackState::ALL.map(CallbackState::as_str)}),
);
const EVENT_TYPE: Param = Param {
    repeats: true,
    ..Param::new(
        "type",
        "of this type; may be given several times",
        || json!({"type": "array", "items": {"type": "string", "enum": EventKind::ALL.map(EventKind::as_str)}}),
    )
};
const DELIVERY_STATE: Param = Param::new(
    "state",
    "standing so; `held` waits for an endpoint that is down or paused, `given_up` is abandoned and not discarded by anybody",
    || json!({"type": "string", "enum": DeliveryStand::ALL.map(DeliveryStand::as_str)}),
);
const WATCH_STATE: Param = Param::new(
    "state",
    "only those that are stuck",
    || json!({"type": "string", "enum": ["stuck"]}),
);

use Method::{Get, Post};
use Shape::{Json, Raw};

/// All of them; those of one path stand together.
pub(super) static OPERATIONS: &[Operation] = &[
    route(
        Get,
        "/healthz",
        "healthz",
        "Whether the process serves",
        || web::get().to(super::healthy),
        &[(200, Raw("text/plain"))],
    )
    .open(),
    route(
        Get,
        "/readyz",
        "readyz",
        "Whether callbacks should be sent here, and if not, why",
        || web::get().to(readiness::answer),
        &[(200, Json("Ready")), (503, Json("Ready"))],
    )
    .open(),
    route(
        Get,
        "/metrics",
        "metrics",
        "OpenMetrics text for Prometheus",
        || web::get().to(metrics::answer),
        &[(200, Raw("application/openmetrics-text"))],
    )
    .open(),
    route(
        Get,
        "/api/v1/openapi.json",
        "openapi",
        "This document",
        || web::get().to(openapi::answer),
        &[(200, Json("Document"))],
    ),
    route(
        Get,
        "/api/v1/status",
        "status",
        "What needs someone, counts, lags and versions",
        || web::get().to(api::status),
        &[(200, Json("Status"))],
    ),
    route(
        Get,
        "/api/v1/callbacks",
        "listCallbacks",
        "Callbacks, newest first, without their bodies",
        || web::get().to(lists::callbacks),
        &[(200, Json("Callbacks"))],
    )
    .takes(&[
        CALLBACK_STATE,
        Param::MERCHANT,
        Param::USER,
        Param::SINCE,
        Param::UNTIL,
        Param::LIMIT,
        Param::CURSOR,
    ]),
    route(
        Get,
        "/api/v1/callbacks/{id}",
        "callback",
        "One callback byte for byte",
        || web::get().to(lists::callback),
        &[(200, Json("WholeCallback"))],
    )
    .fails(&[404]),
    route(
        Post,
        "/api/v1/callbacks/{id}/reprocess",
        "reprocess",
        "Reads a callback again and asks about its user",
        || web::post().to(lists::reprocess),
        &[(202, Json("Reprocessed"))],
    )
    .fails(&[404, 409]),
    route(
        Get,
        "/api/v1/users/{merchant}/{user}",
        "user",
        "The whole story of a user",
        || web::get().to(api::user),
        &[(200, Json("Story"))],
    )
    .fails(&[404]),
    route(
        Post,
        "/api/v1/users/{merchant}/{user}/verify",
        "verify",
        "Asks Vexora about a user now",
        || web::post().to(api::verify),
        &[(202, Json("Asked"))],
    )
    .fails(&[404]),
    route(
        Get,
        "/api/v1/watched",
        "listWatched",
        "Users who are asked about, in order of merchant and user; the stuck ones alone: the latest stuck first",
        || web::get().to(lists::watched),
        &[(200, Json("Watched"))],
    )
    .takes(&[
        WATCH_STATE,
        Param::MERCHANT,
        Param::USER,
        Param::SINCE,
        Param::UNTIL,
        Param::LIMIT,
        Param::CURSOR,
    ]),
    route(
        Get,
        "/api/v1/events",
        "listEvents",
        "Events, newest first",
        || web::get().to(lists::events),
        &[(200, Json("Events"))],
    )
    .takes(&[
        EVENT_TYPE,
        Param::MERCHANT,
        Param::USER,
        Param::SINCE,
        Param::UNTIL,
        Param::LIMIT,
        Param::CURSOR,
    ]),
    route(
        Get,
        "/api/v1/events/{id}",
        "event",
        "One event with its deliveries and their attempts",
        || web::get().to(lists::event),
        &[(200, Json("WholeEvent"))],
    )
    .fails(&[404]),
    route(
        Get,
        "/api/v1/deliveries",
        "listDeliveries",
        "Deliveries, those of the newest event first",
        || web::get().to(lists::deliveries),
        &[(200, Json("Deliveries"))],
    )
    .takes(&[
        ENDPOINT,
        DELIVERY_STATE,
        Param::MERCHANT,
        Param::USER,
        Param::SINCE,
        Param::UNTIL,
        Param::LIMIT,
        Param::CURSOR,
    ]),
    route(
        Get,
        "/api/v1/deliveries/{event}/{endpoint}",
        "delivery",
        "One delivery with its attempts",
        || web::get().to(endpoints::delivery),
        &[(200, Json("WholeDelivery"))],
    )
    .fails(&[404]),
    route(
        Post,
        "/api/v1/deliveries/{event}/{endpoint}/retry",
        "retry",
        "Tries an abandoned delivery again, or a waiting one at once",
        || web::post().to(endpoints::retry),
        &[(200, Json("Delivery"))],
    )
    .fails(&[404, 409]),
    route(
        Post,
        "/api/v1/deliveries/{event}/{endpoint}/discard",
        "discard",
        "Gives a delivery up",
        || web::post().to(endpoints::discard),
        &[(200, Json("Delivery"))],
    )
    .fails(&[404, 409]),
    route(
        Get,
        "/api/v1/endpoints",
        "listEndpoints",
        "Every endpoint: how it is, and what is pending",
        || web::get().to(endpoints::list),
        &[(200, Json("Endpoints"))],
    ),
    route(
        Get,
        "/api/v1/endpoints/{name}",
        "endpoint",
        "One endpoint",
        || web::get().to(endpoints::show),
        &[(200, Json("Endpoint"))],
    )
    .fails(&[404]),
    route(
        Post,
        "/api/v1/endpoints/{name}/pause",
        "pause",
        "Holds an endpoint's deliveries until it is resumed",
        || web::post().to(endpoints::pause),
        &[(200, Json("Endpoint"))],
    )
    .fails(&[404]),
    route(
        Post,
        "/api/v1/endpoints/{name}/resume",
        "resume",
        "Takes an endpoint for up: what was held goes out",
        || web::post().to(endpoints::resume),
        &[(200, Json("Endpoint"))],
    )
    .fails(&[404]),
    route(
        Post,
        "/api/v1/endpoints/{name}/test",
        "test",
        "Sends an endpoint a relay.test event",
        || web::post().to(endpoints::test),
        &[(202, Json("Sent"))],
    )
    .fails(&[404]),
    route(
        Post,
        "/api/v1/endpoints/{name}/replay",
        "replay",
        "Tells an endpoint again what it may have missed; with dry_run, only how much that is",
        || web::post().to(jobs::replay),
        &[(200, Json("Ordered")), (202, Json("Ordered"))],
    )
    .body("JobOrder")
    .fails(&[404]),
    route(
        Post,
        "/api/v1/endpoints/{name}/retry",
        "retryMany",
        "Tries again what was given up, or at once what waits; with dry_run, only how much that is",
        || web::post().to(jobs::retry),
        &[(200, Json("Ordered")), (202, Json("Ordered"))],
    )
    .body("JobOrder")
    .fails(&[404]),
    route(
        Post,
        "/api/v1/endpoints/{name}/discard",
        "discardMany",
        "Gives up what waits, for good what was given up; with dry_run, only how much that is",
        || web::post().to(jobs::discard),
        &[(200, Json("Ordered")), (202, Json("Ordered"))],
    )
    .body("JobOrder")
    .fails(&[404]),
    route(
        Get,
        "/api/v1/jobs",
        "listJobs",
        "What was ordered of many deliveries at once, newest first",
        || web::get().to(jobs::list),
        &[(200, Json("Jobs"))],
    ),
    route(
        Get,
        "/api/v1/jobs/{id}",
        "job",
        "How far a job is",
        || web::get().to(jobs::show),
        &[(200, Json("Job"))],
    )
    .fails(&[404]),
    route(
        Post,
        "/api/v1/jobs/{id}/cancel",
        "cancelJob",
        "Ends a job; what was done stays done",
        || web::post().to(jobs::cancel),
        &[(200, Json("Job"))],
    )
    .fails(&[404]),
    route(
        Post,
        "/api/v1/applications",
        "apply",
        "Applies to Vexora (kycApplyFor); then the user is asked about until the result is final",
        || web::post().to(api::apply),
        &[
            (200, Json("Applied")),
            (202, Json("Applied")),
        ],
    )
    .body("Application")
    .fails(&[404, 409, 422, 502]),
    route(
        Post,
        "/api/v1/watch",
        "watch",
        "Has users asked about until their results are final, who applied by other ways",
        || web::post().to(api::watch),
        &[(200, Json("Watching"))],
    )
    .body("Watch")
    .fails(&[404]),
    route(
        Get,
        "/api/v1/retention",
        "retention",
        "How much settled work is older than store.retention and would go now; nothing goes by asking",
        || web::get().to(api::retention),
        &[(200, Json("Retention"))],
    ),
    route(
        Get,
        "/api/v1/backup",
        "backup",
        "A consistent image of the whole store, for `restore`",
        || web::get().to(copies::backup),
        &[(200, Raw("application/octet-stream"))],
    ),
    route(
        Get,
        "/api/v1/export",
        "export",
        "Everything in the store as JSON Lines",
        || web::get().to(copies::export),
        &[(200, Raw("application/x-ndjson"))],
    ),
];

/// The operation that a request is for.
pub(super) fn of(request: &HttpRequest) -> Option<&'static Operation> {
    let pattern = request.match_pattern()?;
    let method = request.method().as_str();
    let named = OPERATIONS.iter().filter(|one| one.path == pattern);
    named.into_iter().find(|one| one.method.name() == method)
}

/// The routes, for the listener.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    for path in OPERATIONS.chunk_by(|one, next| one.path == next.path) {
        let Some(first) = path.first() else { continue };
        let mut resource = web::resource(first.path);
        for operation in path {
            resource = resource.route((operation.handler)());
        }
        let allow = match path {
            [one] => one.method.name(),
            _ => "GET, POST",
        };
        resource = if first.open {
            resource.default_service(web::to(move || async move { refuse_method(allow) }))
        } else {
            resource.default_service(web::to(
                move |_: Operator| async move { other_method(allow) },
            ))
        };
        config.service(resource);
    }
    config.service(web::scope("/api").default_service(web::to(nothing)));
}

fn refuse_method(allow: &'static str) -> HttpResponse<Bytes> {
    Problem::method_not_allowed(allow).response()
}

fn other_method(allow: &'static str) -> Answer {
    Err(Failed(Problem::method_not_allowed(allow)))
}

async fn nothing(_: Operator) -> Answer {
    Err(Failed(Problem::no_such_route()))
}

/// What a path holds that does not parse.
pub(super) fn bad_path() -> Failed {
    let detail = "a part of the path is not what it must be; escape what is not a letter or digit";
    Failed(Problem::new(
        StatusCode::BAD_REQUEST,
        "invalid_request",
        detail,
    ))
}
