//! The layers of docs/architecture.md, as the `use` lines of src/ show them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each module and the modules it may know.
const ALLOWED: &[(&str, &[&str])] = &[
    // The core: pure functions over plain data.
    ("metric", &[]),
    ("table", &[]),
    ("sql", &[]),
    ("problem", &[]),
    ("connect_options", &["problem"]),
    ("config", &["connect_options", "metric", "problem", "sql"]),
    ("mapping", &["metric", "table", "config"]),
    ("exposition", &["mapping", "metric"]),
    // The shell: what touches the world.
    ("settings", &["config", "connect_options", "file", "metric", "problem"]),
    ("freshness", &[]),
    ("renewed", &["freshness"]),
    ("log", &["settings"]),
    ("file", &[]),
    ("query_files", &["file", "problem"]),
    ("aws", &[]),
    ("http_client", &["aws"]),
    ("secret", &["aws"]),
    ("rds_token", &["aws", "connect_options"]),
    ("credentials", &["aws", "connect_options", "problem", "rds_token", "secret"]),
    ("discovery", &["connect_options", "credentials", "secret", "settings"]),
    ("database", &["file", "table", "sql", "connect_options"]),
    // The middle: one scrape.
    ("outcome", &["database", "mapping", "metric"]),
    ("self_metrics", &["mapping", "outcome"]),
    ("conditions", &["config", "database", "outcome", "sql", "table"]),
    (
        "scrape",
        &[
            "conditions",
            "config",
            "credentials",
            "database",
            "discovery",
            "freshness",
            "mapping",
            "metric",
            "outcome",
            "problem",
            "renewed",
            "secret",
            "settings",
            "sql",
            "connect_options",
        ],
    ),
    // The edge.
    ("authorization", &["aws", "freshness", "problem", "renewed", "secret", "settings"]),
    (
        "http",
        &[
            "authorization",
            "exposition",
            "freshness",
            "mapping",
            "outcome",
            "scrape",
            "self_metrics",
            "settings",
        ],
    ),
    (
        "startup",
        &[
            "authorization",
            "config",
            "connect_options",
            "credentials",
            "discovery",
            "http",
            "problem",
            "query_files",
            "scrape",
            "settings",
        ],
    ),
    ("process", &["cli", "log", "settings", "startup"]),
    (
        "cli",
        &[
            "conditions",
            "config",
            "credentials",
            "database",
            "exposition",
            "file",
            "http_client",
            "log",
            "mapping",
            "metric",
            "outcome",
            "problem",
            "query_files",
            "scrape",
            "self_metrics",
            "settings",
            "sql",
            "startup",
            "table",
            "connect_options",
        ],
    ),
];

/// The core neither touches the world nor asks it for the time.
const CORE: &[&str] =
    &["metric", "table", "sql", "problem", "connect_options", "config", "mapping", "exposition"];
const IMPURE: &[&str] = &[
    "std::env",
    "std::fs",
    "TcpStream",
    "UdpSocket",
    "ToSocketAddrs",
    "std::process",
    "std::thread",
    "Instant",
    "SystemTime",
    "tokio",
    "aws_",
    "lambda_http",
    "tracing",
];

fn sources() -> Vec<(String, PathBuf)> {
    let mut found = vec![];
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let inside = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
            let module = inside.components().next().unwrap().as_os_str().to_string_lossy().replace(".rs", "");
            found.push((module, path));
        }
    }
    found.retain(|(module, _)| module != "lib" && module != "main");
    found
}

/// The code of a file without its comments and its unit tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]").next().unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[test]
fn each_module_knows_only_what_its_layer_allows() {
    for (module, path) in sources() {
        let allowed = ALLOWED.iter().find(|(name, _)| *name == module);
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("{module} has no layer; give it one here"));
        let known: BTreeSet<String> = code(&path)
            .split("crate::")
            .skip(1)
            .flat_map(|rest| match rest.strip_prefix('{') {
                Some(list) => {
                    list.split('}').next().unwrap().split(',').map(|item| item.trim().to_owned()).collect()
                }
                None => vec![rest.to_owned()],
            })
            .map(|name| name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
            .collect();
        for name in known {
            assert!(
                name == module || allowed.contains(&&*name),
                "{} may not use crate::{name}",
                path.display()
            );
        }
    }
}

#[test]
fn the_core_is_pure() {
    for (module, path) in sources() {
        for name in IMPURE.iter().filter(|_| CORE.contains(&&*module)) {
            assert!(!code(&path).contains(name), "{} is of the core and may not use {name}", path.display());
        }
    }
}

#[test]
fn no_file_is_longer_than_400_lines() {
    for (_, path) in sources() {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 400, "{} has {lines} lines; does it still own one thing?", path.display());
    }
}
