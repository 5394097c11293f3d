//! How far something is, on standard error: a bar in a terminal, plain lines in a pipe.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};

use crate::one_line::OneLine;

/// How often a bar's spinner moves.
const TICK: Duration = Duration::from_millis(100);

/// Plain lines come at most this often.
const LINE_PAUSE: Duration = Duration::from_secs(1);

/// What is shown of one thing under way.
pub struct Progress {
    label: String,
    total: Option<u64>,
    shown: Shown,
}

enum Shown {
    Bar(ProgressBar),
    Lines {
        /// When the last line came.
        last: Option<Instant>,
        /// What has been too close to that to get a line.
        held: Option<String>,
    },
}

impl Progress {
    /// Starts to show `label`, with a bar when it is known how many items will come.
    pub fn start(label: impl Into<String>, total: Option<u64>) -> Self {
        let label = label.into();
        let shown = if io::stderr().is_terminal() {
            Shown::Bar(bar(&label, total))
        } else {
            Shown::Lines {
                last: None,
                held: None,
            }
        };
        Self {
            label,
            total,
            shown,
        }
    }

    /// So many items with so many bytes are done.
    pub fn update(&mut self, items: u64, bytes: u64) {
        let counts = format!("{} entries, {}", HumanCount(items), HumanBytes(bytes));
        match &mut self.shown {
            Shown::Bar(bar) => {
                bar.set_position(items);
                bar.set_message(counts);
            }
            Shown::Lines { last, held } => {
                let line = match self.total {
                    Some(total) => format!("{}: {counts} of {}", self.label, HumanCount(total)),
                    None => format!("{}: {counts}", self.label),
                };
                if last.is_none_or(|last| last.elapsed() >= LINE_PAUSE) {
                    eprintln!("{line}");
                    *last = Some(Instant::now());
                    *held = None;
                } else {
                    *held = Some(line);
                }
            }
        }
    }

    /// Something worth a line of its own happened.
    pub fn note(&self, text: &str) {
        let text = OneLine(text);
        match &self.shown {
            Shown::Bar(bar) => bar.println(format!("{}: {text}", self.label)),
            Shown::Lines { .. } => eprintln!("{}: {text}", self.label),
        }
    }

    /// Takes the bar away, or gives the last counts their line; what comes next is the outcome.
    pub fn finish(self) {
        match self.shown {
            Shown::Bar(bar) => bar.finish_and_clear(),
            Shown::Lines { held, .. } => {
                if let Some(line) = held {
                    eprintln!("{line}");
                }
            }
        }
    }
}

fn bar(label: &str, total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (
            ProgressBar::new(total),
            "{spinner} {prefix} {wide_bar} {percent:>3}% {msg} [{elapsed}]",
        ),
        None => (
            ProgressBar::new_spinner(),
            "{spinner} {prefix} {msg} [{elapsed}]",
        ),
    };
    // The templates are fixed; should one ever not parse, indicatif's own is good enough.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_prefix(label.to_owned());
    bar.enable_steady_tick(TICK);
    bar
}
