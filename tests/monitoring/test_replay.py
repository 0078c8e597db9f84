"""What real servers tell is replayed for hours through the rules as they are: in health nothing fires, in trouble what
should does."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from demo.postgres import Postgres
from demo.processes import Processes, processes, stop_on_signals
from demo.prometheus import RULES
from recorded import Recorder, minutes, unit_test
from standby import Restored, Standby

HOURS = 8
# Thresholds that no test reaches in seconds. Everything else of the rules stays.
LOWER = {
    "PostgresXminHorizonHeldBack": ("50e6", "3"),
    "PostgresReplayFallsBehind": (r"2 \^ 30", "1e5"),
    "PostgresStandbyBytesBehind": (r"5 \* 2 \^ 30", "1e5"),
    "PostgresStandbyLagSeenByPrimary": ("300", "1"),
    "PostgresSlotRetainsWal": (r"[15]0 \* 2 \^ 30", "1e5"),
}


def firing(folder: Path, instances: dict, at: list[int], rules: list[Path] = RULES) -> set[tuple[str, str]]:
    """The alerts that fire at any of these minutes: their names and instances."""
    for rule in rules:
        shutil.copy(rule, folder)
    expression = 'count by (alertname, instance) (ALERTS{alertstate="firing"})'
    checks = [{"expr": expression, "eval_time": f"{minute}m", "exp_samples": []} for minute in at]
    (folder / "replay.test.yml").write_text(unit_test(instances, [rule.name for rule in rules], checks))
    command = ["promtool", "test", "rules", "replay.test.yml"]
    answer = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    said = answer.stdout + answer.stderr
    found = set(re.findall(r'{alertname="(\w+)", instance="([^"]+)"}', said))
    assert bool(answer.returncode) == bool(found), said[:4000]
    return found


class Topology:
    """A primary, its standby by a slot, an idle server, and one that was restored from the primary's backup."""

    def __init__(self, running: Processes) -> None:
        self.running = running
        self.primary = Postgres(running)
        archive = {"archive_mode": "on", "archive_command": "true", "max_prepared_transactions": "5"}
        for name, value in archive.items():
            self.primary.sql(f"ALTER SYSTEM SET {name} = '{value}'")
        self.primary.stop()
        self.primary.start()
        self.primary.sql(f"GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO {self.primary.role}")
        # As Patroni names the slot of a member, and CloudNativePG that of an instance.
        self.primary.sql("SELECT pg_create_physical_replication_slot('shop_2', true)")
        self.primary.sql("SELECT pg_create_physical_replication_slot('_cnpg_shop_3', true)")
        self.patroni = Standby(running, self.primary, "patroni", "shop_2")
        self.cnpg = Standby(running, self.primary, "cnpg", "_cnpg_shop_3")
        # Both make the others' slots on their standbys, and move them forward.
        self.patroni.sql("SELECT pg_create_physical_replication_slot('shop_1', true)")
        self.cnpg.sql("SELECT pg_create_physical_replication_slot('_cnpg_shop_1', true)")
        self.cnpg.sql("SELECT pg_create_physical_replication_slot('_cnpg_shop_2', true)")
        self.restored = Restored(running, self.primary)

    def secrets(self) -> dict[str, dict]:
        return {
            "primary": self.primary.secret(),
            "patroni": self.patroni.secret(),
            "cnpg": self.cnpg.secret(),
            "restored": self.restored.secret(),
        }

    def record(self, folder: Path, times: int, busy: bool = False, without: set[str] = frozenset()) -> Recorder:
        """Scrapes all some seconds apart, while the standbys' slots move and, if busy, the shop sells."""
        recorder = Recorder(folder)
        for _ in range(times):
            if busy:
                self.primary.sql("INSERT INTO orders (customer, amount_cents) SELECT n, n FROM generate_series(1, 99) n")
                self.primary.sql("UPDATE orders SET state = 'paid' WHERE state = 'open' AND id % 7 = 0")
                self.primary.sql("SELECT pg_switch_wal()")
            for standby, slots in ((self.patroni, ["shop_1"]), (self.cnpg, ["_cnpg_shop_1", "_cnpg_shop_2"])):
                for slot in slots:
                    standby.sql(f"SELECT pg_replication_slot_advance('{slot}', pg_last_wal_replay_lsn())")
            for instance, secret in self.secrets().items():
                if instance not in without:
                    recorder.scrape(instance, secret, time.monotonic())
            time.sleep(2)  # The pace of a counter needs some time between two scrapes.
        return recorder


@pytest.fixture(scope="module")
def topology() -> Iterator[Topology]:
    stop_on_signals()
    with processes() as running:
        yield Topology(running)


def parts(recorder: Recorder, length: int) -> dict[str, dict]:
    return {instance: minutes(scrapes, length) for instance, scrapes in recorder.scrapes.items()}


