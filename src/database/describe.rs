//! Asks the server for the columns of a query's result without running the query.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::{Client, SimpleQueryMessage, Statement};

use super::Connection;
use super::allowance::ASIDE_BYTES_MAX;
use super::error;
use super::run::GRACE;
use crate::sql::Sql;

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResultColumn {
    /// Its name.
    pub(crate) name: String,
    /// Its type as SQL writes it: `double precision`, `numeric(10,2)`, `text[]`.
    pub(crate) type_name: String,
}

impl Connection {
    /// The columns of the result of each statement, without running it. `limit` applies to each statement.
    ///
    /// An element is `None` if the server does not describe it: several statements in one text, a statement
    /// that it refuses, or no answer within `limit`. Without any answer the connection becomes unusable, and
    /// the remaining elements are `None`.
    ///
    /// Only this function uses the extended protocol. It prepares everything in one read-only transaction and
    /// leaves no prepared statements, so that queries and other clients of a pooler find none. Call it once
    /// for each connection: the driver keeps using its own statements for unknown types.
    pub(crate) async fn describe_once(
        &mut self,
        statements: &[&Sql],
        limit: Duration,
    ) -> Vec<Option<Vec<ResultColumn>>> {
        let mut described = Vec::new();
        if self.is_usable() {
            self.ready = false;
            self.ready = self.describe_all(statements, limit, &mut described).await.is_some();
        }
        described.resize_with(statements.len(), || None);
        described
    }

    /// `None` if the connection cannot be used any more.
    async fn describe_all(
        &self,
        statements: &[&Sql],
        limit: Duration,
        described: &mut Vec<Option<Vec<ResultColumn>>>,
    ) -> Option<()> {
        let client = &self.client;
        let send = async |sql: &str| timeout(limit + GRACE, client.batch_execute(sql)).await.ok()?.ok();
        let milliseconds = limit.as_millis().clamp(1, i32::MAX as u128);
        self.allowance.renew(ASIDE_BYTES_MAX);
        send(&format!(
            "BEGIN READ ONLY; SET LOCAL statement_timeout = {milliseconds}; SAVEPOINT before_statement"
        ))
        .await?;
        for sql in statements {
            self.allowance.renew(ASIDE_BYTES_MAX);
            described.push(match timeout(limit + GRACE, describe(client, sql)).await.ok()? {
                Ok(columns) => Some(columns),
                Err(error) if error::is_of_statement(&error) => None,
                Err(_) => return None,
            });
            // This also releases the statement's locks.
            send("ROLLBACK TO SAVEPOINT before_statement").await?;
        }
        send("DEALLOCATE ALL; ROLLBACK").await
    }
}

async fn describe(client: &Client, sql: &Sql) -> Result<Vec<ResultColumn>, tokio_postgres::Error> {
    let statement = client.prepare(sql.as_str()).await?;
    columns(client, &statement).await
}

async fn columns(client: &Client, statement: &Statement) -> Result<Vec<ResultColumn>, tokio_postgres::Error> {
    let columns = statement.columns();
    if columns.is_empty() {
        return Ok(Vec::new());
    }
    let types = columns.iter().map(|column| {
        let (oid, modifier) = (column.type_().oid(), column.type_modifier());
        format!("pg_catalog.format_type({oid}, {modifier})")
    });
    let query = format!("SELECT {}", types.collect::<Vec<_>>().join(", "));
    let messages = client.simple_query(&query).await?;
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let column = |(index, column): (usize, &tokio_postgres::Column)| {
        let type_name = row.and_then(|row| row.try_get(index).ok().flatten()).unwrap_or("-");
        ResultColumn { name: column.name().to_owned(), type_name: type_name.to_owned() }
    };
    Ok(columns.iter().enumerate().map(column).collect())
}
