//! The engine around any `tower` service that speaks HTTP (axum, hyper, tonic): the feature `tower`.
//!
//! ```no_run
//! # fn example(peer: fn(&http::Extensions) -> Option<std::net::IpAddr>) {
//! let everything = security::SecurityLayer::new().peer(peer);
//! let readers_only = security::SecurityLayer::new().requires(["reports:read"]);
//! # }
//! ```
//!
//! A handler finds the request's state in the extensions, as `Arc<security::RequestState>`. The engine's part of a
//! request takes microseconds and is done where the service is called; nothing here is a future of its own.

use std::{
    future::Future,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{
    Extensions, Request, Response,
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue},
    request::Parts,
};
use pin_project_lite::pin_project;
use security_web::{BodyLength, Decision, Problem, RequestView};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    Engine, PolicyOverride, RequestState, Result, middleware::internal_error, utils::generate_request_id,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Where the address of the TCP peer lies in a request's extensions.
type Peer = fn(&Extensions) -> Option<IpAddr>;

/// Puts the engine in front of and behind every request of a service.
///
/// Refused requests get a JSON body (RFC 9457) and never reach the service. Request bodies are looked at with
/// [`SecurityLayer::inspecting_bodies`]. Every response gets `X-Request-ID` and
/// the security headers that the service did not set itself. The service's errors pass through.
#[derive(Debug, Clone, Default)]
pub struct SecurityLayer {
    engine: Option<Arc<Engine>>,
    policy: Option<Arc<PolicyOverride>>,
    peer: Option<Peer>,
    scopes: Option<Arc<[String]>>,
    is_https: bool,
}

impl SecurityLayer {
    /// A layer over the process's own engine, opened at the first request.
    pub fn new() -> Self {
        Self::default()
    }

    /// With this engine instead.
    #[must_use]
    pub fn engine(mut self, engine: Arc<Engine>) -> Self {
        self.engine = Some(engine);
        self
    }

    /// With settings of the service's own.
    #[must_use]
    pub fn policy(mut self, policy: PolicyOverride) -> Self {
        self.policy = Some(Arc::new(policy));
        self
    }

    /// Says where the server left the address of the TCP peer; by default a `SocketAddr` in the extensions. Without
    /// an address a client is unknown, and sensitive paths are closed to it.
    #[must_use]
    pub fn peer(mut self, peer: Peer) -> Self {
        self.peer = Some(peer);
        self
    }

    /// Says that the server speaks TLS itself, which a request to it does not tell.
    #[must_use]
    pub fn https(mut self, is_https: bool) -> Self {
        self.is_https = is_https;
        self
    }

    /// Lets only requests with a valid API key through, one that has all of these scopes. Inside another layer of
    /// this kind it goes on with that one's judgement, and nothing is counted twice.
    #[must_use]
    pub fn requires<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.scopes = Some(scopes.into_iter().map(Into::into).collect());
        self
    }

    /// The request's state, and the refusal if it is one.
    pub(crate) fn judge(&self, parts: &Parts, length: BodyLength) -> Result<Judged> {
        let engine = match &self.engine {
            Some(engine) => engine.clone(),
            None => crate::current()?,
        };
        let known = parts.extensions.get::<Arc<RequestState>>().filter(|_| self.policy.is_none());
        let is_known = known.is_some();
        let state = match known {
            Some(state) => state.clone(),
            None => Arc::new(self.begin(&engine, parts, length)?),
        };
        let refusal = match &self.scopes {
            _ if !state.decision().is_allowed() => Some(state.decision().clone()),
            // The engine's own answer is nobody's view.
            Some(scopes) if state.answer().is_none() => state.refusal_for(&engine, scopes)?,
            _ => None,
        };
        Ok(Judged { engine, state, refusal, is_known })
    }

    fn begin(&self, engine: &Engine, parts: &Parts, length: BodyLength) -> Result<RequestState> {
        let headers: Vec<(&str, &[u8])> =
            parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let of_extensions =
            |extensions: &Extensions| extensions.get::<std::net::SocketAddr>().map(std::net::SocketAddr::ip);
        let peer = self.peer.map_or_else(|| of_extensions(&parts.extensions), |peer| peer(&parts.extensions));
        let peer = peer.map(|ip| ip.to_string());
        let view = RequestView {
            method: parts.method.as_str(),
            path: parts.uri.path(),
            query: parts.uri.query().unwrap_or_default(),
            headers: &headers,
            remote_addr: peer.as_deref(),
            scheme: if self.is_https { "https" } else { parts.uri.scheme_str().unwrap_or("http") },
            body: None,
        };
        match &self.policy {
            None => engine.begin_request_before(&view, length),
            Some(policy) => engine.begin_request_under(policy.on(engine)?, &view, length),
        }
    }
}

