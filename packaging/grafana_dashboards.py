"""Writes examples/grafana/dashboards/: the dashboards are JSON that nobody wants to edit, and this is what they say.
`make grafana-dashboards` after a change; a test compares. DOCS in the environment is where people read docs/.

In expressions, SERVER stands for the matchers of the variables job and instance, DATABASE for these and that of
the variable database. Each panel has a width in 24ths of the page; panels fill lines from the left.
"""

import json
from pathlib import Path

from grafana_model import GREEN, Dashboard, Panel, Query, Row, Steps, dashboard

FOLDER = Path(__file__).parent.parent / "examples" / "grafana" / "dashboards"
ORANGE, RED, BLUE = "orange", "red", "blue"
UP = {1: ("up", GREEN), 0: ("down", RED)}


def per_second(metric: str, matchers: str, labels: str) -> str:
    """The rate of a counter, summed up to `labels`."""
    return f"sum by ({labels}) (rate({metric}{{{matchers}}}[$__rate_interval]))"


def of_each(metric: str, matchers: str = "SERVER") -> str:
    return f"{metric}{{{matchers}}}"


def busiest(metric: str, labels: str) -> str:
    """The ten greatest rates of a counter that each table or statement has."""
    return f"topk(10, {per_second(metric, 'SERVER', labels)})"


def of_range(metric: str, matchers: str, labels: str) -> str:
    """What a counter gained in the time that the dashboard shows, for tables."""
    return f"sum by ({labels}) (increase({metric}{{{matchers}}}[$__range]))"


STATES = "{{instance}} {{state}}"
IN_DATABASE = "{{instance}} {{datname}}"
BY_DATABASE = "instance, datname"
BY_SERVER = "instance"
TABLE = "instance, schemaname, relname"
INDEX = "instance, schemaname, relname, indexrelname"
STATEMENT = "instance, datname, queryid, query"


def rates(labels: str, matchers: str, legend: str, *metrics: tuple[str, str]) -> list[Query]:
    """Rates of several counters, with a word for each."""
    return [Query(per_second(metric, matchers, labels), f"{legend} {word}") for metric, word in metrics]


def gauges(matchers: str, legend: str, *metrics: tuple[str, str]) -> list[Query]:
    return [Query(of_each(metric, matchers), f"{legend} {word}") for metric, word in metrics]


def columns(prefix: str, matchers: str, labels: str, *metrics: str) -> list[Query]:
    """Columns of a table: counters gain, anything else is as it is now."""
    return [
        Query(
            of_range(prefix + metric, matchers, labels)
            if metric.endswith("_total")
            else f"max by ({labels}) ({prefix}{metric}{{{matchers}}})"
        )
        for metric in metrics
    ]


SHARE: Steps = [(0.8, ORANGE), (0.95, RED)]

