//! Serves the example on 127.0.0.1:8000.

use std::net::SocketAddr;

use security_axum_example::application;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let application = application(&security::current()?);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
    axum::serve(listener, application.into_make_service_with_connect_info::<SocketAddr>()).await?;
    Ok(())
}
