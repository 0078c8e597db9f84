//! What a query would return, told by the server without running it.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::{Client, SimpleQueryMessage, Statement};

use super::Connection;
use super::error;
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
    /// The columns of the result of `sql`, which is not run. The extended protocol that this takes is used nowhere
    /// else, and on this connection for nothing else: the statement is prepared in a read-only transaction, and
    /// the transaction ends without prepared statements, so that behind a pooler nobody else finds one.
    ///
    /// `None` where the server does not tell: of several statements at once, of a statement that it refuses, or
    /// within `limit`.
    pub async fn describe(mut self, sql: &Sql, limit: Duration) -> Option<Vec<ResultColumn>> {
        if !self.is_usable() {
            return None;
        }
        self.ready = false;
        self.allowance.renew();
        let described = timeout(limit, describe(&self.client, sql, limit)).await;
        self.ready = matches!(described, Ok(Ok(_)));
        described.ok()?.ok()?
    }
}

async fn describe(
    client: &Client,
    sql: &Sql,
    limit: Duration,
) -> Result<Option<Vec<ResultColumn>>, tokio_postgres::Error> {
    let milliseconds = limit.as_millis().clamp(1, i32::MAX as u128);
    let begin = format!("BEGIN READ ONLY; SET LOCAL statement_timeout = {milliseconds}");
    client.batch_execute(&begin).await?;
    let columns = match client.prepare(sql.as_str()).await {
        Ok(statement) => {
            let columns = columns(client, &statement).await?;
            drop(statement);
            // The driver keeps the statements with which it asks for types that it does not know.
            client.batch_execute("DEALLOCATE ALL").await?;
            Some(columns)
        }
        Err(error) if error::is_of_statement(&error) => None,
        Err(error) => return Err(error),
    };
    client.batch_execute("ROLLBACK").await?;
    Ok(columns)
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