def test_nothing_fires_in_health_and_what_should_in_trouble(topology: Topology, tmp_path: Path) -> None:
    idle = topology.record(tmp_path, 3)
    busy = topology.record(tmp_path, 5, busy=True)
    hour = HOURS * 60
    for name, recorded in (("idle", idle), ("busy", busy)):
        folder = tmp_path / name
        folder.mkdir()
        series = {instance: [part] for instance, part in parts(recorded, hour).items()}
        assert firing(folder, series, list(range(30, hour, 30))) == set(), name

    trouble(topology)
    bad = topology.record(tmp_path, 3, without={"cnpg"})
    topology.patroni.sql("SELECT pg_wal_replay_resume()")
    topology.patroni.sql("SELECT pg_promote()")
    recorder = Recorder(tmp_path)
    recorder.scrape("patroni", topology.patroni.secret(), time.monotonic())
    healthy, ill, promoted = parts(busy, 120), parts(bad, 150), parts(recorder, 30)
    series = {instance: [healthy[instance], ill[instance], promoted.get(instance, {})] for instance in ill}
    folder = tmp_path / "trouble"
    folder.mkdir()
    fired = firing(folder, series, [125, 132, 150, 165, 240, 269, 275], lowered(tmp_path / "lowered"))
    expected = {
        ("PostgresExporterRoleSeesTooLittle", "restored"),
        ("PostgresIdleInTransaction", "primary"),
        ("PostgresSessionsBlocked", "primary"),
        ("PostgresPreparedTransactionForgotten", "primary"),
        ("PostgresXminHorizonHeldBack", "primary"),
        ("PostgresAutovacuumBehind", "primary"),
        ("PostgresStandbyDisappeared", "primary"),
        ("PostgresSlotInactive", "primary"),
        ("PostgresArchivingStalls", "primary"),
        ("PostgresRestarted", "primary"),
        ("PostgresStandbyBytesBehind", "primary"),
        ("PostgresReplayFallsBehind", "patroni"),
        ("PostgresReplicationLag", "patroni"),
        ("PostgresSlotRetainsWal", "primary"),
        ("PostgresStandbyLagSeenByPrimary", "primary"),
        ("PostgresLongTransaction", "primary"),
        ("PostgresRoleChanged", "patroni"),
    }
    assert expected - fired == set(), fired


def lowered(folder: Path) -> list[Path]:
    """The rules with the thresholds of LOWER."""
    folder.mkdir()
    files = []
    for file in RULES:
        document = yaml.safe_load(file.read_text())
        for group in document["groups"]:
            for rule in group["rules"]:
                high, low = LOWER.get(rule.get("alert"), (None, ""))
                if high:
                    rule["expr"], found = re.subn(high, low, rule["expr"])
                    assert found, rule
        files.append(folder / file.name)
        files[-1].write_text(json.dumps(document))  # JSON is YAML.
    return files


def trouble(topology: Topology) -> None:
    """Bad states on the real servers."""
    primary = topology.primary
    # A restart, and an archive that hangs from then on.
    primary.sql("ALTER SYSTEM SET archive_command = 'sleep 3600'")
    topology.cnpg.stop()
    primary.stop()
    primary.start()
    topology.running.wait_for(
        "the standby", lambda: primary.sql("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") == "1"
    )
    # As a crash leaves it.
    primary.sql("SELECT pg_stat_reset_shared('archiver')")
    primary.sql("CREATE TABLE dying (a int) WITH (autovacuum_enabled = off)")
    primary.sql("INSERT INTO dying SELECT generate_series(1, 300000)")
    primary.sql("DELETE FROM dying")
    primary.sql("SELECT pg_switch_wal()")
    primary.go_wrong()
    primary.sql("BEGIN; UPDATE customers SET name = name WHERE id = 2; PREPARE TRANSACTION 'forgotten'")
    topology.restored.sql(f"REVOKE pg_monitor FROM {primary.role}")
    # Replay that is late, and then paused: the primary keeps the last lag in seconds that it has seen.
    topology.patroni.sql("ALTER SYSTEM SET recovery_min_apply_delay = '3s'")
    topology.patroni.sql("SELECT pg_reload_conf()")
    late = "SELECT count(*) FROM pg_stat_replication WHERE replay_lag > '2s'"
    topology.running.wait_for(
        "a lag", lambda: primary.sql("INSERT INTO dying VALUES (1)") is not None and primary.sql(late) == "1"
    )
    topology.patroni.sql("SELECT pg_wal_replay_pause()")
    primary.sql("INSERT INTO dying SELECT generate_series(1, 50000)")
    for _ in range(8):
        primary.sql("SELECT pg_current_xact_id()")
