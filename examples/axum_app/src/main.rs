//! Serves the example on 127.0.0.1:8000, or on the address that is given.

use std::net::SocketAddr;

use security_axum_example::application;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".into());
    let application = application(&security::current()?);
    let listener = tokio::net::TcpListener::bind(address).await?;
    axum::serve(listener, application.into_make_service_with_connect_info::<SocketAddr>()).await?;
    Ok(())
}
