//! An AWS Lambda function that answers a Prometheus scrape with the results of SQL on PostgreSQL.

pub mod config;
pub mod database;
pub mod exposition;
pub mod metric;
pub mod sampling;
pub mod secret;
pub mod settings;
pub mod sql;
pub mod table;
pub mod target;
