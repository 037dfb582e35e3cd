//! The dashboard: `/` of the operators' listener. Pages for people, made on the server.
//!
//! Promise: it works without JavaScript; nothing is loaded from elsewhere; whatever came from outside is shown
//! harmless; no page is longer or reads more because the store holds more; what changes something is a form of a
//! session, and leads to a page that says what was done.

mod abandoned;
mod assets;
mod bulk;
mod endpoints;
mod events;
mod fields;
mod layout;
mod now;
mod plots;
mod session;
mod show;
mod sign_in;
mod story;
mod unrecognized;
mod users;
mod visit;

use actix_web::web;

pub(super) use session::Sessions;

/// The routes. Paths beneath `/api` and the monitoring's own are others'.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    let delivery = "/deliveries/{event}/{endpoint}";
    config
        .route("/assets/{name}", web::get().to(assets::serve))
        .route("/sign-in", web::get().to(sign_in::show))
        .route("/sign-in", web::post().to(sign_in::enter))
        .route("/sign-out", web::post().to(sign_in::leave))
        .route("/", web::get().to(now::show))
        .route("/now", web::get().to(now::refresh))
        .route("/users", web::get().to(users::show))
        .route("/user", web::get().to(story::show))
        .route("/user/verify", web::post().to(story::verify))
        .route("/user/watch", web::post().to(story::watch))
        .route("/events", web::get().to(events::list))
        .route("/events/{id}", web::get().to(events::one))
        .route(&format!("{delivery}/retry"), web::post().to(events::retry))
        .route(
            &format!("{delivery}/discard"),
            web::post().to(events::discard),
        )
        .route("/endpoints", web::get().to(endpoints::list))
        .route("/endpoints/{name}", web::get().to(endpoints::one))
        .route("/endpoints/{name}/pause", web::post().to(endpoints::pause))
        .route(
            "/endpoints/{name}/resume",
            web::post().to(endpoints::resume),
        )
        .route("/endpoints/{name}/test", web::post().to(endpoints::test))
        .route("/endpoints/{name}/bulk", web::get().to(bulk::ask))
        .route("/endpoints/{name}/bulk", web::post().to(bulk::begin))
        .route("/jobs/{id}/cancel", web::post().to(bulk::cancel))
        .route("/abandoned", web::get().to(abandoned::show))
        .route("/unrecognized", web::get().to(unrecognized::list))
        .route("/callbacks/{id}", web::get().to(unrecognized::one))
        .route(
            "/callbacks/{id}/reprocess",
            web::post().to(unrecognized::reprocess),
        );
}
