//! Every metric that the program has, in one place: its name, kind and meaning. A test compares the list with the code,
//! the page (`docs/metrics.md`), the dashboard and the alarms; what it lists is described to Prometheus.
//!
//! No label holds what came from outside: stages, states, kinds and codes are words of this program, sources go by their
//! numbers, and relays and scanners by the names that the settings give them.

use metrics::Unit;

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Counts up since the process began.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How long things took.
    Histogram,
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name, with its unit last.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it tells.
    pub meaning: &'static str,
}

const fn counter(name: &'static str, labels: &'static [&'static str], meaning: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, labels, meaning }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], meaning: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, labels, meaning }
}

const fn histogram(name: &'static str, labels: &'static [&'static str], meaning: &'static str) -> Metric {
    Metric { name, kind: Kind::Histogram, labels, meaning }
}

/// All of them, by what they are about.
pub const METRICS: &[Metric] = &[
    // what lies here, counted now and then
    gauge("lettercase_rows", &["kind", "state"], "rows of a kind in a state, as the ledger counts them"),
    gauge(
        "lettercase_ledger_difference",
        &[],
        "how far receipts, postings and rows are apart; 0, or something was lost",
    ),
    gauge("lettercase_ledger_age_seconds", &[], "seconds since the ledger and the queues were counted"),
    gauge("lettercase_ledger_count_seconds", &[], "how long the last count took"),
    gauge("lettercase_work", &["stage", "state"], "work of a stage that is ready, running or dead"),
    gauge(
        "lettercase_work_oldest_seconds",
        &["stage", "state"],
        "age of the oldest work of a stage, since it was put there",
    ),
    gauge("lettercase_tasks", &["kind"], "what waits for a person, by kind"),
    gauge("lettercase_tasks_overdue", &["kind"], "what waits for a person beyond its deadline"),
    gauge(
        "lettercase_tasks_oldest_seconds",
        &["kind"],
        "age of the oldest of what waits for a person, since its receipt",
    ),
    gauge("lettercase_events_unsealed", &[], "events without a seal"),
    gauge("lettercase_events_unsealed_oldest_seconds", &[], "age of the oldest event without a seal"),
    gauge("lettercase_events_unread", &["reader"], "sealed events that a reader of ours has not read"),
    gauge(
        "lettercase_events_unread_oldest_seconds",
        &["reader"],
        "age of the first event that a reader of ours has not read",
    ),
    gauge("lettercase_differing_plans", &[], "plans that nodes run beside the first; 0 when all run the same"),
    gauge(
        "lettercase_outgoing_held",
        &["what"],
        "1 where mails, faxes, print batches or destruction are held back as a whole",
    ),
    // whether what is needed is there, asked at each scrape
    gauge("lettercase_stage_paused", &["stage"], "1 where a stage takes no work because something is away"),
    gauge("lettercase_object_store_up", &[], "1 where the object store takes, gives and deletes a probe"),
    gauge("lettercase_database_up", &[], "1 where the database takes a write"),
    gauge("lettercase_spool_free_bytes", &[], "bytes free on the disk of this node's spool"),
    gauge("lettercase_scanner_fit", &["scanner"], "1 where a scanner passed its canaries with fresh signatures"),
    gauge("lettercase_scanner_signature_age_seconds", &["scanner"], "age of the newest signatures that a scanner has"),
    gauge("lettercase_relay_resting", &["relay"], "1 where a relay failed too often and rests"),
    gauge("lettercase_relay_connections", &["relay"], "connections to a relay, in use or parked"),
    counter(
        "lettercase_database_faults_total",
        &["fault"],
        "statements and connections that failed for what the database, not the statement, lacked",
    ),
    // documents
    counter("lettercase_arrivals_total", &["outcome"], "files that began to come, by what became of them"),
    counter("lettercase_received_bytes_total", &[], "bytes of files that were received"),
    counter("lettercase_tasks_due_soon_total", &["kind"], "tasks of whose deadline it was told before it passed"),
    counter("lettercase_source_taken_total", &["source"], "files taken from a source of the mailroom"),
    counter(
        "lettercase_source_problems_total",
        &["source", "code"],
        "files of a source that were not taken, or not with all that was said",
    ),
    gauge("lettercase_source_waiting", &["source"], "files of a source that are not complete or not settled yet"),
    gauge("lettercase_source_skipped", &["source"], "what lies in a source and is no file to take"),
    // stages of both journeys
    counter("lettercase_stage_outcomes_total", &["stage", "outcome"], "work of a stage that ended, by how"),
    histogram("lettercase_stage_seconds", &["stage"], "how long a stage worked on one subject, whatever came of it"),
    counter("lettercase_dead_letters_total", &["stage"], "work that can't be done and waits for an operator"),
    // letters
    counter("lettercase_letters_rendered_total", &[], "PDFs of letters made"),
    counter("lettercase_letters_refused_total", &[], "letters whose data can't make a letter"),
    counter("lettercase_letters_overflowing_total", &[], "letters with a line that did not fit"),
    counter(
        "lettercase_letters_without_work_total",
        &[],
        "letters that waited without work, and were put to work again",
    ),
    counter("lettercase_letters_without_pdf_total", &[], "letters whose PDF was looked for and is gone"),
    counter("lettercase_letters_due_soon_total", &[], "letters that can't be produced, of whose deadline it was told"),
    counter("lettercase_print_batches_assembled_total", &[], "print batches put together"),
    counter("lettercase_faxes_on_paper_total", &[], "letters that could not be faxed and go on paper"),
    // mails
    counter("lettercase_mails_total", &["state"], "tries to send a mail, by what they came to"),
    counter("lettercase_mails_in_doubt_total", &[], "mails of which it is not known whether the relay took them"),
    counter("lettercase_mail_returns_total", &["outcome"], "mails that came back, by what they were taken as"),
    counter("lettercase_relay_failures_total", &["relay"], "connections to a relay that failed or broke"),
    // requests and traces
    counter("lettercase_requests_total", &["status"], "requests answered, by the kind of answer"),
    histogram("lettercase_request_seconds", &[], "how long requests took until their answer began, uploads included"),
    counter(
        "lettercase_program_faults_total",
        &[],
        "parts of the program that ended by a fault of its own, and began anew",
    ),
    counter("lettercase_spans_sent_total", &[], "spans sent to the endpoint of traces"),
    counter("lettercase_spans_lost_total", &[], "spans that could not be sent"),
];

/// Bounds of the histograms in seconds: from a look at the database to a large file in a slow scanner.
pub const BUCKETS_S: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// Describes all of them to the recorder that this process has. Counters without labels are there from the start, with 0:
/// an alarm on what a counter rose by sees no rise in one that comes with its first event.
pub fn describe() {
    for Metric { name, kind, labels, meaning } in METRICS {
        let unit = if name.ends_with("_seconds") {
            Unit::Seconds
        } else if name.contains("_bytes") {
            Unit::Bytes
        } else {
            Unit::Count
        };
        match kind {
            Kind::Counter => {
                metrics::describe_counter!(*name, unit, *meaning);
                if labels.is_empty() {
                    metrics::counter!(*name).increment(0);
                }
            }
            Kind::Gauge => metrics::describe_gauge!(*name, unit, *meaning),
            Kind::Histogram => metrics::describe_histogram!(*name, unit, *meaning),
        }
    }
}
