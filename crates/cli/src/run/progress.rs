//! Shows progress: bars on a terminal, elsewhere a line from time to time.

use super::gauge::{Gauge, Totals};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};
use weir_audit::format::grouped;

/// The interval between two lines if there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// The display of all hops.
pub(crate) enum Progress {
    Bars { all: MultiProgress, bars: Vec<ProgressBar> },
    Lines { said: Instant },
}

impl Progress {
    /// A bar for each hop when standard output is a terminal.
    pub(crate) fn new(hops: &[Gauge], total: Option<u64>) -> Progress {
        if !std::io::stdout().is_terminal() {
            return Progress::Lines { said: Instant::now() };
        }
        let all = MultiProgress::new();
        let bars = hops.iter().map(|hop| all.add(bar(&hop.name, total))).collect();
        Progress::Bars { all, bars }
    }

    /// Shows the progress of all hops; `total` is the expected number of records, if known.
    pub(crate) fn show(&mut self, hops: &[(&Gauge, Totals)], total: Option<u64>) {
        match self {
            Progress::Bars { bars, .. } => {
                for (bar, (hop, totals)) in bars.iter().zip(hops) {
                    bar.set_length(total.unwrap_or(totals.read + totals.lag).max(1));
                    bar.set_position(totals.read);
                    bar.set_message(line(hop, totals));
                }
            }
            Progress::Lines { said } if said.elapsed() >= LINE_EVERY => {
                *said = Instant::now();
                let hops: Vec<String> = hops
                    .iter()
                    .map(|(hop, totals)| format!("{} {}", hop.name, line(hop, totals)))
                    .collect();
                println!("   {}", hops.join("  |  "));
            }
            Progress::Lines { .. } => {}
        }
    }

    /// Leaves the last state on the terminal; without bars, prints it once.
    pub(crate) fn finish(mut self, hops: &[(&Gauge, Totals)]) {
        // The last known lag is outdated.
        let hops: Vec<(&Gauge, Totals)> =
            hops.iter().map(|&(hop, totals)| (hop, Totals { lag: 0, ..totals })).collect();
        self.show(&hops, None);
        match self {
            Progress::Bars { all, bars } => {
                bars.iter().for_each(ProgressBar::abandon);
                drop(all);
            }
            Progress::Lines { .. } => {
                let width = hops.iter().map(|(hop, _)| hop.name.len()).max().unwrap_or(0);
                hops.iter().for_each(|(hop, totals)| {
                    println!("   {:width$}  {}", hop.name, line(hop, totals))
                });
            }
        }
    }
}

fn bar(name: &str, total: Option<u64>) -> ProgressBar {
    let style = ProgressStyle::with_template("   {prefix:12} {wide_bar} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(total.unwrap_or(1)).with_style(style.progress_chars("█▌ "));
    bar.set_prefix(name.to_owned());
    bar
}

fn line(hop: &Gauge, totals: &Totals) -> String {
    let mut text = format!("{} written", grouped(totals.written));
    for (count, what) in [(totals.filtered, "filtered"), (totals.dead, "dead")] {
        if count > 0 {
            text.push_str(&format!(" · {} {what}", grouped(count)));
        }
    }
    if let Some(rate) = hop.rate() {
        text.push_str(&format!("  {}/s", grouped(rate)));
    }
    if totals.lag > 0 {
        text.push_str(&format!("  lag {}", grouped(totals.lag)));
    }
    text
}
