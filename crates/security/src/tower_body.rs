//! The `tower` layer for services whose request bodies are to be inspected too.
//!
//! ```no_run
//! # use security::{ReplayedBody, SecurityLayer};
//! # fn example<B: http_body::Body>(wrap: fn(ReplayedBody<B>) -> B) {
//! let layer = SecurityLayer::new().inspecting_bodies(wrap); // axum: `axum::body::Body::new`
//! # }
//! ```
//!
//! The first bytes of a body are awaited and judged before the service is called, which reads the whole as it came.
//! Nothing here has a clock: with the runtime's own, [`SecurityBodyLayer::waiting`] ends a wait after the policy's
//! `bodies.wait_seconds`. Without it, how long to wait is the server's to say.

use std::{
    collections::VecDeque,
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, header::CONTENT_LENGTH};
use http_body::{Body, Frame, SizeHint};
use security_web::BodyLength;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    Engine, RequestState, SecurityLayer,
    tower_layer::{Judged, add_headers, failed, response_of},
};

/// An error of a body.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl SecurityLayer {
    /// The same, looking at request bodies too. `wrap` makes the service's own type of body of one whose first part
    /// was read already; for axum it is `axum::body::Body::new`.
    pub fn inspecting_bodies<B>(self, wrap: fn(ReplayedBody<B>) -> B) -> SecurityBodyLayer<B> {
        SecurityBodyLayer { layer: self, wrap, clock: None }
    }
}

/// A runtime's way to wait.
type Clock = Arc<dyn Fn(Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// A [`SecurityLayer`] that looks at request bodies; made by [`SecurityLayer::inspecting_bodies`].
pub struct SecurityBodyLayer<B> {
    layer: SecurityLayer,
    wrap: fn(ReplayedBody<B>) -> B,
    clock: Option<Clock>,
}

impl<B> SecurityBodyLayer<B> {
    /// The same, waiting for what is wanted of a body as long as the policy's `bodies.wait_seconds` say, and no longer:
    /// then the answer is 408. `sleep`: what waits in the runtime at hand; tokio's is `tokio::time::sleep`.
    #[must_use]
    pub fn waiting<F>(mut self, sleep: impl Fn(Duration) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.clock = Some(Arc::new(move |time| Box::pin(sleep(time))));
        self
    }
}

impl<B> Clone for SecurityBodyLayer<B> {
    fn clone(&self) -> Self {
        Self { layer: self.layer.clone(), wrap: self.wrap, clock: self.clock.clone() }
    }
}

impl<B> fmt::Debug for SecurityBodyLayer<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecurityBodyLayer").field("layer", &self.layer).finish_non_exhaustive()
    }
}

impl<S, B> Layer<S> for SecurityBodyLayer<B> {
    type Service = SecurityBodyService<S, B>;

    fn layer(&self, inner: S) -> Self::Service {
        SecurityBodyService { inner, layer: self.clone() }
    }
}

/// A service with the engine around it; made by [`SecurityBodyLayer`].
#[derive(Debug)]
pub struct SecurityBodyService<S, B> {
    inner: S,
    layer: SecurityBodyLayer<B>,
}

impl<S: Clone, B> Clone for SecurityBodyService<S, B> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: self.layer.clone() }
    }
}

impl<S, B, R> Service<Request<B>> for SecurityBodyService<S, B>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<BoxError>,
    R: From<String> + Send + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The one that is ready is called, and its copy waits for the next request.
        let copy = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, copy);
        let SecurityBodyLayer { layer, wrap, clock } = self.layer.clone();
        Box::pin(async move {
            let (mut parts, mut body) = request.into_parts();
            let length = length_of(&parts.headers, &body);
            let Judged { engine, state, refusal, is_known } = match layer.judge(&parts, length) {
                Ok(judged) => judged,
                Err(error) => return Ok(failed(&error)),
            };
            if let Some(refusal) = refusal {
                let mut response = response_of(&refusal, None);
                add_headers(&mut response, &state);
                return Ok(response);
            }
            if !is_known && state.has_body() {
                let replayed = gather(&engine, &state, body, clock.as_ref()).await;
                if state.answer().is_some() || !state.decision().is_allowed() {
                    let mut response = response_of(state.decision(), state.answer());
                    add_headers(&mut response, &state);
                    return Ok(response);
                }
                body = wrap(replayed);
            } else if let Some(answer) = state.answer() {
                let mut response = response_of(state.decision(), Some(answer));
                add_headers(&mut response, &state);
                return Ok(response);
            }
            parts.extensions.insert(state.clone());
            let mut response = inner.call(Request::from_parts(parts, body)).await?;
            add_headers(&mut response, &state);
            Ok(response)
        })
    }
}

