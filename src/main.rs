//! The wiring: environment and files → endpoint → Lambda.

use std::convert::Infallible;
use std::time::Duration;

use lambda_http::{service_fn, tracing};
use pg_lambda_exporter::startup;

/// Lambda gives the initialisation ten seconds.
const WARM_UP_LIMIT: Duration = Duration::from_secs(6);

fn main() -> Result<(), lambda_http::Error> {
    tracing::init_default_subscriber();
    // One invocation at a time: one thread is enough, and starts faster than several.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let endpoint = startup::endpoint(|name| std::env::var(name).ok()).await;
        endpoint.warm_up(WARM_UP_LIMIT).await;
        let endpoint = &endpoint;
        lambda_http::run(service_fn(|request| async move {
            Ok::<_, Infallible>(endpoint.respond(&request).await)
        }))
        .await
    })
}
