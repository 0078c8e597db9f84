//! From the start of the process to its end: the function, if Lambda has started the process, or else the command line.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join;
use lambda_extension::Extension;
use lambda_http::service_fn;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::settings::Settings;
use crate::{cli, log, startup};

/// Lambda gives the initialisation ten seconds.
const WARM_UP_LIMIT: Duration = Duration::from_secs(6);
/// The time that closing may take. Lambda sends SIGTERM, and 500 ms later SIGKILL, to a runtime that has an extension
/// registered, even an internal one that wants no events (AWS Lambda developer guide, "Lambda execution environment
/// lifecycle", Shutdown phase).
const SHUTDOWN_LIMIT: Duration = Duration::from_millis(300);
/// The Runtime API is on the same machine.
const REGISTRATION_LIMIT: Duration = Duration::from_secs(1);
const EXTENSION_NAME: &str = "pg-lambda-exporter-shutdown";

/// Runs the function or the command line.
pub fn run() -> ExitCode {
    let restarted = startup::unset_empty_variables();
    // The address of the Runtime API, which Lambda sets (AWS Lambda developer guide, "Runtime API").
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        return cli::run(std::env::args_os().skip(1), lookup);
    }
    let settings = Settings::from_env(lookup);
    log::init(&settings.log);
    if let Err(error) = restarted {
        tracing::warn!(%error, "empty AWS_ and SSL_CERT_ variables cannot be unset");
    }
    match run_function(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the Runtime API cannot be used");
            ExitCode::FAILURE
        }
    }
}

fn lookup(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn run_function(settings: Settings) -> Result<(), lambda_http::Error> {
    // One invocation at a time: one thread is enough, and starts faster than several.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let endpoint = Arc::new(startup::endpoint(settings).await);
        let closing = Arc::clone(&endpoint);
        let registration = on_shutdown(|| async move { closing.close(SHUTDOWN_LIMIT).await });
        let (registered, ()) = join(registration, endpoint.warm_up(WARM_UP_LIMIT)).await;
        registered?;
        let endpoint = &endpoint;
        lambda_http::run(service_fn(|request| async move {
            Ok::<_, Infallible>(endpoint.respond(&request).await)
        }))
        .await
    })
}

/// Runs `close` when Lambda ends the environment, and then ends the process. Call it during initialisation,
/// since extensions cannot be registered later. If the registration fails, as with an emulator of the Runtime
/// API, only a signal from elsewhere runs `close`.
///
/// # Errors
/// The process cannot listen for signals.
async fn on_shutdown<C: Future<Output = ()> + Send + 'static>(
    close: impl FnOnce() -> C + Send + 'static,
) -> io::Result<()> {
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
    if timeout(REGISTRATION_LIMIT, is_registered).await.is_err() {
        tracing::debug!("the registration for the shutdown is not answered yet");
    }
    Ok(())
}
