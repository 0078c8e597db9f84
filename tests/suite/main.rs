//! The integration tests: one program, so that all of them share one PostgreSQL server.

#![cfg(test)]

mod config;
mod database;
mod golden;
mod http;
mod lambda;
mod layers;
mod secrets;
mod secrets_manager;
mod sql;
