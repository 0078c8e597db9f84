//! The integration tests: one program, so that all of them share one PostgreSQL server.

mod config;
mod database;
mod golden;
mod http;
mod lambda;
mod layers;
mod properties;
mod reading;
mod sampling;
mod secrets;
mod sql;
