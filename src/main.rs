//! The binary, which cargo-lambda packs as `bootstrap`.

use std::process::ExitCode;

fn main() -> ExitCode {
    pg_lambda_exporter::process::run()
}
