//! The integration tests: one program, so that all of them share one PostgreSQL server.

#![cfg(test)] // so that Clippy takes the functions beside the tests for tests too

mod allowlist;
mod authorization;
mod cache;
mod certificates;
mod cli;
mod collect;
mod compat;
mod conditions;
mod config;
mod database;
mod declarations;
mod docs;
mod events;
mod faults;
mod golden;
mod http;
mod iam;
mod keeping;
mod lambda;
mod landing;
mod layers;
mod leaks;
mod limits;
mod load;
mod mapping;
mod names;
mod path;
mod pgbouncer;
mod postgres;
mod properties;
mod prose;
mod rds;
mod reading;
mod runtime_api;
mod samples;
mod secrets;
mod secrets_manager;
mod shipped;
mod soak;
mod sql;
mod terminal;
mod tls;
