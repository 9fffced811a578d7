//! An axum application with the engine around it: one layer for everything, a second one where a key is asked for.
//!
//! ```text
//! API_KEY=choose-a-long-one cargo run -p security-axum-example
//! curl -i http://127.0.0.1:8000/reports                                   # 401, application/problem+json
//! curl -i -H 'X-API-Key: choose-a-long-one' http://127.0.0.1:8000/reports # 200
//! ```

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Extension, Json, Router,
    body::{Body, Bytes},
    extract::ConnectInfo,
    routing::{get, post},
};
use security::{ApiKeyView, Engine, RequestState, SecurityLayer};

/// The application over one engine.
pub fn application(engine: &Arc<Engine>) -> Router {
    let reports = Router::new()
        .route("/reports", get(reports))
        // Not `layer`: that would also stand before what no route knows.
        .route_layer(SecurityLayer::new().engine(engine.clone()).requires(["reports:read"]));
    Router::new()
        .route("/", get(greet))
        .route("/admin/panel", get(panel))
        .merge(reports)
        .route("/echo", post(echo))
        // axum leaves the peer's address in an extension of its own.
        .layer(
            SecurityLayer::new()
                .engine(engine.clone())
                .peer(|extensions| extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip()))
                .inspecting_bodies(Body::new)
                // A body that does not come in time is answered 408.
                .waiting(tokio::time::sleep),
        )
}

async fn greet(Extension(state): Extension<Arc<RequestState>>) -> String {
    format!("request {}\n", state.request_id())
}

async fn echo(body: Bytes) -> Bytes {
    body
}

async fn panel() -> &'static str {
    "for trusted networks only\n"
}

async fn reports(Extension(state): Extension<Arc<RequestState>>) -> Json<Option<Vec<String>>> {
    Json(state.api_key().map(|ApiKeyView { scopes, .. }| scopes))
}
