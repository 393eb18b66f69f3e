"""The tables, for SQLite and PostgreSQL alike. Times are seconds since the epoch, UTC."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

VERSION = 1  # of these tables; kept in `meta`
Real = Float(53)
Big = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows by INTEGER alone

metadata = MetaData()

meta = Table("meta", metadata, Column("key", Text, primary_key=True), Column("value", Text))

# What is known of a bin now. No index but the names: it is updated with every message, and a list
# of ten thousand is sorted in milliseconds.
bin_ = Table(
    "bin",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("site", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("first_seen_ts", Real, nullable=False),
    Column("retired", Integer, nullable=False, server_default="0"),
    # from `state`
    Column("state", Text, nullable=False, server_default="unseen"),
    Column("state_reason", Text, nullable=False, server_default=""),
    Column("state_ts", Real),
    Column("state_boot", Text),
    Column("model", Text, nullable=False, server_default=""),
    Column("version", Text, nullable=False, server_default=""),
    # from `birth`
    Column("birth_boot", Text),
    Column("birth_ts", Real),
    Column("labels", Text, nullable=False, server_default="[]"),
    Column("routes", Text, nullable=False, server_default="{}"),
    Column("safe", Text, nullable=False, server_default=""),
    Column("capabilities", Text, nullable=False, server_default="[]"),
    # from the newest `event`
    Column("event_ts", Real),
    Column("outcome", Text),
    Column("label", Text),
    Column("confidence", Real),
    Column("route", Text),
    Column("reason", Text),
    Column("judged", Big, nullable=False, server_default="0"),
    # from `health`
    Column("health_ts", Real),
    Column("uptime_s", Real),
    Column("temperature_c", Real),
    Column("throttled", Integer),
    Column("rss_mb", Real),
    Column("p50_ms", Real),
    Column("p99_ms", Real),
    Column("outbox_depth", Big),
    Column("outbox_lost", Big),
    Column("dropped", Big),
    Column("confidence_mean", Real),
    Column("camera_restarts", Big),
    Column("clock", Text),
    # from `ack`
    Column("ack_result", Text),
    Column("ack_ts", Real),
    # what the monitor found out itself
    Column("clock_off_ts", Real),  # when an event last came with an impossible time
    Column("twin_ts", Real),  # when two boots last spoke under this name
    Column("twin_detail", Text, nullable=False, server_default=""),
    Column("drift_judged", Big, nullable=False, server_default="0"),
    Column("drift_from_ts", Real, nullable=False, server_default="0"),  # nothing older is compared
    UniqueConstraint("site", "name", name="bin_by_name"),
)

# Every decision and change of state, once. Numbered in the order of arrival.
event = Table(
    "event",
    metadata,
    Column("id", Big, primary_key=True, autoincrement=True),
    Column("bin_id", Integer, nullable=False),
    Column("boot", String(12), nullable=False),
    Column("seq", Big, nullable=False),
    Column("kind", Text, nullable=False),  # decision, state, movement, command, model ...
    Column("ts", Real, nullable=False),  # decided, or arrived where the bin's clock is impossible
    Column("hour", Integer, nullable=False),  # of ts, since the epoch; chunks of a hypertable
    Column("received_ts", Real, nullable=False),
    Column("flag", Text, nullable=False),  # "": good; clock: ts is ours; twin: not counted
    Column("outcome", Text, nullable=False),  # of a decision; of a change of state, the state
    Column("label", Text),
    Column("confidence", Real),
    Column("route", Text),
    Column("latency_ms", Real),
    Column("model", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("top", Text),
    Column("cause", Text),
    Column("picture", Text),
    UniqueConstraint("bin_id", "boot", "seq", name="event_once"),
    Index("event_by_time", "bin_id", "ts"),
)

# How far the numbers of one start of one bin are complete.
boot = Table(
    "boot",
    metadata,
    Column("bin_id", Integer, primary_key=True),
    Column("boot", String(12), primary_key=True),
    Column("complete", Big, nullable=False),  # every number up to here is stored or given up
    Column("highest", Big, nullable=False),
    Column("run_from", Big, nullable=False),  # the last batch's run of numbers
    Column("run_to", Big, nullable=False),
    Column("moved_ts", Real, nullable=False),  # when `complete` last grew
    Column("asked", Integer, nullable=False, server_default="0"),
    Column("asked_ts", Real, nullable=False, server_default="0"),
    Column("refused", Integer, nullable=False, server_default="0"),  # the bin has them no more
)

gap = Table(
    "gap",
    metadata,
    Column("bin_id", Integer, primary_key=True),
    Column("boot", String(12), primary_key=True),
    Column("seq_from", Big, primary_key=True),
    Column("seq_to", Big, nullable=False),
    Column("found_ts", Real, nullable=False),
    Column("why", Text, nullable=False),
)

state_log = Table(
    "state_log",
    metadata,
    Column("id", Big, primary_key=True, autoincrement=True),
    Column("bin_id", Integer, nullable=False),
    Column("ts", Real, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("boot", Text, nullable=False),
    Index("state_by_time", "bin_id", "ts"),
)

health = Table(
    "health",
    metadata,
    Column("id", Big, primary_key=True, autoincrement=True),
    Column("bin_id", Integer, nullable=False),
    Column("ts", Real, nullable=False),
    Column("temperature_c", Real),
    Column("throttled", Integer),
    Column("rss_mb", Real),
    Column("p50_ms", Real),
    Column("p99_ms", Real),
    Column("outbox_depth", Big),
    Column("confidence_mean", Real),
    Index("health_by_time", "bin_id", "ts"),
)

# Counts by hour, made from the events of hours that are over.
rollup = Table(
    "rollup",
    metadata,
    Column("bin_id", Integer, primary_key=True),
    Column("hour", Integer, primary_key=True),  # hours since the epoch
    Column("outcome", Text, primary_key=True),
    Column("label", Text, primary_key=True),  # empty where none was judged
    Column("n", Integer, nullable=False),
    Column("confidence", Real),  # mean
    Column("latency_ms", Real),  # mean
    Index("rollup_by_hour", "hour"),
)

# Hours of bins whose counts are to be made (again); n guards against an event that comes meanwhile.
dirty = Table(
    "dirty",
    metadata,
    Column("hour", Integer, primary_key=True),
    Column("bin_id", Integer, primary_key=True),
    Column("n", Integer, nullable=False),
)

drift_reference = Table(
    "drift_reference",
    metadata,
    Column("bin_id", Integer, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("made_ts", Real, nullable=False),
    Column("confidences", Text, nullable=False),  # JSON: counts by tenth
    Column("classes", Text),  # JSON: counts by class in the first week, once it is over
)

drift = Table(
    "drift",
    metadata,
    Column("id", Big, primary_key=True, autoincrement=True),
    Column("bin_id", Integer, nullable=False),
    Column("ts", Real, nullable=False),
    Column("model", Text, nullable=False),
    Column("n", Integer, nullable=False),
    Column("mean", Real, nullable=False),
    Column("psi_confidence", Real),
    Column("psi_classes", Real),
    Column("psi_card", Real),
    Column("card_mean", Real),
    Column("told", Text, nullable=False),  # which of them are shifts, with spaces
    Index("drift_by_time", "bin_id", "ts"),
)

alert = Table(
    "alert",
    metadata,
    Column("id", Big, primary_key=True, autoincrement=True),
    Column("bin_id", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("opened_ts", Real, nullable=False),
    Column("closed_ts", Real),
    Column("detail", Text, nullable=False),
    Column("seen_by", Text),
    Column("seen_ts", Real),
    Index("alert_open", "closed_ts", "kind"),
    Index("alert_of_bin", "bin_id", "opened_ts"),
)

reject = Table(
    "reject",
    metadata,
    Column("reason", Text, primary_key=True),
    Column("bin_name", Text, primary_key=True),  # SITE/BIN of the topic, where there is one
    Column("n", Big, nullable=False),
    Column("last_ts", Real, nullable=False),
    Column("sample", Text, nullable=False),
)

picture = Table(
    "picture",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("bin_id", Integer, nullable=False),
    Column("event_id", Text, nullable=False),  # BOOT-SEQ
    Column("sha256", Text, nullable=False),
    Column("bytes", Integer, nullable=False),
    Column("ts", Real, nullable=False),
    Column("model", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("why", Text, nullable=False),  # of the bin: why it was not sure
    Column("model_label", Text),
    Column("confidence", Real),
    Column("label", Text),  # by a person
    Column("labelled_by", Text),
    Column("labelled_ts", Real),
    UniqueConstraint("bin_id", "event_id", name="picture_once"),
    Index("picture_by_label", "label", "ts"),
)

user = Table(
    "person",
    metadata,
    Column("name", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("password", Text, nullable=False),  # scrypt$...
    Column("made_ts", Real, nullable=False),
)

session = Table(
    "session",
    metadata,
    Column("token_sha256", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("csrf", Text, nullable=False),
    Column("until_ts", Real, nullable=False),
)

# Which monitor does the housekeeping.
lease = Table(
    "lease",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("until_ts", Real, nullable=False),
)
