//! The sandbox's routes and its listener.
//!
//! Promise: one worker, no signal handlers of its own, bodies of at most 64 KiB; a wrong method is 405 with `Allow`,
//! anything unknown 404. It ends when the engine is stopped.

use std::net::TcpListener;
use std::sync::Arc;

use actix_web::dev::Server;
use actix_web::http::header::ALLOW;
use actix_web::web::{self, PayloadConfig, ServiceConfig};
use actix_web::{App, HttpResponse, HttpServer, Route, guard};

use super::engine::Engine;
use super::{api, control};

/// The path before the provider's own, as on its real hosts.
pub(super) const PREFIX: &str = "/japan";
/// Larger than any honest application, and the relay's own bound for callbacks.
const MAX_BODY: usize = 64 * 1024;

/// Prepares the server on a bound listener; it runs once it is polled.
pub(super) fn server(listener: TcpListener, engine: &Arc<Engine>) -> std::io::Result<Server> {
    let data = web::Data::from(Arc::clone(engine));
    let server = HttpServer::new(move || {
        App::new()
            .app_data(data.clone())
            .app_data(PayloadConfig::new(MAX_BODY))
            .configure(routes)
    })
    .workers(1)
    .disable_signals()
    .listen(listener)?
    .run();
    Ok(server)
}

/// Runs the server until the engine is stopped.
pub(super) async fn run(server: Server, engine: Arc<Engine>) {
    let handle = server.handle();
    let stop = async {
        engine.stop.cancelled().await;
        // Not gracefully: a simulated provider owes nobody the end of an answer.
        handle.stop(false).await;
    };
    let (ended, ()) = tokio::join!(server, stop);
    if let Err(problem) = ended {
        tracing::error!(%problem, "the sandbox's listener failed");
    }
}

fn routes(config: &mut ServiceConfig) {
    let provider = web::scope(PREFIX)
        .service(
            web::resource("/v1/vexora/kycStatusQuery")
                .route(web::post().to(api::query))
                .default_service(only("POST")),
        )
        .service(
            web::resource("/v1/vexora/kycApplyFor")
                .route(web::post().to(api::apply))
                .default_service(only("POST")),
        );
    // Whoever may steer the simulation sits at this machine.
    let local = guard::fn_guard(|request| {
        request
            .head()
            .peer_addr
            .is_some_and(|peer| peer.ip().to_canonical().is_loopback())
    });
    let control = web::scope("/control")
        .guard(local)
        .service(
            web::resource("/faults")
                .route(web::get().to(control::get_faults))
                .route(web::put().to(control::put_faults))
                .default_service(only("GET, PUT")),
        )
        .service(
            web::resource("/requests")
                .route(web::get().to(control::get_requests))
                .default_service(only("GET")),
        )
        .service(
            web::resource("/users")
                .route(web::get().to(control::get_users))
                .default_service(only("GET")),
        )
        .service(
            web::resource("/users/{merchant}/{user}")
                .route(web::get().to(control::get_user))
                .route(web::put().to(control::put_user))
                .default_service(only("GET, PUT")),
        )
        .service(
            web::resource("/users/{merchant}/{user}/callback")
                .route(web::post().to(control::post_callback))
                .default_service(only("POST")),
        );
    config.service(provider).service(control);
}

fn only(allowed: &'static str) -> Route {
    web::to(move || async move {
        HttpResponse::MethodNotAllowed()
            .insert_header((ALLOW, allowed))
            .finish()
    })
}
