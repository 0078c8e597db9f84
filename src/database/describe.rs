//! What a query would return, told by the server without running it.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::{Client, SimpleQueryMessage, Statement};

use super::Connection;
use super::error;
use super::run::GRACE;
use crate::sql::Sql;

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultColumn {
    /// Its name.
    pub name: String,
    /// Its type as SQL writes it: `double precision`, `numeric(10,2)`, `text[]`.
    pub type_name: String,
}

impl Connection {
    /// The columns of the result of each of `statements`, none of which is run; as many as there are statements.
    /// `limit` is for each of them.
    ///
    /// `None` where the server does not tell: of several statements at once, of a statement that it refuses, or
    /// within `limit`. Where it does not answer at all, the connection is unusable from then on, and `None` stands
    /// for the rest.
    ///
    /// The extended protocol that this takes is used nowhere else. All is prepared in one read-only transaction,
    /// which ends without prepared statements, so that this connection is as new for queries, and behind a pooler
    /// nobody else finds one. Once in the life of a connection: the driver goes on to believe in its own statements,
    /// with which it asks for types that it does not know.
    pub async fn describe_once(
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

    /// `None` where the connection cannot be used any more.
    async fn describe_all(
        &self,
        statements: &[&Sql],
        limit: Duration,
        described: &mut Vec<Option<Vec<ResultColumn>>>,
    ) -> Option<()> {
        let client = &self.client;
        let send = async |sql: &str| timeout(limit + GRACE, client.batch_execute(sql)).await.ok()?.ok();
        let milliseconds = limit.as_millis().clamp(1, i32::MAX as u128);
        self.allowance.renew();
        send(&format!(
            "BEGIN READ ONLY; SET LOCAL statement_timeout = {milliseconds}; SAVEPOINT before_statement"
        ))
        .await?;
        for sql in statements {
            self.allowance.renew();
            described.push(match timeout(limit + GRACE, describe(client, sql)).await.ok()? {
                Ok(columns) => Some(columns),
                Err(error) if error::is_of_statement(&error) => None,
                Err(_) => return None,
            });
            // With it go the locks of the statement.
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
