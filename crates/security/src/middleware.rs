//! placeholder
pub struct ApiKeyView;
pub struct RequestState;
