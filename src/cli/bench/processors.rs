//! What the processors of this machine do while something is measured, and who has their time: so a figure says what it is
//! bound by.

use std::collections::BTreeMap;

use serde::Serialize;

/// Whose time is told apart.
const PROGRAMS: [&str; 3] = ["lettercase", "clamd", "postgres"];

/// Of the processors' time during a measurement.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Shares {
    /// This process and its nodes.
    pub(super) nodes: f64,
    /// The one that they use.
    pub(super) clamd: f64,
    /// All of its processes on this machine.
    pub(super) postgres: f64,
    /// Everything else.
    pub(super) others: f64,
    pub(super) idle: f64,
}

impl Shares {
    /// The shares of ours, clamd, postgres and others, and what was idle, as they are printed.
    pub(super) fn percents(&self) -> [String; 5] {
        [self.nodes, self.clamd, self.postgres, self.others, self.idle].map(|share| format!("{:.0} %", share * 100.0))
    }
}

/// What the processors have done so far, in ticks.
pub(super) struct Processors {
    all: u64,
    idle: u64,
    /// By program and process.
    of: BTreeMap<(&'static str, u32), u64>,
}

impl Processors {
    /// What they have done by now; `clamd` is the process of the scanner that is used.
    pub(super) fn now(clamd: Option<u32>) -> Self {
        let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let line = stat.lines().next().unwrap_or_default();
        let ticks: Vec<u64> = line.split_whitespace().skip(1).take(8).filter_map(|n| n.parse().ok()).collect();
        let idle = ticks.get(3).copied().unwrap_or_default() + ticks.get(4).copied().unwrap_or_default();
        let mut of = BTreeMap::new();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
            let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let Some((program, ticks)) = of_process(&stat, pid, clamd) else { continue };
            of.insert((program, pid), ticks);
        }
        Self { all: ticks.iter().sum(), idle, of }
    }

    /// Who had their time since then.
    #[expect(clippy::cast_precision_loss, reason = "a figure for reading")]
    pub(super) fn since(&self, before: &Self) -> Shares {
        let all = self.all.saturating_sub(before.all).max(1) as f64;
        let of = |program: &str| -> f64 {
            let mine = self.of.iter().filter(|((name, _), _)| *name == program);
            let ticks = mine.map(|(key, ticks)| ticks.saturating_sub(before.of.get(key).copied().unwrap_or_default()));
            ticks.sum::<u64>() as f64 / all
        };
        let [nodes, clamd, postgres] = PROGRAMS.map(of);
        let idle = self.idle.saturating_sub(before.idle) as f64 / all;
        Shares { nodes, clamd, postgres, others: (1.0 - nodes - clamd - postgres - idle).max(0.0), idle }
    }
}

/// Of a line of `/proc/PID/stat`: which program it is, and its ticks with those of the children it has waited for. Of
/// Lettercase these are this process and its nodes, of clamd it is the one that they use.
fn of_process(stat: &str, pid: u32, clamd: Option<u32>) -> Option<(&'static str, u64)> {
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let own = std::process::id();
    let program = match name {
        "postgres" => "postgres",
        "clamd" => (Some(pid) == clamd).then_some("clamd")?,
        // whatever the program is called where it is installed
        _ => {
            let parent = fields.get(1).and_then(|parent| parent.parse().ok());
            (pid == own || parent == Some(own)).then_some("lettercase")?
        }
    };
    // a server's processes come and go: the one that waits for them must not count them a second time
    let of = if program == "postgres" { 2 } else { 4 };
    let ticks = fields.into_iter().skip(11).take(of).filter_map(|n| n.parse::<u64>().ok());
    Some((program, ticks.sum()))
}
