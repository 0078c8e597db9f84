//! An AWS Lambda function that answers a Prometheus scrape with the results of SQL on PostgreSQL.
//!
//! The map, from the inside out; docs/architecture.md draws it:
//! - the core, without I/O: [`metric`], [`table`], [`sql`], [`connect_options`], [`config`], [`mapping`], [`exposition`];
//! - the shell, which touches the world: [`settings`], `log`, [`file`], [`query_files`], [`aws`], [`secret`], [`rds_token`],
//!   [`credentials`], `discovery`, [`database`], [`freshness`];
//! - the middle, one scrape: `scrape`, where a query runs, [`conditions`], how it ended, [`outcome`], and the exporter's own metrics, [`self_metrics`];
//! - the edge: `http`, who may ask it, [`authorization`], and the command line, `cli`; `startup`, which puts all
//!   together, and [`process`].

pub mod authorization;
mod aws;
mod cli;
mod conditions;
pub mod config;
pub mod connect_options;
mod credentials;
pub mod database;
mod discovery;
pub mod exposition;
mod file;
mod freshness;
mod http;
mod http_client;
mod log;
pub mod mapping;
pub mod metric;
mod outcome;
pub mod problem;
pub mod process;
mod query_files;
pub mod rds_token;
mod renewed;
mod scrape;
pub mod secret;
mod self_metrics;
pub mod settings;
pub mod sql;
mod startup;
pub mod table;
