//! The end of an execution environment: what is open is closed before Lambda ends the process.
//!
//! Lambda sends SIGTERM, and 500 ms later SIGKILL, to a runtime that has an extension registered, even an internal one
//! that wants no events (AWS Lambda developer guide, "Lambda execution environment lifecycle", Shutdown phase).

use std::future::Future;
use std::time::Duration;

use lambda_extension::Extension;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

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
    let (registered, is_registered) = oneshot::channel();
    // Goes on where the answer is late: Lambda waits for a registered extension to ask for its first event.
    tokio::spawn(async move {
        let no_events = Extension::new().with_events(&[]).with_extension_name(EXTENSION_NAME);
        let outcome = async {
            let extension = no_events.register().await?;
            // Nobody waits any more where it took too long.
            let _: Result<(), ()> = registered.send(());
            extension.run().await
        };
        if let Err(error) = outcome.await {
            tracing::debug!(error, "not told of the shutdown");
        }
    });
    if tokio::time::timeout(REGISTRATION_LIMIT, is_registered).await.is_err() {
        tracing::debug!("no answer to the registration for the shutdown yet");
    }
    Ok(())
}