OVERVIEW = Dashboard(
    uid="pg-lambda-exporter-overview",
    title="PostgreSQL overview",
    description="PostgreSQL as pg-lambda-exporter's queries.yml sees it, from urgent to calm.",
    by_database=True,
    rows=[
        Row(
            "Is it up?",
            [
                Panel(
                    "PostgreSQL",
                    "Whether the exporter reaches the database.",
                    [Query("min by (instance) (pg_up{SERVER})")],
                    kind="stat",
                    width=4,
                    height=5,
                    mappings=UP,
                    steps=[(0, RED), (1, GREEN)],
                    runbook="PostgresDown",
                ),
                Panel(
                    "Role",
                    "Whether the server is a primary or replays one.",
                    [Query("max by (instance) (pg_replication_is_replica{SERVER})")],
                    kind="stat",
                    width=4,
                    height=5,
                    mappings={0: ("primary", GREEN), 1: ("standby", BLUE)},
                ),
                Panel(
                    "Version",
                    "The version of the server.",
                    [Query("max by (instance, version) (pg_server_info{SERVER})", "{{version}}")],
                    kind="stat",
                    width=4,
                    height=5,
                    names=True,
                ),
                Panel(
                    "Time since start",
                    "A short time says that the server was restarted, or failed over.",
                    [Query("time() - max by (instance) (pg_postmaster_start_time_seconds{SERVER})")],
                    unit="s",
                    kind="stat",
                    width=4,
                    height=5,
                    steps=[(0, ORANGE), (3600, GREEN)],
                ),
                Panel(
                    "Size of the databases",
                    "Space on disk of the chosen databases, without write-ahead log and temporary files.",
                    [Query("sum by (instance) (pg_database_size_bytes{DATABASE})")],
                    unit="bytes",
                    kind="stat",
                    width=4,
                    height=5,
                    runbook="PostgresDiskFills",
                ),
                Panel(
                    "Queries that fail",
                    "Where this is not 0, some panels lack data: the dashboard of the exporter says why.",
                    [Query("sum by (instance) (1 - pg_exporter_query_success{SERVER})")],
                    kind="stat",
                    width=4,
                    height=5,
                    steps=[(1, RED)],
                    runbook="PostgresExporterQueryFails",
                ),
            ],
        ),
        Row(
            "Is it near a limit?",
            [
                Panel(
                    "Connections",
                    "Share of the connections that ordinary clients may open.",
                    [
                        Query(
                            "sum by (instance, job) (pg_connections_current{SERVER}) / on (instance, job) "
                            "(pg_settings_max_connections{SERVER} - pg_settings_superuser_reserved_connections{SERVER}"
                            " - pg_settings_reserved_connections{SERVER})"
                        )
                    ],
                    unit="percentunit",
                    kind="bargauge",
                    width=6,
                    height=6,
                    steps=SHARE,
                    maximum=1,
                    runbook="PostgresConnectionsNearLimit",
                ),
                Panel(
                    "Transaction ids",
                    "Share of the ids that there are until the server accepts no writes, by its oldest database.",
                    [
                        Query(
                            "max by (instance) (pg_database_frozen_transaction_ids{SERVER} / ("
                            "pg_database_frozen_transaction_ids{SERVER} + "
                            "pg_database_transaction_ids_left{SERVER}))"
                        )
                    ],
                    unit="percentunit",
                    kind="bargauge",
                    width=6,
                    height=6,
                    steps=[(0.47, ORANGE), (0.75, RED)],
                    maximum=1,
                    runbook="PostgresTransactionIdWraparound",
                ),
                Panel(
                    "Multixact ids",
                    "The same of the ids of rows that several transactions lock.",
                    [
                        Query(
                            "max by (instance) (pg_database_frozen_multixact_ids{SERVER} / ("
                            "pg_database_frozen_multixact_ids{SERVER} + pg_database_multixact_ids_left{SERVER}))"
                        )
                    ],
                    unit="percentunit",
                    kind="bargauge",
                    width=6,
                    height=6,
                    steps=[(0.47, ORANGE), (0.75, RED)],
                    maximum=1,
                    runbook="PostgresMultixactIdWraparound",
                ),
                Panel(
                    "Sequences",
                    "Share of its numbers that each sequence, or the column it fills, has used. The exporter sees "
                    "only sequences that its role may read.",
                    [Query("topk(5, pg_sequences_used_ratio{SERVER})", "{{instance}} {{schemaname}}.{{sequencename}}")],
                    unit="percentunit",
                    kind="bargauge",
                    width=6,
                    height=6,
                    steps=SHARE,
                    maximum=1,
                    runbook="PostgresSequenceNearEnd",
                ),
                Panel(
                    "Sequences out of sight",
                    "Sequences that the exporter's role may not read, and whose end nobody will announce.",
                    [Query("max by (instance) (pg_sequences_unreadable{SERVER})")],
                    kind="stat",
                    width=4,
                    height=6,
                    steps=[(1, ORANGE)],
                    runbook="PostgresSequenceNearEnd",
                ),
                Panel(
                    "Limits of single databases",
                    "Share of the connections that a database allows, where it has a limit of its own.",
                    [
                        Query(
                            "pg_stat_database_backends{DATABASE} / (pg_database_connection_limit{DATABASE} > 0)",
                            IN_DATABASE,
                        )
                    ],
                    unit="percentunit",
                    kind="bargauge",
                    width=5,
                    height=6,
                    steps=SHARE,
                    maximum=1,
                ),
                Panel(
                    "Receivers and slots",
                    "Share of max_wal_senders and of max_replication_slots that is in use.",
                    [
                        Query(
                            "pg_replication_connected_standbys{SERVER} / (pg_settings_max_wal_senders{SERVER} > 0)",
                            "{{instance}} receivers",
                        ),
                        Query(
                            "count by (instance, job) (pg_replication_slots_active{SERVER}) / on (instance, job) "
                            "(pg_settings_max_replication_slots{SERVER} > 0)",
                            "{{instance}} slots",
                        ),
                    ],
                    unit="percentunit",
                    kind="bargauge",
                    width=5,
                    height=6,
                    steps=SHARE,
                    maximum=1,
                ),
                Panel(
                    "Autovacuum workers",
                    "Share of autovacuum_max_workers that runs. For long at 100%, tables wait for their vacuum.",
                    [Query("pg_autovacuum_workers{SERVER} / (pg_settings_autovacuum_max_workers{SERVER} > 0)")],
                    unit="percentunit",
                    kind="bargauge",
                    width=5,
                    height=6,
                    steps=[(0.99, ORANGE)],
                    maximum=1,
                    runbook="PostgresAutovacuumBehind",
                ),
                Panel(
                    "Damaged pages",
                    "Pages whose checksum was wrong, in the time shown. Absent where checksums are off.",
                    [
                        Query(
                            of_range("pg_stat_database_checksum_failures_total", "DATABASE", BY_DATABASE),
                            IN_DATABASE,
                        )
                    ],
                    kind="stat",
                    width=5,
                    height=6,
                    steps=[(0.5, RED)],
                    runbook="PostgresChecksumFailures",
                ),
            ],
        ),
        Row(
            "What is it doing?",
            [
                Panel(
                    "Transactions",
                    "Committed and rolled back.",
                    rates(
                        BY_DATABASE,
                        "DATABASE",
                        IN_DATABASE,
                        ("pg_stat_database_xact_commit_total", "commits"),
                        ("pg_stat_database_xact_rollback_total", "rollbacks"),
                    ),
                    unit="ops",
                ),
                Panel(
                    "Connections by state",
                    "Idle in transaction is what holds locks and keeps vacuum off.",
                    [Query("pg_connections_current{SERVER}", STATES)],
                    stacked=True,
                ),
                Panel(
                    "What active connections wait for",
                    "None means that they compute.",
                    [Query("pg_connections_active{SERVER}", "{{instance}} {{wait_event_type}}")],
                    stacked=True,
                ),
                Panel(
                    "Connections by database",
                    "All states together.",
                    [Query("pg_stat_database_backends{DATABASE}", IN_DATABASE)],
                    stacked=True,
                ),
                Panel(
                    "Rows changed",
                    "Inserted, updated and deleted.",
                    rates(
                        BY_DATABASE,
                        "DATABASE",
                        IN_DATABASE,
                        ("pg_stat_database_tup_inserted_total", "inserted"),
                        ("pg_stat_database_tup_updated_total", "updated"),
                        ("pg_stat_database_tup_deleted_total", "deleted"),
                    ),
                    unit="rowsps",
                ),
                Panel(
                    "Rows read",
                    "Far more returned than fetched means that tables are read from end to end.",
                    rates(
                        BY_DATABASE,
                        "DATABASE",
                        IN_DATABASE,
                        ("pg_stat_database_tup_returned_total", "returned"),
                        ("pg_stat_database_tup_fetched_total", "fetched"),
                    ),
                    unit="rowsps",
                ),
                Panel(
                    "How sessions spend their time",
                    "Seconds per second, that is sessions at a time: open, executing, idle in a transaction.",
                    rates(
                        BY_DATABASE,
                        "DATABASE",
                        IN_DATABASE,
                        ("pg_stat_database_session_time_seconds_total", "open"),
                        ("pg_stat_database_active_time_seconds_total", "executing"),
                        ("pg_stat_database_idle_in_transaction_time_seconds_total", "idle in transaction"),
                    ),
                ),
                Panel(
                    "Sessions begun and lost",
                    "Many begun want a pooler; lost, failed and killed ones want an explanation.",
                    rates(
                        BY_DATABASE,
                        "DATABASE",
                        IN_DATABASE,
                        ("pg_stat_database_sessions_total", "begun"),
                        ("pg_stat_database_sessions_abandoned_total", "lost"),
                        ("pg_stat_database_sessions_fatal_total", "failed"),
                        ("pg_stat_database_sessions_killed_total", "killed"),
                    ),
                    unit="ops",
                ),
                Panel(
                    "Locks held",
                    "By mode.",
                    [Query("pg_locks_granted{SERVER} > 0", "{{instance}} {{mode}}")],
                    stacked=True,
                ),
            ],
        ),
        Row(
            "What is slow?",
            [
                Panel(
                    "Oldest transactions",
                    "Vacuum removes nothing that the oldest one may still see. Idle ones do nothing but that.",
                    gauges(
                        "SERVER",
                        "{{instance}}",
                        ("pg_transactions_oldest_seconds", "open"),
                        ("pg_transactions_oldest_idle_seconds", "idle"),
                        ("pg_prepared_transactions_oldest_seconds", "prepared"),
                    ),
                    unit="s",
                    steps=[(300, ORANGE), (1800, RED)],
                    runbook="PostgresLongTransaction",
                ),
                Panel(
                    "Blocked sessions",
                    "Sessions that wait for a lock, and modes that they want.",
                    [
                        Query("pg_blocked_sessions{SERVER}", "{{instance}} sessions"),
                        Query("pg_locks_waiting{SERVER} > 0", "{{instance}} {{mode}}"),
                    ],
                    steps=[(1, ORANGE)],
                    runbook="PostgresSessionsBlocked",
                ),
                Panel(
                    "Longest wait for a lock",
                    "Of the sessions that wait now.",
                    [Query("pg_blocked_longest_seconds{SERVER}")],
                    unit="s",
                    steps=[(5, ORANGE), (60, RED)],
                    runbook="PostgresSessionsBlocked",
                ),
                Panel(
                    "Running queries by duration",
                    "How many of the queries that ran at each scrape had run for how long.",
                    [Query("sum by (le) (pg_running_queries_duration_seconds_bucket{SERVER})", "{{le}}")],
                    unit="s",
                    kind="heatmap",
                    width=8,
                ),
                Panel(
                    "Running queries",
                    "Their number, and how long they have run on average.",
                    [
                        Query("pg_running_queries_duration_seconds_count{SERVER}", "{{instance}} queries"),
                        Query(
                            "pg_running_queries_duration_seconds_sum{SERVER} / "
                            "(pg_running_queries_duration_seconds_count{SERVER} > 0)",
                            "{{instance}} average seconds",
                        ),
                    ],
                ),
                Panel(
                    "Deadlocks and conflicts",
                    "The server cancelled a transaction in each. Conflicts are a standby's, with its replay.",
                    rates(
                        BY_DATABASE,
                        "DATABASE",
                        IN_DATABASE,
                        ("pg_stat_database_deadlocks_total", "deadlocks"),
                        ("pg_stat_database_conflicts_total", "conflicts"),
                    ),
                    unit="ops",
                    runbook="PostgresDeadlocks",
                ),
                Panel(
                    "Temporary files",
                    "Sorts and hashes that did not fit into work_mem.",
                    rates(BY_DATABASE, "DATABASE", IN_DATABASE, ("pg_stat_database_temp_bytes_total", "")),
                    unit="Bps",
                ),
                Panel(
                    "Number of temporary files",
                    "A few large ones are a report, many small ones a work_mem that is too small.",
                    rates(BY_DATABASE, "DATABASE", IN_DATABASE, ("pg_stat_database_temp_files_total", "")),
                    unit="ops",
                ),
                Panel(
                    "Busiest statements",
                    "Seconds per second that each takes. Needs the extension pg_stat_statements.",
                    [
                        Query(
                            f"topk(10, {per_second('pg_stat_statements_seconds_total', 'DATABASE', STATEMENT)})",
                            "{{datname}} {{query}}",
                        )
                    ],
                    stacked=True,
                ),
                Panel(
                    "Statements",
                    "What the busiest statements did in the time shown. Needs the extension pg_stat_statements.",
                    columns(
                        "pg_stat_statements_",
                        "DATABASE",
                        STATEMENT,
                        "seconds_total",
                        "calls_total",
                        "rows_total",
                        "shared_blks_hit_total",
                        "shared_blks_read_total",
                        "temp_blks_written_total",
                        "wal_bytes_total",
                    ),
                    kind="table",
                    width=24,
                    height=10,
                    rows=STATEMENT.split(", "),
                    units=[
                        "Time:s",
                        "Calls:short",
                        "Rows:short",
                        "Blocks hit:short",
                        "Blocks read:short",
                        "Temporary blocks:short",
                        "WAL:bytes",
                    ],
                ),
            ],
        ),
        Row(
            "Storage",
            [
                Panel(
                    "Size",
                    "Of each database on disk.",
                    [Query("pg_database_size_bytes{DATABASE}", IN_DATABASE)],
                    unit="bytes",
                    runbook="PostgresDatabaseGrowsFast",
                ),
                Panel(
                    "Cache hits",
                    "Share of the wanted blocks that were in shared_buffers. The rest came from the system.",
                    [
                        Query(
                            f"{per_second('pg_stat_database_blks_hit_total', 'DATABASE', BY_DATABASE)} / "
                            f"({per_second('pg_stat_database_blks_hit_total', 'DATABASE', BY_DATABASE)} + "
                            f"{per_second('pg_stat_database_blks_read_total', 'DATABASE', BY_DATABASE)} > 0)",
                            IN_DATABASE,
                        )
                    ],
                    unit="percentunit",
                    maximum=1,
                ),
                Panel(
                    "Time of reads and writes",
                    "Seconds per second that backends waited for blocks. 0 unless track_io_timing is on.",
                    rates(
                        BY_DATABASE,
                        "DATABASE",
                        IN_DATABASE,
                        ("pg_stat_database_blk_read_time_seconds_total", "reads"),
                        ("pg_stat_database_blk_write_time_seconds_total", "writes"),
                    ),
                ),
                Panel(
                    "Write-ahead log",
                    "Written by a primary, or replayed by a standby.",
                    [
                        Query(per_second("pg_wal_position_bytes_total", "SERVER", BY_SERVER), "{{instance}} position"),
                        Query(per_second("pg_stat_wal_bytes_total", "SERVER", BY_SERVER), "{{instance}} records"),
                    ],
                    unit="Bps",
                ),
                Panel(
                    "Records of the write-ahead log",
                    "Full page images follow each checkpoint; full buffers ask for larger wal_buffers.",
                    rates(
                        BY_SERVER,
                        "SERVER",
                        "{{instance}}",
                        ("pg_stat_wal_records_total", "records"),
                        ("pg_stat_wal_full_page_images_total", "full page images"),
                        ("pg_stat_wal_buffers_full_total", "buffers full"),
                    ),
                    unit="ops",
                ),
                Panel(
                    "Archive",
                    "Files of the write-ahead log archived, and attempts that failed.",
                    rates(
                        BY_SERVER,
                        "SERVER",
                        "{{instance}}",
                        ("pg_stat_archiver_archived_total", "archived"),
                        ("pg_stat_archiver_failed_total", "failed"),
                    ),
                    unit="ops",
                    runbook="PostgresArchivingFails",
                ),
                Panel(
                    "Time since the last archived file",
                    "Growing, with writes going on, it says that archiving stands still. Empty without an archive.",
                    [Query("pg_stat_archiver_last_archived_age_seconds{SERVER}")],
                    unit="s",
                ),
                Panel(
                    "Files waiting for the archive",
                    "Complete files of the write-ahead log that are not archived yet. Empty without an archive.",
                    [Query("pg_stat_archiver_waiting_files{SERVER}")],
                    runbook="PostgresArchivingStalls",
                ),
                Panel(
                    "Checkpoints",
                    "By time is well; requested means that max_wal_size is reached first, or that somebody asked.",
                    rates(
                        BY_SERVER,
                        "SERVER",
                        "{{instance}}",
                        ("pg_stat_bgwriter_checkpoints_timed_total", "by time"),
                        ("pg_stat_bgwriter_checkpoints_req_total", "requested"),
                    ),
                    unit="ops",
                    runbook="PostgresCheckpointsTooFrequent",
                ),
                Panel(
                    "Time of checkpoints",
                    "Seconds per second spent writing and in fsync.",
                    rates(
                        BY_SERVER,
                        "SERVER",
                        "{{instance}}",
                        ("pg_stat_bgwriter_checkpoint_write_time_seconds_total", "writing"),
                        ("pg_stat_bgwriter_checkpoint_sync_time_seconds_total", "fsync"),
                    ),
                ),
                Panel(
                    "Buffers",
                    "Written by checkpoints, by the background writer and by backends (before PostgreSQL 17); "
                    "allocated; and how often the background writer gave up.",
                    rates(
                        BY_SERVER,
                        "SERVER",
                        "{{instance}}",
                        ("pg_stat_bgwriter_buffers_checkpoint_total", "by checkpoints"),
                        ("pg_stat_bgwriter_buffers_clean_total", "by the background writer"),
                        ("pg_stat_bgwriter_buffers_backend_total", "by backends"),
                        ("pg_stat_bgwriter_buffers_alloc_total", "allocated"),
                        ("pg_stat_bgwriter_maxwritten_clean_total", "given up"),
                    ),
                    unit="ops",
                ),
                Panel(
                    "Reads and writes by process",
                    "Of relations, from and to the system. PostgreSQL 16 and later.",
                    rates(
                        "instance, backend_type",
                        "SERVER",
                        "{{instance}} {{backend_type}}",
                        ("pg_stat_io_reads_total", "reads"),
                        ("pg_stat_io_writes_total", "writes"),
                        ("pg_stat_io_extends_total", "extensions"),
                    ),
                    unit="iops",
                ),
                Panel(
                    "Buffers by process",
                    "Blocks found in a buffer, and blocks that had to make room. PostgreSQL 16 and later.",
                    rates(
                        "instance, backend_type",
                        "SERVER",
                        "{{instance}} {{backend_type}}",
                        ("pg_stat_io_hits_total", "hits"),
                        ("pg_stat_io_evictions_total", "evictions"),
                    ),
                    unit="ops",
                ),
            ],
        ),
        Row(
            "Tables and vacuum",
            [
                Panel(
                    "Rows of all tables",
                    "Live and dead ones, of the database that the exporter connects to.",
                    gauges("SERVER", "{{instance}}", ("pg_tables_live_rows", "live"), ("pg_tables_dead_rows", "dead")),
                ),
                Panel(
                    "Dead share of tables",
                    "Half, nine tenths, 99% and all of the tables have at most this share of dead rows.",
                    [
                        Query("pg_tables_dead_ratio{SERVER}", "{{instance}} {{quantile}}"),
                        Query(
                            "pg_tables_dead_ratio_sum{SERVER} / (pg_tables_dead_ratio_count{SERVER} > 0)",
                            "{{instance}} average",
                        ),
                    ],
                    unit="percentunit",
                    maximum=1,
                    runbook="PostgresAutovacuumBehind",
                ),
                Panel(
                    "Autovacuum",
                    "Workers that run, and of these the ones that prevent wraparound.",
                    gauges(
                        "SERVER",
                        "{{instance}}",
                        ("pg_autovacuum_workers", "workers"),
                        ("pg_autovacuum_to_prevent_wraparound", "against wraparound"),
                    ),
                ),
                Panel(
                    "Longest vacuum",
                    "How long the oldest autovacuum worker has been at its table.",
                    [Query("pg_autovacuum_longest_seconds{SERVER}")],
                    unit="s",
                ),
                Panel(
                    "Oldest snapshots",
                    "Transactions begun since the oldest one whose rows are still kept, by a client or for a slot.",
                    [
                        Query("pg_transactions_oldest_snapshot_transaction_ids{SERVER}", "{{instance}} clients"),
                        Query("pg_replication_slots_oldest_transaction_ids{SERVER}", "{{instance}} slot {{slot_name}}"),
                    ],
                ),
                Panel(
                    "Age of tables in transactions",
                    "The ten oldest. Autovacuum comes at the limit that the settings below show.",
                    [
                        Query(
                            "topk(10, pg_stat_user_tables_frozen_transaction_ids{SERVER})",
                            "{{instance}} {{schemaname}}.{{relname}}",
                        )
                    ],
                    runbook="PostgresTransactionIdWraparound",
                ),
                Panel(
                    "Tables",
                    "The busiest tables of the database that the exporter connects to. Counts are of the time shown.",
                    columns(
                        "pg_stat_user_tables_",
                        "SERVER",
                        TABLE,
                        "live_rows",
                        "dead_rows",
                        "modified_since_analyze_rows",
                        "size_bytes",
                        "seq_scan_total",
                        "idx_scan_total",
                        "seq_tup_read_total",
                        "idx_tup_fetch_total",
                        "tup_ins_total",
                        "tup_upd_total",
                        "tup_hot_upd_total",
                        "tup_del_total",
                        "heap_blks_read_total",
                        "heap_blks_hit_total",
                    ),
                    kind="table",
                    width=24,
                    height=10,
                    rows=TABLE.split(", "),
                    units=[
                        "Live:short",
                        "Dead:short",
                        "Since analyze:short",
                        "Size:bytes",
                        "Sequential scans:short",
                        "Index scans:short",
                        "Rows by sequential scans:short",
                        "Rows by index scans:short",
                        "Inserted:short",
                        "Updated:short",
                        "Updated in place:short",
                        "Deleted:short",
                        "Blocks read:short",
                        "Blocks hit:short",
                    ],
                ),
                Panel(
                    "Vacuum and analyze of tables",
                    "When each was last done by anybody (empty where never), and how often in the time shown.",
                    [
                        Query(f"1000 * max by ({TABLE}) (pg_stat_user_tables_last_vacuum_timestamp_seconds{{SERVER}})"),
                        Query(
                            f"1000 * max by ({TABLE}) (pg_stat_user_tables_last_analyze_timestamp_seconds{{SERVER}})"
                        ),
                        *columns(
                            "pg_stat_user_tables_",
                            "SERVER",
                            TABLE,
                            "vacuum_total",
                            "autovacuum_total",
                            "analyze_total",
                            "autoanalyze_total",
                        ),
                    ],
                    kind="table",
                    width=24,
                    rows=TABLE.split(", "),
                    units=[
                        "Last vacuum:dateTimeFromNow",
                        "Last analyze:dateTimeFromNow",
                        "Vacuums:short",
                        "Autovacuums:short",
                        "Analyzes:short",
                        "Autoanalyzes:short",
                    ],
                ),
                Panel(
                    "Indexes",
                    "The busiest indexes of the database that the exporter connects to. Counts are of the time shown.",
                    columns(
                        "pg_stat_user_indexes_",
                        "SERVER",
                        INDEX,
                        "size_bytes",
                        "idx_scan_total",
                        "idx_tup_read_total",
                        "idx_tup_fetch_total",
                        "idx_blks_read_total",
                        "idx_blks_hit_total",
                    ),
                    kind="table",
                    width=24,
                    rows=INDEX.split(", "),
                    units=[
                        "Size:bytes",
                        "Scans:short",
                        "Entries read:short",
                        "Rows fetched:short",
                        "Blocks read:short",
                        "Blocks hit:short",
                    ],
                ),
            ],
        ),
        Row(
            "Replication",
            [
                Panel(
                    "Lag of this server",
                    "How far a standby is behind its primary; 0 on a primary.",
                    [Query("pg_replication_lag_seconds{SERVER}")],
                    unit="s",
                    steps=[(60, ORANGE), (600, RED)],
                    runbook="PostgresReplicationLag",
                ),
                Panel(
                    "Log that standbys lack",
                    "What each connected receiver has not replayed.",
                    [
                        Query(
                            "pg_stat_replication_replay_lag_bytes{SERVER}",
                            "{{instance}} {{application_name}} {{client_addr}}",
                        )
                    ],
                    unit="bytes",
                ),
                Panel(
                    "Lag of standbys",
                    "Until each had written, flushed and replayed the last of the log.",
                    gauges(
                        "SERVER",
                        "{{instance}} {{application_name}} {{client_addr}}",
                        ("pg_stat_replication_write_lag_seconds", "written"),
                        ("pg_stat_replication_flush_lag_seconds", "flushed"),
                        ("pg_stat_replication_replay_lag_seconds", "replayed"),
                    ),
                    unit="s",
                ),
                Panel(
                    "Connected receivers",
                    "Standbys and others that read the log from this server.",
                    [Query("pg_replication_connected_standbys{SERVER}")],
                ),
                Panel(
                    "Standby receives",
                    "On a standby: whether the log streams in.",
                    [Query("pg_stat_wal_receiver_streaming{SERVER}")],
                    kind="stat",
                    height=8,
                    mappings={1: ("streaming", GREEN), 0: ("not streaming", RED)},
                    runbook="PostgresStandbyNotStreaming",
                ),
                Panel(
                    "Last message of the primary",
                    "On a standby: the time since it. Empty without a connection.",
                    [Query("pg_stat_wal_receiver_last_message_age_seconds{SERVER}")],
                    unit="s",
                ),
                Panel(
                    "Received and not replayed",
                    "On a standby: replay that waits for queries, or is slow.",
                    [Query("pg_stat_wal_receiver_not_replayed_bytes{SERVER}")],
                    unit="bytes",
                ),
                Panel(
                    "Log kept for slots",
                    "It fills the disk if nobody reads from the slot.",
                    [Query("pg_replication_slots_retained_bytes{SERVER}", "{{instance}} {{slot_name}}")],
                    unit="bytes",
                    steps=[(10 * 2**30, ORANGE), (50 * 2**30, RED)],
                    runbook="PostgresSlotRetainsWal",
                ),
                Panel(
                    "Log until slots are lost",
                    "Empty without max_slot_wal_keep_size.",
                    [Query("pg_replication_slots_safe_wal_size_bytes{SERVER}", "{{instance}} {{slot_name}}")],
                    unit="bytes",
                    runbook="PostgresSlotLost",
                ),
                Panel(
                    "Slots in use",
                    "Whether somebody reads from the slot.",
                    [Query("pg_replication_slots_active{SERVER}", "{{instance}} {{slot_name}} {{slot_type}}")],
                    kind="stat",
                    width=12,
                    mappings={1: ("in use", GREEN), 0: ("nobody reads", ORANGE)},
                    runbook="PostgresSlotInactive",
                ),
                Panel(
                    "Log of slots",
                    "Reserved and extended are well; unreserved may be removed, lost is gone.",
                    [
                        Query(
                            "pg_replication_slots_wal_status{SERVER} == 1",
                            "{{instance}} {{slot_name}}: {{pg_replication_slots_wal_status}}",
                        )
                    ],
                    kind="stat",
                    width=12,
                    names=True,
                    runbook="PostgresSlotLost",
                ),
            ],
        ),
        Row(
            "Settings",
            [
                Panel(
                    "Settings in words",
                    "What reviews look for.",
                    [Query("max by (instance, name, setting) (pg_setting_info{SERVER})")],
                    kind="table",
                    width=8,
                    height=10,
                    rows=["instance", "name", "setting"],
                ),
                Panel(
                    "Memory",
                    "Cache, what the planner assumes of all caches, and what a sort and maintenance may take.",
                    columns(
                        "pg_settings_",
                        "SERVER",
                        BY_SERVER,
                        "shared_buffers_bytes",
                        "effective_cache_size_bytes",
                        "work_mem_bytes",
                        "maintenance_work_mem_bytes",
                        "max_wal_size_bytes",
                    ),
                    kind="table",
                    width=16,
                    height=5,
                    rows=[BY_SERVER],
                    units=[
                        "shared_buffers:bytes",
                        "effective_cache_size:bytes",
                        "work_mem:bytes",
                        "maintenance_work_mem:bytes",
                        "max_wal_size:bytes",
                    ],
                ),
                Panel(
                    "Limits",
                    "Numbers that the shares above are of.",
                    columns(
                        "pg_settings_",
                        "SERVER",
                        BY_SERVER,
                        "max_connections",
                        "max_worker_processes",
                        "max_prepared_transactions",
                        "checkpoint_timeout_seconds",
                        "autovacuum_freeze_max_age_transaction_ids",
                    ),
                    kind="table",
                    width=16,
                    height=5,
                    rows=[BY_SERVER],
                    units=[
                        "max_connections:short",
                        "max_worker_processes:short",
                        "max_prepared_transactions:short",
                        "checkpoint_timeout:s",
                        "autovacuum_freeze_max_age:short",
                    ],
                ),
                Panel(
                    "Prepared transactions",
                    "Prepared, and neither committed nor rolled back.",
                    [Query("pg_prepared_transactions_current{SERVER}")],
                    width=24,
                    height=6,
                    steps=[(1, ORANGE)],
                    runbook="PostgresPreparedTransactionForgotten",
                ),
            ],
            closed=True,
        ),
    ],
)

