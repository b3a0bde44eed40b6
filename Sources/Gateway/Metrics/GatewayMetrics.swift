import Feed
import JobFeedProtocol

/// Every metric of the gateway: the one table of names, and the handles to count with. docs/operations.md explains each.
///
/// A class, so that what every session carries of it is one word.
final class GatewayMetrics: Sendable {
    // MARK: Clients

    let connections: PrometheusGauge
    let connectionsOpened: PrometheusCounter
    let users: PrometheusGauge
    let subscriptions: PrometheusGauge
    let disconnects: LabelledCounters<Disconnect>
    let refusals: LabelledCounters<ConnectionCensus.Refusal>
    let httpResponses: LabelledCounters<Int>
    let commandErrors: LabelledCounters<ErrorCode>

    // MARK: From the log to the hub: one writer, the reader's thread

    /// Log records read, of all feeds.
    let changesRead: PrometheusCounter
    /// Steps handed to the hub, with changes or without.
    let steps: PrometheusCounter
    /// Changes per step; steps without any are not recorded.
    let stepChanges: PrometheusHistogram
    let asOfLag: PrometheusGauge
    /// Pieces of the log read, by what made the node look.
    let reads: LabelledCounters<ReadCause>
    let rings: PrometheusCounter
    /// Backstop reads that found a change whose bell should have rung.
    let backstopFinds: PrometheusCounter
    let doorbell: StateGauges<DoorbellState>
    let databaseLosses: PrometheusCounter
    let ringBytes: PrometheusGauge

    // MARK: From the hub to sockets: any event loop

    /// `changes` and `counts` frames handed to connections.
    let deliveries: PrometheusCounter
    let sentBytes: PrometheusCounter
    /// Of frames that left compressed: their size before and after.
    let deflatePlainBytes: PrometheusCounter
    let deflateSentBytes: PrometheusCounter
    /// From `change.at` to the flush; once for each receiver (`record(_:times:)`).
    let commitToSocket: PrometheusHistogram
    let enters: LabelledCounters<View.EnterReason>
    let updates: PrometheusCounter
    let leaves: LabelledCounters<View.LeaveReason>
    /// Gauge updates that `max_rate` or a slow socket merged into a later one.
    let coalesced: PrometheusCounter
    let resumes: LabelledCounters<ResumeSource>
    let resets: LabelledCounters<ResetReason>

    // MARK: Snapshots and the pool they are read with

    let snapshotQueue: PrometheusGauge
    let poolWait: PrometheusHistogram
    let poolUse: PrometheusHistogram
    let poolRefusals: PrometheusCounter

    // MARK: The log in the database

    let logSlot: PrometheusGauge
    let logBytes: PrometheusGauge
    let oldestChangeAge: PrometheusGauge
    let rotations: LabelledCounters<RotationOutcome>
    /// How long ago a rotation was due that has not happened; 0 when none is due.
    let rotationOverdue: PrometheusGauge

    // MARK: The keys of tokens, where they are fetched

    let keyFetches: LabelledCounters<KeyFetchOutcome>
    let keys: PrometheusGauge
    let keysAge: PrometheusGauge
    let unknownKeys: PrometheusCounter

    // MARK: The process

    let loopLag: PrometheusHistogram
    let process: ProcessMetrics

