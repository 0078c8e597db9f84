//! The wiring: environment and files → endpoint → Lambda; or, where Lambda has not started the process, the command
//! line.

use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join;
use lambda_http::service_fn;
use pg_lambda_exporter::settings::Settings;
use pg_lambda_exporter::shutdown::{self, SHUTDOWN_LIMIT};
use pg_lambda_exporter::{cli, log, startup};

/// Lambda gives the initialisation ten seconds.
const WARM_UP_LIMIT: Duration = Duration::from_secs(6);

fn main() -> ExitCode {
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
    match run(settings) {
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

fn run(settings: Settings) -> Result<(), lambda_http::Error> {
    // One invocation at a time: one thread is enough, and starts faster than several.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let endpoint = Arc::new(startup::endpoint(settings).await);
        let closing = Arc::clone(&endpoint);
        let registration = shutdown::on_shutdown(|| async move { closing.close(SHUTDOWN_LIMIT).await });
        let (registered, ()) = join(registration, endpoint.warm_up(WARM_UP_LIMIT)).await;
        registered?;
        let endpoint = &endpoint;
        lambda_http::run(service_fn(|request| async move {
            Ok::<_, Infallible>(endpoint.respond(&request).await)
        }))
        .await
    })
}