OF_QUERY = "{{instance}} {{query}}"
EXPORTER = Dashboard(
    uid="pg-lambda-exporter-health",
    title="pg-lambda-exporter health",
    description="The exporter itself: whether it answers, how long that takes, and which queries give nothing.",
    by_database=False,
    rows=[
        Row(
            "Is it up?",
            [
                Panel(
                    "Scrape",
                    "Whether Prometheus gets an answer.",
                    [Query("min by (instance) (up{SERVER})")],
                    kind="stat",
                    width=4,
                    height=5,
                    mappings=UP,
                    runbook="PostgresExporterUnreachable",
                ),
                Panel(
                    "PostgreSQL",
                    "Whether the exporter reaches the database.",
                    [Query("min by (instance) (pg_up{SERVER})")],
                    kind="stat",
                    width=4,
                    height=5,
                    mappings=UP,
                    runbook="PostgresDown",
                ),
                Panel(
                    "Last scrape",
                    "Whether anything failed in it.",
                    [Query("max by (instance) (pg_exporter_last_scrape_error{SERVER})")],
                    kind="stat",
                    width=4,
                    height=5,
                    mappings={0: ("sound", GREEN), 1: ("errors", RED)},
                    runbook="PostgresExporterQueryFails",
                ),
                Panel(
                    "Queries that fail",
                    "In the last scrape.",
                    [Query("sum by (instance) (1 - pg_exporter_query_success{SERVER})")],
                    kind="stat",
                    width=4,
                    height=5,
                    steps=[(1, RED)],
                    runbook="PostgresExporterQueryFails",
                ),
                Panel(
                    "Availability",
                    "Share of the scrapes in the time shown that were answered.",
                    [Query("avg by (instance) (avg_over_time(up{SERVER}[$__range]))")],
                    kind="stat",
                    width=4,
                    height=5,
                    unit="percentunit",
                    steps=[(0, RED), (0.95, ORANGE), (0.99, GREEN)],
                    runbook="PostgresExporterUnreachable",
                ),
                Panel(
                    "Version",
                    "Of the exporter, with the revision of its source.",
                    [
                        Query(
                            "max by (instance, version, revision) (pg_exporter_build_info{SERVER})",
                            "{{version}} {{revision}}",
                        )
                    ],
                    kind="stat",
                    width=4,
                    height=5,
                    names=True,
                ),
            ],
        ),
        Row(
            "Is it near its deadline?",
            [
                Panel(
                    "Duration of scrapes",
                    "As Prometheus sees it, with the network and a cold start, and as the function does. Beyond the "
                    "scrape_timeout everything is lost.",
                    gauges(
                        "SERVER",
                        "{{instance}}",
                        ("scrape_duration_seconds", "as Prometheus sees it"),
                        ("pg_exporter_last_scrape_duration_seconds", "in the function"),
                    ),
                    unit="s",
                    width=12,
                    steps=[(15, RED)],
                    runbook="PostgresExporterScrapeSlow",
                ),
                Panel(
                    "Duration of queries",
                    "The ten longest.",
                    [Query("topk(10, pg_exporter_query_duration_seconds{SERVER})", OF_QUERY)],
                    unit="s",
                    width=12,
                    runbook="PostgresExporterScrapeSlow",
                ),
                Panel(
                    "Samples",
                    "That each scrape gives, and that Prometheus keeps of them.",
                    gauges(
                        "SERVER",
                        "{{instance}}",
                        ("scrape_samples_scraped", "given"),
                        ("scrape_samples_post_metric_relabeling", "kept"),
                    ),
                ),
                Panel(
                    "Rows of queries",
                    "The ten with the most. Each row is as many series as the query has columns that are no labels.",
                    [Query("topk(10, pg_exporter_query_rows{SERVER})", OF_QUERY)],
                    width=16,
                ),
            ],
        ),
        Row(
            "Which queries give nothing?",
            [
                Panel(
                    "Queries over time",
                    "Green gave samples, red failed.",
                    [Query("pg_exporter_query_success{SERVER}", OF_QUERY)],
                    kind="state-timeline",
                    width=24,
                    height=16,
                    mappings={1: ("sound", GREEN), 0: ("failed", RED)},
                    runbook="PostgresExporterQueryFails",
                ),
                Panel(
                    "Why queries failed",
                    "Empty is well.",
                    [Query("max by (instance, query, reason) (pg_exporter_query_error{SERVER})")],
                    kind="table",
                    rows=["instance", "query", "reason"],
                    runbook="PostgresExporterQueryFails",
                ),
                Panel(
                    "Queries that do not run here",
                    "For another version or role of the server, or not now.",
                    [Query("max by (instance, query, reason) (pg_exporter_query_skipped{SERVER})")],
                    kind="table",
                    rows=["instance", "query", "reason"],
                ),
                Panel(
                    "Samples that rows did not give",
                    "NULL is well: a value that the server does not have. Other reasons want a look at the query.",
                    [Query("max by (instance, query, reason) (pg_exporter_query_samples_dropped{SERVER})")],
                    kind="table",
                    rows=["instance", "query", "reason"],
                    units=["Samples:short"],
                ),
            ],
        ),
        Row(
            "What does it keep?",
            [
                Panel(
                    "Cold starts",
                    "Share of the scrapes in the time shown that began a new execution environment.",
                    [Query("avg by (instance) (avg_over_time(pg_exporter_cold_start{SERVER}[$__range]))")],
                    unit="percentunit",
                    kind="stat",
                    width=6,
                ),
                Panel(
                    "Age of the connection",
                    "Its end is a cold start, a lost connection, or its greatest age.",
                    [Query("pg_exporter_connection_age_seconds{SERVER}")],
                    unit="s",
                    width=6,
                ),
                Panel(
                    "Age of the credentials",
                    "Since they were fetched from Secrets Manager.",
                    [Query("pg_exporter_secret_age_seconds{SERVER}")],
                    unit="s",
                    width=6,
                ),
                Panel(
                    "Age of kept results",
                    "Of queries with cache_seconds.",
                    [Query("pg_exporter_query_cache_age_seconds{SERVER}", OF_QUERY)],
                    unit="s",
                    width=6,
                ),
            ],
        ),
    ],
)

DASHBOARDS = {"postgresql-overview.json": OVERVIEW, "exporter-health.json": EXPORTER}


def files() -> dict[str, str]:
    """What the folder has: texts by the names of the files."""
    pages = list(DASHBOARDS.values())
    return {
        name: json.dumps(dashboard(page, [other for other in pages if other is not page]), indent=2) + "\n"
        for name, page in DASHBOARDS.items()
    }


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