    init(_ r: PrometheusRegistry) {
        let latency = PrometheusHistogram.latencySeconds
        let sizes = PrometheusHistogram.sizes

        self.connections = r.gauge("jobfeed_connections", "Open WebSockets.", initial: 0)
        self.connectionsOpened = r.counter("jobfeed_connections_opened_total", "WebSockets opened.")
        self.users = r.gauge("jobfeed_users", "Users with at least one authenticated WebSocket.", initial: 0)
        self.subscriptions = r.gauge("jobfeed_subscriptions", "Open subscriptions.", initial: 0)
        self.disconnects = LabelledCounters(
            r,
            "jobfeed_disconnects_total",
            "WebSockets closed, by close code and by who closed first.",
            keys: Disconnect.all,
            labels: \.labels
        )
        self.refusals = LabelledCounters(
            r,
            "jobfeed_connections_refused_total",
            "WebSockets refused because of a limit, by the limit.",
            label: "limit"
        )
        self.httpResponses = LabelledCounters(
            r,
            "jobfeed_http_responses_total",
            "HTTP answers, refused upgrades included, by status.",
            keys: HTTPStatusLabel.all,
            labels: HTTPStatusLabel.labels
        )
        self.commandErrors = LabelledCounters(
            r,
            "jobfeed_command_errors_total",
            "Commands refused, by the code of the answer.",
            label: "code"
        )

        self.changesRead = r.counter("jobfeed_changes_read_total", "Changes read from the log.")
        self.steps = r.counter("jobfeed_steps_total", "Steps from one snapshot of the database to a later one.")
        self.stepChanges = r.histogram("jobfeed_step_changes", "Changes in a step that has any.", bounds: sizes)
        self.asOfLag = r.gauge(
            "jobfeed_feed_as_of_lag_seconds",
            "Time since the log was last read to its end: everything committed before that has been read."
        )
        self.reads = LabelledCounters(r, "jobfeed_reads_total", "Reads of the log, by their cause.", label: "cause")
        self.rings = r.counter("jobfeed_doorbell_rings_total", "Notifications received.")
        self.backstopFinds = r.counter(
            "jobfeed_backstop_finds_total",
            "Reads without a ring that found a change whose ring should have come; each one is a bug."
        )
        self.doorbell = StateGauges(
            r,
            "jobfeed_doorbell_state",
            "1 for the state that the node is in, 0 for the others.",
            label: "state"
        )
        self.databaseLosses = r.counter("jobfeed_database_losses_total", "Times that the reader lost the database.")
        self.ringBytes = r.gauge("jobfeed_ring_bytes", "Memory that the recent changes take.")

        self.deliveries = r.counter("jobfeed_deliveries_total", "Frames of live changes handed to connections.")
        self.sentBytes = r.counter("jobfeed_sent_bytes_total", "Bytes of frames handed to connections.")
        self.deflatePlainBytes = r.counter(
            "jobfeed_deflate_plain_bytes_total",
            "Bytes that compressed frames had before compression, once for each receiver."
        )
        self.deflateSentBytes = r.counter(
            "jobfeed_deflate_sent_bytes_total",
            "Bytes that compressed frames had after compression, once for each receiver."
        )
        self.commitToSocket = r.histogram(
            "jobfeed_commit_to_socket_seconds",
            "From a change in the database to the socket, once for each receiver.",
            bounds: latency
        )
        self.enters = LabelledCounters(r, "jobfeed_enters_total", "Rows that entered a view.", label: "reason")
        self.updates = r.counter("jobfeed_updates_total", "Changes of rows within a view.")
        self.leaves = LabelledCounters(r, "jobfeed_leaves_total", "Rows that left a view.", label: "reason")
        self.coalesced = r.counter("jobfeed_coalesced_total", "Updates merged into a later one of the same row.")
        self.resumes = LabelledCounters(
            r,
            "jobfeed_resumes_total",
            "Subscriptions with a cursor, by what they were served from.",
            keys: ResumeSource.allCases,
            labels: \.labels
        )
        self.resets = LabelledCounters(r, "jobfeed_resets_total", "Subscriptions told to start anew.", label: "reason")

        self.snapshotQueue = r.gauge("jobfeed_snapshot_queue_length", "Snapshots and replays that wait for the pool.")
        self.poolWait = r.histogram("jobfeed_pool_wait_seconds", "Wait for a database session.", bounds: latency)
        self.poolUse = r.histogram("jobfeed_pool_use_seconds", "Use of a database session.", bounds: latency)
        self.poolRefusals = r.counter("jobfeed_pool_refusals_total", "Times that the pool had no room to wait.")

        self.logSlot = r.gauge("jobfeed_log_slot", "The slot of the log that is written to.")
        self.logBytes = r.gauge("jobfeed_log_bytes", "Size of the log in the database, indexes included.")
        self.oldestChangeAge = r.gauge("jobfeed_log_oldest_change_age_seconds", "Age of the oldest change in the log.")
        self.rotations = LabelledCounters(
            r,
            "jobfeed_log_rotations_total",
            "Calls of jobfeed.rotate by this node, by what it did.",
            label: "outcome"
        )
        self.rotationOverdue = r.gauge(
            "jobfeed_log_rotation_overdue_seconds",
            "How long a rotation of the log has been due; 0 when none is."
        )

        self.keyFetches = LabelledCounters(
            r,
            "jobfeed_jwks_fetches_total",
            "Fetches of the JWK set, by what came of them.",
            label: "outcome"
        )
        self.keys = r.gauge("jobfeed_jwks_keys", "Keys of the fetched JWK set that tokens are verified with.")
        self.keysAge = r.gauge("jobfeed_jwks_age_seconds", "Time since the JWK set was fetched.")
        self.unknownKeys = r.counter(
            "jobfeed_jwks_unknown_keys_total",
            "Tokens refused because the fetched JWK set does not have the key they name."
        )

        self.loopLag = r.histogram(
            "jobfeed_event_loop_lag_seconds",
            "How late the timers of event loops fire.",
            bounds: latency
        )
        self.process = ProcessMetrics(r)
    }
}
