//! An AWS Lambda function that answers a Prometheus scrape with the results of SQL on PostgreSQL.

pub mod config;
pub mod exposition;
pub mod metric;
pub mod query_files;
pub mod sampling;
pub mod sql;
pub mod table;
pub mod target;
