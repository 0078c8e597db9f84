//! `collect[]` and `exclude[]`: which queries a scrape is about, as each kind of event hands the parameters on.

use std::collections::BTreeSet;

use serde_json::json;

use crate::events::{Event, Kind};
use crate::lambda::{AMPLE, Queries, function, samples};
use crate::postgres::Server;
use crate::runtime_api::{Answer, Lambda};

const QUERIES: &str = "
pg_a: {query: SELECT 1 AS v}
pg_b: {query: SELECT 2 AS v}
other: {query: SELECT 3 AS v}
mistaken: {query: COMMIT}
";

/// The queries that an answer says anything of, each with what it gave.
fn reported(answer: &Answer) -> BTreeSet<String> {
    let samples = samples(answer);
    let all: BTreeSet<_> = samples
        .of("pg_exporter_query_success")
        .iter()
        .map(|(labels, _)| labels.trim_start_matches("{query=\"").trim_end_matches("\"}").to_owned())
        .collect();
    for (query, value) in [("pg_a", 1.0), ("pg_b", 2.0), ("other", 3.0)] {
        let expected = all.contains(query).then_some(value);
        assert_eq!(samples.of(&format!("{query}_v")).first().map(|(_, value)| *value), expected, "{query}");
    }
    all
}

async fn ask(lambda: &Lambda, event: Event) -> Answer {
    lambda.invoke(event.json(), AMPLE).await
}

#[tokio::test]
async fn each_kind_of_event_chooses_queries() {
    let database = Server::shared().database("collect");
    let queries = Queries::new(QUERIES);
    let lambda = function(&queries, &database).await;
    for kind in Kind::ALL {
        let chosen = async |text| reported(&ask(&lambda, Event::recorded(kind).query(text)).await);
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(chosen("collect[]=pg_a").await, names(&["pg_a"]), "{kind:?}");
        assert_eq!(chosen("collect%5B%5D=pg_a").await, names(&["pg_a"]), "{kind:?}");
        assert_eq!(chosen("collect%5b%5d=pg_%2A").await, names(&["pg_a", "pg_b"]), "{kind:?}");
        assert_eq!(chosen("collect=*b&exclude=other").await, names(&["pg_b"]), "{kind:?}");
        assert_eq!(chosen("collect[]=pg_a,other").await, names(&["pg_a", "other"]), "{kind:?}");
        assert_eq!(chosen("collect=pg_a%2Cpg_b&exclude=other,pg_b").await, names(&["pg_a"]), "{kind:?}");
        assert_eq!(chosen("exclude[]=pg_*").await, names(&["other", "mistaken"]), "{kind:?}");
        assert_eq!(chosen("exclude[]=*&x=y").await, names(&[]), "{kind:?}");
        assert_eq!(chosen("collect[]=mistaken").await, names(&["mistaken"]), "{kind:?}");
        // A load balancer gives the last of several values, unless it is told to give all.
        if kind != Kind::Alb {
            let several = chosen("collect[]=pg_a&collect%5B%5D=other").await;
            assert_eq!(several, names(&["pg_a", "other"]), "{kind:?}");
        }
    }
    let all_values = Event::recorded(Kind::Alb).edit(|json| {
        json.as_object_mut().unwrap().remove("queryStringParameters");
        json["multiValueQueryStringParameters"] = json!({"collect%5B%5D": ["pg_a", "oth%2a"]});
        let headers = json.as_object_mut().unwrap().remove("headers").unwrap();
        let multiple =
            headers.as_object().unwrap().iter().map(|(name, value)| (name.clone(), json!([value])));
        json["multiValueHeaders"] = multiple.collect::<serde_json::Map<_, _>>().into();
    });
    let several = reported(&ask(&lambda, all_values).await);
    assert_eq!(several, ["pg_a", "other"].map(String::from).into());
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_a_wrong_request() {
    let database = Server::shared().database("collect_unknown");
    let queries = Queries::new(QUERIES);
    let lambda = function(&queries, &database).await;
    for kind in Kind::ALL {
        for (text, unknown) in
            [("collect[]=pg_c", "pg_c"), ("exclude[]=x*&collect[]=pg_a", "x*"), ("collect[]=", "")]
        {
            let answer = ask(&lambda, Event::recorded(kind).query(text)).await;
            let expected = format!("no query is named {unknown}; there are: pg_a, pg_b, other, mistaken\n");
            assert_eq!((answer.status, answer.text()), (400, expected), "{kind:?} {text}");
            assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
            let head = ask(&lambda, Event::recorded(kind).query(text).method("HEAD")).await;
            assert_eq!((head.status, head.text()), (400, String::new()), "{kind:?} {text}");
        }
    }
}
