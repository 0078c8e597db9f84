//! The end of an execution environment: what is open is closed before Lambda ends the process.
//!
//! Lambda sends SIGTERM, and 500 ms later SIGKILL, to a runtime that has an extension registered, even an internal one
//! that wants no events (AWS Lambda developer guide, "Lambda execution environment lifecycle", Shutdown phase).

use std::future::Future;
use std::time::Duration;

use lambda_extension::{Error, Extension};
use tokio::signal::unix::{SignalKind, signal};

/// What may be done between the signal and the end.
pub const SHUTDOWN_LIMIT: Duration = Duration::from_millis(300);
/// The Runtime API is on the same machine.
const REGISTRATION_LIMIT: Duration = Duration::from_secs(1);
const EXTENSION_NAME: &str = "pg-lambda-exporter-shutdown";

/// Has `close` run when Lambda ends the environment, and then ends the process. To be called during the initialisation,
/// since later nothing can be registered. Where there is nothing to register at, as with an emulator of the Runtime API,
/// only a signal from elsewhere does it.
///
/// # Errors
/// The process cannot listen to signals.
pub async fn on_shutdown<C: Future<Output = ()> + Send + 'static>(
    close: impl FnOnce() -> C + Send + 'static,
) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        terminate.recv().await;
        tracing::debug!("shutting down");
        close().await;
        std::process::exit(0);
    });
    let no_events = Extension::new().with_events(&[]).with_extension_name(EXTENSION_NAME);
    match tokio::time::timeout(REGISTRATION_LIMIT, no_events.register()).await {
        Ok(Ok(registered)) => {
            // It waits for an event that never comes, which tells Lambda that the extension is initialised.
            tokio::spawn(async move { registered.run().await.map_err(log) });
        }
        Ok(Err(error)) => log(error),
        Err(_) => tracing::debug!("no answer to the registration for the shutdown"),
    }
    Ok(())
}

fn log(error: Error) {
    tracing::debug!(error, "not told of the shutdown");
}