/// What is known of a body's length: by the body itself, which servers make of the headers, or by those.
fn length_of(headers: &http::HeaderMap, body: &impl Body) -> BodyLength {
    if body.is_end_stream() {
        return BodyLength::Absent;
    }
    let said = || headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
    match body.size_hint().exact().or_else(said) {
        Some(0) => BodyLength::Absent,
        Some(length) => BodyLength::Known(length),
        None => BodyLength::Streamed,
    }
}

/// Awaits as much of the body as is wanted, as long as there is time, and has it judged.
async fn gather<B>(
    engine: &Engine,
    state: &RequestState,
    mut body: B,
    clock: Option<&Clock>,
) -> ReplayedBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    let mut replayed =
        ReplayedBody { head: VecDeque::new(), rest: None, error: None, left: state.body_limit() };
    let mut wanted = state.body_wanted();
    let mut alarm = clock.map(|clock| clock(Duration::from_secs(state.body_wait_seconds().into())));
    while wanted > 0 {
        let next = poll_fn(|context| match Pin::new(&mut body).poll_frame(context) {
            Poll::Ready(frame) => Poll::Ready(Some(frame)),
            Poll::Pending => match alarm.as_mut().map(|alarm| alarm.as_mut().poll(context)) {
                Some(Poll::Ready(())) => Poll::Ready(None),
                _ => Poll::Pending,
            },
        });
        let Some(next) = next.await else {
            state.body_is_late(engine);
            break;
        };
        match next {
            Some(Ok(frame)) => {
                let is_last = body.is_end_stream() || frame.is_trailers();
                let data = frame.data_ref().cloned().unwrap_or_default();
                wanted = state.feed_body(engine, &data, is_last);
                replayed.head.push_back(frame);
            }
            Some(Err(error)) => {
                // The service hears of it where it happened; what came before is judged.
                state.feed_body(engine, &[], true);
                replayed.error = Some(error.into());
                return replayed;
            }
            None => wanted = state.feed_body(engine, &[], true),
        }
    }
    replayed.rest = Some(body);
    replayed
}

/// A body whose first frames were read already: it gives them again, and then what follows.
#[derive(Debug)]
pub struct ReplayedBody<B> {
    head: VecDeque<Frame<Bytes>>,
    rest: Option<B>,
    error: Option<BoxError>,
    /// How many bytes may still come; any number if `None`.
    left: Option<u64>,
}

/// The body is larger than the policy has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body is larger than is accepted")]
pub struct BodyTooLarge;

impl<B> Body for ReplayedBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = match self.head.pop_front() {
            Some(frame) => frame,
            None => {
                if let Some(error) = self.error.take() {
                    return Poll::Ready(Some(Err(error)));
                }
                let Some(rest) = self.rest.as_mut() else { return Poll::Ready(None) };
                match std::task::ready!(Pin::new(rest).poll_frame(context)) {
                    Some(Ok(frame)) => frame,
                    Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                    None => return Poll::Ready(None),
                }
            }
        };
        if let (Some(left), Some(data)) = (self.left.as_mut(), frame.data_ref()) {
            match left.checked_sub(data.len() as u64) {
                Some(now) => *left = now,
                None => {
                    self.rest = None;
                    self.head.clear();
                    return Poll::Ready(Some(Err(BodyTooLarge.into())));
                }
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.head.is_empty() && self.error.is_none() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let head: u64 =
            self.head.iter().filter_map(|frame| frame.data_ref()).map(|data| data.len() as u64).sum();
        let rest = self.rest.as_ref().map(Body::size_hint).unwrap_or_default();
        let mut hint = SizeHint::new();
        hint.set_lower(head.saturating_add(rest.lower()));
        match (&self.rest, rest.upper()) {
            (None, _) => hint.set_upper(head),
            (Some(_), Some(upper)) => hint.set_upper(head.saturating_add(upper)),
            (Some(_), None) => {}
        }
        hint
    }
}
