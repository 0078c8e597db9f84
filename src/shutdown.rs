//! Closes what is open before Lambda ends the process.
//!
//! Lambda sends SIGTERM, and 500 ms later SIGKILL, to a runtime that has an extension registered, even an internal one
//! that wants no events (AWS Lambda developer guide, "Lambda execution environment lifecycle", Shutdown phase).

use std::future::Future;
use std::time::Duration;

use lambda_extension::Extension;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// The time between the signal and the end of the process that may be used.
pub const SHUTDOWN_LIMIT: Duration = Duration::from_millis(300);
/// The Runtime API is on the same machine.
const REGISTRATION_LIMIT: Duration = Duration::from_secs(1);
const EXTENSION_NAME: &str = "pg-lambda-exporter-shutdown";

/// Runs `close` when Lambda ends the environment, and then ends the process. Call it during initialisation,
/// since extensions cannot be registered later. If the registration fails, as with an emulator of the Runtime
/// API, only a signal from elsewhere runs `close`.
///
/// # Errors
/// The process cannot listen for signals.
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
    let (registered, is_registered) = oneshot::channel();
    // Continues if the answer is late: Lambda waits until a registered extension asks for its first event.
    tokio::spawn(async move {
        let no_events = Extension::new().with_events(&[]).with_extension_name(EXTENSION_NAME);
        let outcome = async {
            let extension = no_events.register().await?;
            // The receiver is gone if the registration took too long.
            let _: Result<(), ()> = registered.send(());
            extension.run().await
        };
        if let Err(error) = outcome.await {
            tracing::debug!(error, "the end of the environment will not be reported");
        }
    });
    if tokio::time::timeout(REGISTRATION_LIMIT, is_registered).await.is_err() {
        tracing::debug!("the registration for the shutdown is not answered yet");
    }
    Ok(())
}