/// A request as it was judged.
pub(crate) struct Judged {
    pub(crate) engine: Arc<Engine>,
    pub(crate) state: Arc<RequestState>,
    pub(crate) refusal: Option<Decision>,
    /// Whether a layer outside of this one has judged it.
    pub(crate) is_known: bool,
}

impl<S> Layer<S> for SecurityLayer {
    type Service = SecurityService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        SecurityService { inner, layer: self.clone() }
    }
}

/// A service with the engine around it; made by [`SecurityLayer`].
#[derive(Debug, Clone)]
pub struct SecurityService<S> {
    inner: S,
    layer: SecurityLayer,
}

impl<S, B, R> Service<Request<B>> for SecurityService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: From<String>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = SecurityFuture<S::Future, R>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<std::result::Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        match self.layer.judge(&parts, BodyLength::Absent) {
            Ok(Judged { state, refusal: None, .. }) if state.answer().is_none() => {
                parts.extensions.insert(state.clone());
                SecurityFuture::inner(self.inner.call(Request::from_parts(parts, body)), state)
            }
            Ok(Judged { state, refusal, .. }) => {
                let refusal = refusal.as_ref().unwrap_or(state.decision());
                let mut response = response_of(refusal, state.answer());
                add_headers(&mut response, &state);
                SecurityFuture::given(response)
            }
            Err(error) => SecurityFuture::given(failed(&error)),
        }
    }
}

pin_project! {
    /// The response to come, or the refusal that is there already.
    #[derive(Debug)]
    pub struct SecurityFuture<F, R> {
        #[pin]
        answer: Answer<F, R>,
    }
}

pin_project! {
    #[project = Projected]
    #[derive(Debug)]
    enum Answer<F, R> {
        Inner { #[pin] future: F, state: Arc<RequestState> },
        // Until it is taken.
        Given { response: Option<Response<R>> },
    }
}

impl<F, R> SecurityFuture<F, R> {
    fn inner(future: F, state: Arc<RequestState>) -> Self {
        Self { answer: Answer::Inner { future, state } }
    }

    fn given(response: Response<R>) -> Self {
        Self { answer: Answer::Given { response: Some(response) } }
    }
}

impl<F, R, E> Future for SecurityFuture<F, R>
where
    F: Future<Output = std::result::Result<Response<R>, E>>,
{
    type Output = std::result::Result<Response<R>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().answer.project() {
            Projected::Inner { future, state } => {
                let mut response = ready!(future.poll(context))?;
                add_headers(&mut response, state);
                Poll::Ready(Ok(response))
            }
            // A future that is polled after it was ready may wait for ever; it must not panic.
            Projected::Given { response } => {
                response.take().map_or(Poll::Pending, |answer| Poll::Ready(Ok(answer)))
            }
        }
    }
}

/// The answer when the engine itself fails: nobody gets in.
pub(crate) fn failed<R: From<String>>(error: &crate::Error) -> Response<R> {
    let request_id = generate_request_id();
    tracing::error!(%error, %request_id, "a request could not be judged and was turned away");
    let mut response = response_of(&internal_error(&request_id), None);
    set(&mut response, REQUEST_ID, &request_id);
    response
}

/// A refusal, or what the engine answers itself.
pub(crate) fn response_of<R: From<String>>(refusal: &Decision, answer: Option<&str>) -> Response<R> {
    if let Some(answer) = answer.filter(|_| refusal.is_allowed()) {
        let mut response = Response::new(R::from(answer.to_owned()));
        set(&mut response, CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
        set(&mut response, CACHE_CONTROL, "no-store");
        return response;
    }
    let body = refusal.body.as_ref().map(Problem::to_json).unwrap_or_default();
    let mut response = Response::new(R::from(body));
    if let Ok(status) = http::StatusCode::from_u16(refusal.status) {
        *response.status_mut() = status;
    }
    set(&mut response, CONTENT_TYPE, Problem::MEDIA_TYPE);
    for (name, value) in &refusal.headers {
        if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
            set(&mut response, name, value);
        }
    }
    response
}

/// The headers that the service did not set, and the id, which is ours whatever it says.
pub(crate) fn add_headers<R>(response: &mut Response<R>, state: &RequestState) {
    let ours = state.policy_headers(state.was_key_judged()).iter().chain(&state.decision().headers);
    for (name, value) in ours {
        if !response.headers().contains_key(*name)
            && let Ok(name) = HeaderName::from_bytes(name.as_bytes())
        {
            set(response, name, value);
        }
    }
    set(response, REQUEST_ID, state.request_id());
}

fn set<R>(response: &mut Response<R>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}
